# cython: annotation_typing=False
"""The protocol of one connection, in either role: HTTP, the upgrade, and then frames.

The caller gives bytes to :meth:`Machine.receive`, gets events, and asks the other methods for the bytes to
write. The states and the transitions between them are one table (``states.py``). What comes after the 101
is the base class (``frame_phase.py``). No I/O, no clock and no logger may be here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fastws.config import Limits
from fastws.protocol.http.fast_upgrade import read_upgrade
from fastws.protocol.http.messages import Request, Response
from fastws.protocol.websocket.deflate import DeflatePool
from fastws.protocol.websocket.frame_phase import Event, FramePhase
from fastws.protocol.websocket.frames import MaskSource
from fastws.protocol.websocket.handshake import accept_head, check_accept, negotiate_deflate
from fastws.protocol.websocket.states import (
    ACCEPT,
    CLOSING,
    CONNECTING,
    DECIDING,
    EOF,
    FAIL,
    HTTP,
    OPEN,
    REFUSE,
    UPGRADE,
    State,
)

if TYPE_CHECKING:
    from fastws.protocol.http.client import ClientHTTP
    from fastws.protocol.http.server import ServerHTTP

__all__ = ["Machine"]


# These import h11, which takes half as long as all the rest, so only a connection that needs it does.


def _client_http(limits: Limits) -> ClientHTTP:
    from fastws.protocol.http.client import ClientHTTP

    return ClientHTTP(limits)


def _server_http(limits: Limits, response_headers: Sequence[tuple[bytes, bytes]]) -> ServerHTTP:
    from fastws.protocol.http.server import ServerHTTP

    return ServerHTTP(limits, response_headers)


class Machine(FramePhase):
    """The protocol of one connection. Not for use by two threads or coroutines at once."""

    __slots__ = ("_early", "_http", "_limits", "_response_headers")

    def __init__(
        self,
        state: State,
        limits: Limits,
        mask: MaskSource | None,
        response_headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self._begin(state, mask)
        # A server makes its HTTP part when bytes come that are no plain request to upgrade.
        self._limits: Limits | None = limits
        self._response_headers: Sequence[tuple[bytes, bytes]] | None = response_headers
        self._http: Any = None if mask is None else _client_http(limits)
        self._early = b""

    @classmethod
    def server(cls, limits: Limits, response_headers: Sequence[tuple[bytes, bytes]] = ()) -> Machine:
        """A machine that awaits requests. ``response_headers`` go out as :class:`ServerHTTP` says."""
        return cls(HTTP, limits, None, response_headers)

    @classmethod
    def client(cls, limits: Limits, mask: MaskSource) -> Machine:
        """A machine that awaits the response to a request to upgrade (see ``handshake.request_head``)."""
        return cls(CONNECTING, limits, mask)

    # -- bytes in -------------------------------------------------------------------------------

    def receive(self, data: bytes | memoryview, size: int = -1) -> list[Event]:
        """Take the bytes of one read and return all their events, in order.

        Only the first ``size`` bytes of ``data`` belong to this read, by default all. ``data`` may be a
        buffer that is used again: no view of it is kept.

        Each event that is neither ``str`` nor ``bytes`` goes to :meth:`answer` when its turn comes, so
        that what the application sent for earlier events is written before a close frame.
        """
        if size < 0:
            size = len(data)
        state = self.state
        if state is OPEN or state is CLOSING:
            if self._early:
                data, self._early = self._early + bytes(data[:size]), b""
                size = len(data)
            events: list[Event] = self._reader.receive(data, size)
            return events
        if state is HTTP:
            return self._receive_http(data, size)
        if state is DECIDING:
            self._early += data[:size]
        elif state is CONNECTING:
            self._http.receive(bytes(data[:size]))
            response = self._http.next_event()
            return [] if response is None else [response]
        return []

    def _receive_http(self, data: bytes | memoryview, size: int) -> list[Event]:
        if self._http is None and self._limits is not None:
            request = read_upgrade(data, size, self._limits)
            if request is not None:
                self._move(UPGRADE)
                self._early = bytes(data[len(request.raw_head) : size])
                return [request]
        self.http.receive(bytes(data[:size]))
        return self._requests()

    def _requests(self) -> list[Event]:
        events: list[Event] = []
        while (event := self._http.next_event()) is not None:
            events.append(event)
            if isinstance(event, Request) and event.upgrade:
                self._move(UPGRADE)
                self._early = self._http.trailing()
                break
        return events

    def receive_eof(self) -> None:
        """Note the end of TCP. Without a close frame before it the code is 1006 (RFC 6455, section 7.1.5)."""
        self._move(EOF)
        self._http = None

    @property
    def early_bytes(self) -> int:
        """Bytes of frames that came behind the request to upgrade and wait for the decision about it."""
        return len(self._early)

    # -- the server's role ----------------------------------------------------------------------

    @property
    def http(self) -> ServerHTTP:
        """The HTTP part, which writes responses. Raises ``AttributeError`` once the WebSocket is open."""
        if self._http is None:
            if self._limits is None or self._response_headers is None:
                raise AttributeError("HTTP is over")
            self._http = _server_http(self._limits, self._response_headers)
        http: ServerHTTP = self._http
        return http

    def accept(
        self,
        request: Request,
        limits: Limits,
        subprotocol: str | None = None,
        deflate: DeflatePool | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> bytes:
        """Open the WebSocket; return the head of the 101 (RFC 6455, section 4.2.2).

        Call :meth:`receive` next, with no bytes if there are none: it gives the events of early frames.
        Raises ``ValueError`` as ``handshake.accept_head`` does.
        """
        negotiated = negotiate_deflate(request, deflate.compression) if deflate is not None else None
        params, extension = negotiated if negotiated is not None else (None, None)
        self._move(ACCEPT)
        self._end_http()
        self._open(limits, params, deflate)
        return accept_head(request, subprotocol, extension, headers)

    def refuse(self, response: Response) -> bytes:
        """Return a response other than 101. Nothing that follows is parsed, not even as a request."""
        data: bytes = self.http.respond(response, close=True)
        self._move(REFUSE)
        self._early = b""
        return data

    def finish_http(self) -> None:
        """Note that the last response is written: nothing that follows is parsed."""
        self._move(REFUSE)

    # -- the client's role ----------------------------------------------------------------------

    def opened(
        self,
        response: Response,
        limits: Limits,
        *,
        key: bytes,
        subprotocols: Sequence[str] = (),
        deflate: DeflatePool | None = None,
    ) -> str | None:
        """Check the server's 101, open the WebSocket, and return the subprotocol that the server chose.

        Raises ``HandshakeError`` for a 101 that breaks RFC 6455, section 4.1.
        """
        try:
            subprotocol, params = check_accept(
                response,
                key=key,
                subprotocols=subprotocols,
                compression=deflate.compression if deflate is not None else None,
            )
        except Exception:
            self._move(FAIL)
            raise
        self._early = self._http.trailing()
        self._move(ACCEPT)
        self._end_http()
        self._open(limits, params, deflate)
        return subprotocol

    def refused(self) -> None:
        """Note that the server's response was not a 101."""
        self._move(REFUSE)

    def _end_http(self) -> None:
        self._http = self._limits = self._response_headers = None
