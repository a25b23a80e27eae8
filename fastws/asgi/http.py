"""One request of an ASGI application and the response to it; the connection's phase meanwhile."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Any

import h11

from fastws import logs
from fastws.asgi.request_body import ARRIVING, COMPLETE, TAKEN, RequestBody
from fastws.asgi.scope import ClientDisconnected, Event, is_disconnect, scope_of, tls_extension
from fastws.loop.fatal import is_cancelled, is_collected
from fastws.protocol.http.events import Data, EndOfBody
from fastws.protocol.http.messages import Request, Response, error_response
from fastws.protocol.http.server import check_final
from fastws.protocol.websocket.states import DRAINING
from fastws.server.body_writer import BodyWriter, check_length

if TYPE_CHECKING:
    from fastws.asgi.mount import Mount
    from fastws.connection.connection import Connection
    from fastws.server.http_phase import ServerPhase
    from fastws.web.routes import Endpoint

__all__ = ["Exchange"]

#: With 2.4 a framework would wait for an ``OSError`` of ``send`` alone, and a response that has nothing to
#: send would outlive its client. With 2.3 it receives ``http.disconnect`` meanwhile, as under uvicorn.
SPEC_VERSION = "2.3"
#: Bytes of a request's body, or behind it, that wait for the application before reading pauses.
BODY_QUEUE = 64 * 1024
#: ``send`` waits while more than this many bytes of the response wait for a slow socket.
HIGH_WATER = 64 * 1024


class ClientState(Enum):
    """What the client can still do."""

    PRESENT = "it sends and receives"
    HALF_CLOSED = "it has ended its side, and may still read the response"
    GONE = "the connection is lost or given up"


class ResponseState(Enum):
    """How far the application's response has come."""

    DUE = "the application has sent nothing"
    HEAD_HELD = "the head waits for the first piece of the body, and leaves with it"
    STARTED = "the head is written"
    OVER = "the response is complete, or given up"


PRESENT, HALF_CLOSED, GONE = ClientState
DUE, HEAD_HELD, STARTED, OVER = ResponseState


def http_scope(request: Request, transport: Any, mount: Mount) -> dict[str, Any]:
    """Return the scope of a request, as ASGI names its parts."""
    common = scope_of(request, transport, mount.root_path, mount.state, spec_version=SPEC_VERSION)
    return {"type": "http", "method": request.method, **common, "extensions": tls_extension(request)}


def is_bodiless(request: Request, head: Response | None) -> bool:
    """True where the application's body is not sent (RFC 9110, section 6.4.1)."""
    assert head is not None
    return request.method == "HEAD" or head.status in (204, 304)


def check_declared(request: Request, head: Response | None, size: int, *, more: bool) -> None:
    """As :func:`check_length`, by the application's field: nothing is written yet, and a 500 can be."""
    assert head is not None
    declared = head.headers.get("content-length") or ""
    if declared.isascii() and declared.isdigit() and not is_bodiless(request, head):
        check_length(size, int(declared), more=more)


class Exchange:
    """Holds the connection from the head of a request to the end of its response."""

    __slots__ = (
        "_body",
        "_client",
        "_connection",
        "_endpoint",
        "_head",
        "_mount",
        "_phase",
        "_readers",
        "_request",
        "_response",
        "_told",
        "_writer",
    )

    def __init__(
        self, mount: Mount, connection: Connection, phase: ServerPhase, request: Request, endpoint: Endpoint
    ) -> None:
        self._mount = mount
        self._connection = connection
        self._phase = phase
        self._endpoint = endpoint
        self._request = request
        self._client = PRESENT
        self._body = RequestBody()
        #: The coroutines that wait in ``receive``.
        self._readers: list[asyncio.Future[None]] = []
        #: True once ``receive`` has returned the disconnect of a client before its response was over.
        self._told = False
        self._response = DUE
        self._head: Response | None = None
        self._writer = BodyWriter(connection, HIGH_WATER)

    # -- the application ------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the application to its end; a request that it leaves open is answered 500, or cut."""
        request, mount = self._request, self._mount
        try:
            scope = http_scope(request, self._connection.transport, mount)
            await mount.app(scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            if is_collected(exc):
                raise
            if is_cancelled(exc):
                # RFC 9110, section 15.6.4: the server stops.
                self._fail(503)
                raise
            if (self._client is GONE or self._told) and is_disconnect(exc):
                self._connection.abort()
                return
            mount.log.exception("the ASGI application failed at %s", logs.escape(request.path))
            self._fail(500)
        else:
            if self._response is OVER:
                return
            if self._told:
                self._connection.abort()
            else:
                where = logs.escape(request.path)
                mount.log.error("the ASGI application returned without a whole response at %s", where)
                self._fail(500)

    def _fail(self, status: int) -> None:
        if self._response is OVER:
            return
        if self._response is STARTED:
            self._writer.cut()
        else:
            self._end()
            self._phase.respond(error_response(status))

    async def receive(self) -> Event:
        """ASGI's ``receive``: the pieces of the request's body, then the client's disconnect.

        Cancelling it loses nothing. Several coroutines may wait: each piece goes to one of them, the
        disconnect to all.
        """
        while self._nothing_to_receive():
            self._await_body()
            reader = self._connection.loop_state.create_future()
            self._readers.append(reader)
            try:
                await reader
            finally:
                self._readers.remove(reader)
        is_cut_short = self._body.state is ARRIVING and self._client is not PRESENT and not self._body
        if self._response is OVER or self._body.state is TAKEN or is_cut_short:
            self._told = self._told or self._response is not OVER
            return {"type": "http.disconnect"}
        body, more = self._body.take()
        if more:
            self._connection.release_input()
        return {"type": "http.request", "body": body, "more_body": more}

    def _nothing_to_receive(self) -> bool:
        """True while neither a piece of the body nor the end of the exchange is there."""
        return (
            self._response is not OVER
            and self._client is PRESENT
            and not self._body
            and self._body.state is not COMPLETE
        )

    def _await_body(self) -> None:
        """The application waits for the client: send a 100 that is due, and set the body's deadline."""
        if self._body.state is not ARRIVING:
            return
        owed = self._connection.machine.http.take_output()
        if owed:
            self._connection.outbox.write_http(owed)
        if self._body.since_deadline is None:
            self._set_body_deadline()

    def _set_body_deadline(self) -> None:
        seconds = self._endpoint.timeouts.body
        if seconds is None:
            return
        self._body.since_deadline = 0
        self._connection.set_deadline(self._connection.loop_state.wheel.time() + seconds)

    async def send(self, event: Event) -> None:
        """ASGI's ``send``: it waits while the client is slow and more of the response is to come.

        Raises:
            ClientDisconnected: The connection is lost.
            RuntimeError: Another message is due, or the body is not as long as its Content-Length says.
            TypeError: The body is not bytes.
            ValueError: The status is not that of a response.
        """
        kind = event["type"]
        if self._client is GONE:
            raise ClientDisconnected("the client is gone")
        if self._response is DUE:
            self._take_head(kind, event)
            return
        if self._response is OVER:
            raise RuntimeError(f"ASGI message {kind!r} after the response was complete")
        if kind != "http.response.body":
            raise RuntimeError(f"ASGI message {kind!r}: what is due now is http.response.body")
        body, more = event.get("body", b""), event.get("more_body", False)
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise TypeError(f"the body is bytes, not {type(body).__name__}")
        self._write(bytes(body), more=more)
        if more:
            await self._writer.writable(len(body))

    def _take_head(self, kind: str, event: Event) -> None:
        if kind != "http.response.start":
            raise RuntimeError(f"ASGI message {kind!r}: what is due now is http.response.start")
        status = event["status"]
        check_final(status)
        self._head = Response(status, headers=event.get("headers", ()))
        self._response = HEAD_HELD

    def _write(self, body: bytes, *, more: bool) -> None:
        connection = self._connection
        if self._response is HEAD_HELD:
            check_declared(self._request, self._head, len(body), more=more)
            self._start(None if more else len(body))
        self._writer.write(b"" if is_bodiless(self._request, self._head) else body, more=more)
        if not more:
            assert self._head is not None
            self._end()
            self._phase.answered(self._head.status, self._writer.written)
            if self._client is HALF_CLOSED:
                # No second end of the client's side comes, so there is nothing to wait for.
                connection.outbox.flush()
                if not connection.outbox.blocked:
                    connection.transport.close()

    def _start(self, length: int | None) -> None:
        """Write the head; ``length`` is the Content-Length of a body in one piece."""
        http, head = self._connection.machine.http, self._head
        assert head is not None
        self._phase.set_date()
        fields = [*head.raw_headers, *self._mount.extra_headers()]
        if is_bodiless(self._request, head):
            length = None
        if length is not None and "content-length" not in head.headers:
            fields.append((b"Content-Length", b"%d" % length))
        try:
            data = http.start_pieces(head.status, head.reason, fields, close=self._phase.is_leaving)
        except h11.LocalProtocolError as exc:
            raise RuntimeError(f"the response cannot be sent: {exc}") from None
        self._response = STARTED
        self._connection.outbox.write_http(data)

    def _end(self) -> None:
        """The response is complete or given up: ``receive`` has nothing more to wait for."""
        self._response = OVER
        self._connection.clear_deadline()
        self._wake()
        self._writer.end()

    def _wake(self) -> None:
        for reader in self._readers:
            if not reader.done():
                reader.set_result(None)

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
            self._body.add(event.data)
            if len(self._body) > BODY_QUEUE:
                self._connection.hold_input()
                self._connection.clear_deadline()
                self._body.since_deadline = None
        elif isinstance(event, EndOfBody):
            self._body.end()
            self._connection.clear_deadline()
        else:
            self._give_up(event.response)
        self._wake()

    def _give_up(self, response: Response) -> None:
        """Answer a client whose body breaks the rules or comes too slowly; cut a response under way."""
        started = self._response is STARTED
        self._client = GONE
        self._end()
        if started:
            self._connection.abort()
        else:
            self._phase.respond(response, close=True)

    def eof_received(self) -> bool:
        """A client that ended its side behind its request can still have the answer, but not over TLS."""
        self._connection.machine.http.receive_eof()
        if self._client is PRESENT:
            self._client = HALF_CLOSED
        self._wake()
        is_tls = self._connection.transport.get_extra_info("ssl_object") is not None
        return self._body.state is not ARRIVING and not is_tls

    def timed_out(self) -> None:
        """The deadline of the body: extend it at ``min_body_rate``; answer 408 (RFC 9110, 15.5.9) below."""
        least = self._endpoint.limits.min_body_rate * (self._endpoint.timeouts.body or 0)
        if (self._body.since_deadline or 0) >= least:
            self._set_body_deadline()
        else:
            self._give_up(error_response(408))

    def drained(self) -> None:
        self._writer.drained()

    def is_opening(self) -> bool:
        """No WebSocket comes of this."""
        return False

    def stop(self) -> bool:
        """The server stops: there is an answer to wait for."""
        return True

    def lost(self, exc: Exception | None) -> None:
        if self._response is STARTED:
            assert self._head is not None
            self._phase.cut_short(self._head.status, self._writer.written)
        self._client = GONE
        self._end()
