"""What all connections of one event loop share: timers, poller, the turn, and the C that reads and writes sockets."""
