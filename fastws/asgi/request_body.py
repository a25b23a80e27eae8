"""The body of a request on its way to an ASGI application."""

from __future__ import annotations

from enum import Enum

__all__ = ["RequestBody", "RequestBodyState"]


class RequestBodyState(Enum):
    """How far a request's body has come."""

    ARRIVING = "the client has more of it to send"
    COMPLETE = "all of it is here, and the application has not taken all of it"
    TAKEN = "the application has all of it"


ARRIVING, COMPLETE, TAKEN = RequestBodyState


class RequestBody:
    """The bytes that have arrived and that the application has not taken."""

    __slots__ = ("_pieces", "since_deadline", "state")

    def __init__(self) -> None:
        self._pieces = bytearray()
        self.state = ARRIVING
        #: Bytes that arrived since the deadline was set; None while no deadline runs.
        self.since_deadline: int | None = None

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, data: bytes) -> None:
        """Keep a piece that has arrived."""
        self._pieces += data
        if self.since_deadline is not None:
            self.since_deadline += len(data)

    def end(self) -> None:
        """The piece before was the last."""
        self.state = COMPLETE

    def take(self) -> tuple[bytes, bool]:
        """Return what is here, and whether more is to come."""
        data = bytes(self._pieces)
        self._pieces.clear()
        more = self.state is ARRIVING
        if not more:
            self.state = TAKEN
        return data, more
