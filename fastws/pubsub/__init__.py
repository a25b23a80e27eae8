"""Topics and hubs, and how a message meets its subscribers."""
