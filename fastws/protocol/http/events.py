# cython: annotation_typing=False
"""What a server reads of HTTP, as small values: a ``Request`` (messages.py), and then the events here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastws.protocol.http.messages import Response

__all__ = ["Data", "EndOfBody", "Refusal"]


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
    """The request is complete. Its response may be sent."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EndOfBody)

    def __hash__(self) -> int:
        return hash(EndOfBody)

    def __repr__(self) -> str:
        return "EndOfBody()"


class Refusal:
    """The request breaks a rule. Send ``response`` with ``close=True``, then close the connection.

    ``is_tls``: it begins as a TLS handshake does.
    """

    __slots__ = ("is_tls", "response")

    def __init__(self, response: Response, *, is_tls: bool = False) -> None:
        self.response = response
        self.is_tls = is_tls
