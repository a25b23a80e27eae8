"""What a process measures of itself: integers by name, in memory that processes may share."""
