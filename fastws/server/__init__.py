"""Listeners, and the way from a request to a WebSocket."""
