"""What all connections of one event loop share: timers, poller, turn, and C that reads and writes."""
