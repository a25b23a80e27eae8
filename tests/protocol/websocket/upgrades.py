"""A valid request to upgrade, in which a test changes what it is about."""

from __future__ import annotations

from fastws.protocol.http.messages import Request

__all__ = ["ACCEPT", "KEY", "upgrade"]

# The key and the answer of RFC 6455, section 1.3.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
FIELDS = {
    "Host": "example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY.decode(),
    "Sec-WebSocket-Version": "13",
}


def upgrade(method: str = "GET", http_version: str = "1.1", **fields: str | list[str] | None) -> Request:
    """A valid request with some fields replaced, repeated (a list) or left out (None)."""
    given = {**FIELDS, **{name.replace("_", "-"): value for name, value in fields.items()}}
    pairs = []
    for name, value in given.items():
        values = value if isinstance(value, list) else [] if value is None else [value]
        pairs += [(name, value) for value in values]
    return Request(method, "/chat", pairs, http_version=http_version)
