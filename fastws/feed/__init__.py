"""Feeds: topics for plain browsers, as JSON objects over a WebSocket or server-sent events."""
