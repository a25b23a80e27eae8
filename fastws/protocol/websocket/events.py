# cython: annotation_typing=False
"""What a WebSocket reads, as small values.

A complete message has no wrapper: it is the ``str`` (text) or the ``bytes`` (binary) itself. For
everything else both engines make the classes here.
"""

from __future__ import annotations

__all__ = ["Close", "Event", "Fail", "Fragment", "More", "Ping", "Pong"]


class _Payload:
    """A control frame that carries bytes. Equality never crosses the classes."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.payload == other.payload

    def __hash__(self) -> int:
        return hash((type(self), self.payload))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.payload!r})"


class Ping(_Payload):
    """A ping (RFC 6455, section 5.5.2): a pong with the same payload is owed."""

    __slots__ = ()


class Pong(_Payload):
    """A pong (RFC 6455, section 5.5.3), asked for or not."""

    __slots__ = ()


class _Ending:
    """A close code with its reason."""

    __slots__ = ("code", "reason")

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and (self.code, self.reason) == (other.code, other.reason)

    def __hash__(self) -> int:
        return hash((type(self), self.code, self.reason))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r}, {self.reason!r})"


class Close(_Ending):
    """The peer's close frame (RFC 6455, section 5.5.1); 1005 when it carried no code."""

    __slots__ = ()


class Fail(_Ending):
    """The peer broke a rule or a limit: fail the connection with this code (RFC 6455, section 7.1.7).

    The reason is a constant of ours and never repeats what the peer sent.
    """

    __slots__ = ()


class Fragment:
    """A part of a message: ``data`` is ``str`` or ``bytes``; ``final`` for the last one.

    Parts do not follow the peer's frames, which anything between may change (RFC 6455, section 5.4).
    Only the last one of a message may be empty.
    """

    __slots__ = ("data", "final")

    def __init__(self, data: str | bytes, final: bool) -> None:
        self.data = data
        self.final = final

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fragment) and (self.data, self.final) == (other.data, other.final)

    def __hash__(self) -> int:
        return hash((self.data, self.final))

    def __repr__(self) -> str:
        return f"Fragment({self.data!r}, {self.final!r})"


class More:
    """The last event of a call that left something unread: call again, with nothing."""

    __slots__ = ()


Event = str | bytes | Ping | Pong | Close | Fail
