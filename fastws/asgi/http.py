"""One request of an ASGI application and the response to it; the connection's phase meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import h11

from fastws import logs
from fastws.asgi.scope import ClientDisconnected, Event, scope_of
from fastws.protocol.http.events import Data, EndOfBody
from fastws.protocol.http.messages import Request, Response, error_response
from fastws.protocol.http.server import UNKNOWN
from fastws.protocol.websocket.states import DRAINING

if TYPE_CHECKING:
    from fastws.asgi.application import ASGI
    from fastws.connection.connection import Connection
    from fastws.server.http_phase import ServerPhase
    from fastws.web.routes import Endpoint

__all__ = ["Exchange"]

#: Bytes of a request's body, or behind it, that wait for the application before reading pauses.
BODY_QUEUE = 64 * 1024
#: ``send`` waits while more than this many bytes of the response wait for a slow socket.
HIGH_WATER = 64 * 1024
#: A piece of this size ends the turn, so that the write at its end tells whether the socket took it.
LARGE_PIECE = 16 * 1024


class Exchange:
    """Holds the connection from the head of a request to the end of its response."""

    __slots__ = (
        "_asgi",
        "_body",
        "_connection",
        "_deadline",
        "_drained",
        "_endpoint",
        "_gone",
        "_head",
        "_lost",
        "_mark",
        "_more",
        "_over",
        "_phase",
        "_reader",
        "_request",
        "_started",
        "_told",
        "_written",
    )

    def __init__(
        self, asgi: ASGI, connection: Connection, phase: ServerPhase, request: Request, endpoint: Endpoint
    ) -> None:
        self._asgi = asgi
        self._connection = connection
        self._phase = phase
        self._endpoint = endpoint
        self._request = request
        self._body = bytearray()
        #: More of the body is to come; all of it has been given to the application.
        self._more = True
        self._told = False
        #: The client has ended its side; the connection is lost; the response is complete or given up.
        self._gone = False
        self._lost = False
        self._over = False
        #: The head of the response, which leaves with the first piece of its body.
        self._head: Response | None = None
        self._started = False
        self._written = 0
        self._reader: asyncio.Future[None] | None = None
        self._drained: list[asyncio.Future[None]] | None = None
        self._deadline = False
        self._mark = 0

    # -- the application ------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the application to its end; what it has not answered is answered 500, or cut."""
        request, asgi = self._request, self._asgi
        scope = {
            "type": "http",
            "method": request.method,
            **scope_of(request, self._connection.transport, asgi.root_path, asgi.state),
            "extensions": {},
        }
        try:
            await asgi.app(scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            self._fail(503)
            raise
        except Exception:
            asgi.log.exception("the ASGI application failed at %s", logs.escape(request.path))
            self._fail(500)
        else:
            if not self._over:
                where = logs.escape(request.path)
                asgi.log.error("the ASGI application returned without a whole response at %s", where)
                self._fail(500)

    def _fail(self, status: int) -> None:
        if self._over:
            return
        if self._started:
            # Part of it is out: only the end of the connection can tell.
            self._connection.abort()
        else:
            self._end()
            self._phase.respond(error_response(status))

    async def receive(self) -> Event:
        """ASGI's ``receive``: what has come of the body, then the client's going. One coroutine at a time."""
        while not self._over and not self._gone and not self._body and (self._more or self._told):
            if self._reader is not None:
                raise RuntimeError("another coroutine already waits in receive()")
            self._await_body()
            self._reader = self._connection.loop_state.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if self._over or self._told or (self._gone and self._more and not self._body):
            return {"type": "http.disconnect"}
        body = bytes(self._body)
        self._body.clear()
        self._told = not self._more
        if self._more:
            self._connection.release_input()
        return {"type": "http.request", "body": body, "more_body": self._more}

    def _await_body(self) -> None:
        """The application waits for the client now: invite it to send, and give it only so long."""
        connection = self._connection
        if not self._more:
            return
        owed = connection.machine.http.take_output()
        if owed:
            connection.outbox.push(owed, True)
        if not self._deadline:
            self._expect_body()

    def _expect_body(self) -> None:
        seconds = self._endpoint.timeouts.body
        self._mark = 0
        self._deadline = seconds is not None
        if seconds is not None:
            self._connection.set_deadline(self._connection.loop_state.wheel.time() + seconds)

    async def send(self, event: Event) -> None:
        """ASGI's ``send``: a piece of the body waits while the client is slow.

        Raises ``ClientDisconnected`` once the connection is lost, ``RuntimeError`` for what is not
        due and for a body that is not as long as its Content-Length says.
        """
        kind = event["type"]
        if self._lost:
            raise ClientDisconnected("the client is gone")
        if self._head is None and not self._over:
            if kind != "http.response.start":
                raise RuntimeError(f"ASGI message {kind!r}: what is due now is http.response.start")
            status = event["status"]
            if not 200 <= status <= 999:
                raise ValueError(f"{status} is no status of a response")
            self._head = Response(status, headers=event.get("headers", ()))
            return
        if self._over:
            raise RuntimeError(f"ASGI message {kind!r} after the response was complete")
        if kind != "http.response.body":
            raise RuntimeError(f"ASGI message {kind!r}: what is due now is http.response.body")
        body, more = event.get("body", b""), event.get("more_body", False)
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise TypeError(f"the body is bytes, not {type(body).__name__}")
        self._write(bytes(body), more)
        if more:
            await self._writable(len(body))

    def _write(self, body: bytes, more: bool) -> None:
        connection, http = self._connection, self._connection.machine.http
        if not self._started:
            self._start(None if more else len(body))
        if self._bodiless:
            body = b""
        elif (left := http.length_left) != UNKNOWN:
            if len(body) > left:
                raise RuntimeError("the body is longer than its Content-Length")
            if len(body) < left and not more:
                raise RuntimeError("the body is shorter than its Content-Length")
        self._written += len(body)
        data = http.send_body(body)
        if not more:
            data += http.end_response()
        if data:
            connection.outbox.push(data, True)
        if not more:
            assert self._head is not None
            self._end()
            self._phase.answered(self._head.status, self._written)

    @property
    def _bodiless(self) -> bool:
        """RFC 9110, section 6.4.1: what the application says is not sent."""
        assert self._head is not None
        return self._request.method == "HEAD" or self._head.status in (204, 304)

    def _start(self, length: int | None) -> None:
        """Write the head; a body of one piece brings its length with it."""
        head = self._head
        assert head is not None
        self._phase.set_date()
        fields = [*head.raw_headers, *self._asgi.more_headers()]
        if length is not None and not self._bodiless and "content-length" not in head.headers:
            fields.append((b"Content-Length", b"%d" % length))
        try:
            data = self._connection.machine.http.start_pieces(head.status, head.reason, fields)
        except h11.LocalProtocolError as exc:
            raise RuntimeError(f"the response cannot be sent: {exc}") from None
        self._started = True
        self._connection.outbox.push(data, True)

    async def _writable(self, size: int) -> None:
        outbox = self._connection.outbox
        if not outbox.refused and (size >= LARGE_PIECE or outbox.is_filling()):
            await asyncio.sleep(0)
        while not self._over and outbox.refused and outbox.buffered_amount > HIGH_WATER:
            waiter = self._connection.loop_state.create_future()
            if self._drained is None:
                self._drained = []
            self._drained.append(waiter)
            await waiter

    def _end(self) -> None:
        """The response is complete or given up: ``receive`` has nothing more to wait for."""
        self._over = True
        self._connection.clear_deadline()
        self._wake()
        self.drained()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # -- the connection's phase -----------------------------------------------------------------

    def received(self, data: bytes | memoryview) -> None:
        machine = self._connection.machine
        for event in machine.receive(data):
            self.event(event)
            if machine.state is DRAINING:
                return
        if machine.http.buffered > BODY_QUEUE:
            # Requests behind this one: they can wait in the socket.
            self._connection.hold_input()

    def event(self, event: Any) -> None:
        """Take what came of the request's body."""
        if isinstance(event, Data):
            self._body += event.data
            self._mark += len(event.data)
            if len(self._body) > BODY_QUEUE:
                self._connection.hold_input()
                self._connection.clear_deadline()
                self._deadline = False
        elif isinstance(event, EndOfBody):
            self._more = False
            self._connection.clear_deadline()
        else:
            self._broken(event.response)
        self._wake()

    def _broken(self, response: Response) -> None:
        """The client broke the rules, or its time, within the body."""
        self._gone = self._lost = True
        self._end()
        if self._started:
            self._connection.abort()
        else:
            self._phase.respond(response, close=True)

    def eof_received(self) -> bool:
        """A client that ended its side behind its request can still have the answer, but not over TLS."""
        self._connection.machine.http.receive_eof()
        self._gone = True
        self._wake()
        return not self._more and self._connection.transport.get_extra_info("ssl_object") is None

    def timed_out(self) -> None:
        """The body comes too slowly."""
        if self._mark >= self._endpoint.limits.min_body_rate * (self._endpoint.timeouts.body or 0):
            self._expect_body()
        else:
            self._broken(error_response(408))

    def drained(self) -> None:
        waiters, self._drained = self._drained, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def stop(self) -> bool:
        """The server stops: there is an answer to wait for."""
        return True

    def lost(self, exc: Exception | None) -> None:
        self._gone = self._lost = True
        self._end()
