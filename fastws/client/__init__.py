"""The client: ``connect()``, and the way to a server."""
