"""Several processes that serve together: the supervisor, its workers, and what they say to each other."""
