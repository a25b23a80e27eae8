"""Requests and responses: bytes in, events and bytes out."""
