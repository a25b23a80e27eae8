# cython: annotation_typing=False
"""What one read brought, as small values.

Of a WebSocket a complete message has no wrapper: it is the ``str`` (text) or the ``bytes`` (binary)
itself. Of what else it brings both engines and the C module make exactly the classes here. Of HTTP it is
a ``Request``, and what follows that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastws.protocol.http.messages import Response

__all__ = ["Close", "Data", "EndOfBody", "Event", "Fail", "Fragment", "More", "Ping", "Pong", "Refusal"]


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


class Data:
    """A piece of a request's body."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Data) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return f"Data({self.data!r})"


class EndOfBody:
    """The request is whole."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EndOfBody)

    def __hash__(self) -> int:
        return hash(EndOfBody)

    def __repr__(self) -> str:
        return "EndOfBody()"


class Refusal:
    """The request breaks a rule: send ``response`` with ``close=True``, then close."""

    __slots__ = ("response",)

    def __init__(self, response: Response) -> None:
        self.response = response
