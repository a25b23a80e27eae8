# cython: annotation_typing=False
"""What a WebSocket reads, as small values.

A complete message has no wrapper: it is the ``str`` (text) or the ``bytes`` (binary) itself. For
everything else both engines make the classes here.
"""

from __future__ import annotations

__all__ = ["Close", "Event", "Fail", "Fragment", "More", "Ping", "Pong"]


class _Payload:
    """A control frame with its payload. Events of different classes are never equal."""

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
    """A ping. A pong with the same payload is owed (RFC 6455, sections 5.5.2 and 5.5.3)."""

    __slots__ = ()


class Pong(_Payload):
    """A pong, which may be unsolicited (RFC 6455, section 5.5.3)."""

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
    """The peer's close frame (RFC 6455, section 5.5.1). The code is 1005 when the frame carried none."""

    __slots__ = ()


class Fail(_Ending):
    """The peer broke a rule or exceeded a limit: fail the connection with ``code`` (RFC 6455, section 7.1.7).

    The reason is a constant text, which never repeats what the peer sent.
    """

    __slots__ = ()


class Fragment:
    """A part of a message, as a handler gets it that reads messages in parts (``fastws.streaming``).

    ``data`` is ``str`` for text and ``bytes`` for binary. ``final`` is true for the last part of a message;
    only that one may be empty. A part need not be one frame of the peer, because an intermediary may split
    and join frames (RFC 6455, section 5.4).
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
    """The last event of a call that may not have read all its bytes.

    Call again, with no bytes, when what came has been taken. Bytes that are given before that wait.
    """

    __slots__ = ()


Event = str | bytes | Ping | Pong | Close | Fail | More
