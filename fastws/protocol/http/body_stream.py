"""What a response may have in place of a whole body."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["BodyStream", "check_stream"]


class BodyStream(Protocol):
    """A response body that is too large for memory. It is read in pieces, and closed once in any case."""

    #: Bytes of the whole body.
    length: int

    def read(self, n: int) -> bytes:
        """Return at most ``n`` bytes, ``b""`` at the end. It may read a file, but must not wait long."""

    def close(self) -> None:
        """Free what the stream holds."""


def check_stream(stream: Any, body: bytes) -> None:
    """Raise ``TypeError`` for what cannot be sent in place of a body, or for a body beside it."""
    if not hasattr(stream, "__aiter__") and not (hasattr(stream, "read") and hasattr(stream, "length")):
        raise TypeError(
            "the stream of a response is an async iterable, or has length, read() and close(): "
            f"{type(stream).__name__} is neither"
        )
    if body:
        raise TypeError("a response has a body or a stream, not both")
