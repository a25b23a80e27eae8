# cython: annotation_typing=False
"""The server's phase of a connection: plain HTTP, and the way from a request to an open WebSocket.

Requests are served one after the other, in order. What a client pipelines behind a request that is
not answered yet stays in the socket beyond one read. After 101 the connection drops this object.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastws import logs
from fastws.connection.connection import Connection
from fastws.protocol.http.events import Data, EndOfBody
from fastws.protocol.http.messages import Request, Response, error_response
from fastws.protocol.websocket import handshake
from fastws.protocol.websocket.states import DECIDING, DRAINING, HTTP
from fastws.server.forwarded import forwarded
from fastws.server.responses import BodyPump
from fastws.server.upgrade import accept, refusal

if TYPE_CHECKING:
    from fastws.server.serve import Server
    from fastws.web.routes import Endpoint

__all__ = ["ServerPhase"]

log = logging.getLogger("fastws.error")

#: Bytes of a request body that are enough for one turn of the loop.
TURN_BODY = 16 * 1024


class ServerPhase:
    """One connection until it is a WebSocket, or for all its life if it never becomes one."""

    __slots__ = (
        "_awaited",
        "_body",
        "_body_mark",
        "_connection",
        "_endpoint",
        "_idle",
        "_request",
        "_server",
        "_started",
        "_status",
        "_stream",
        "_task",
        "_turn_responses",
        "_written",
    )

    def __init__(self, connection: Connection, server: Server) -> None:
        self._connection = connection
        self._server = server
        self._request: Request | None = None
        self._endpoint: Endpoint | None = None
        self._body = bytearray()
        self._body_mark = 0
        #: What the application still has to say about the request, and the task that waits for it.
        self._awaited: Awaitable[Any] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._stream: BodyPump | None = None
        self._idle = False
        self._started = 0.0
        self._status = 0
        self._written = 0
        self._turn_responses = 0
        self._expect_head()

    # -- what the connection tells --------------------------------------------------------------

    def received(self, data: bytes | memoryview) -> None:
        machine = self._connection.machine
        self._take(machine.receive(data))
        if self._connection.phase is not self:
            return
        if machine.state is DECIDING:
            if self._has_enough():
                self._hold_input()
        elif self._idle and self._request is None and machine.state is HTTP and machine.http.buffered:
            # The first bytes of a head have come: the whole of it has the handshake's time.
            self._idle = False
            self._expect_head()
        elif machine.state is HTTP and len(data) > TURN_BODY and self._request is not None:
            # More of a body, and its chunks may be a byte each: the others have their turn first.
            self._hold_input()
            self._connection.loop_state.call_soon(self._next_turn)

    def eof_received(self) -> bool:
        """A client that ended its side behind its request has its answer: till then nothing is read."""
        if self._connection.machine.state is HTTP:
            self._connection.machine.http.receive_eof()
            self._take(self._connection.machine.receive(b""))
        return False

    def timed_out(self) -> None:
        """The head, the body or the verdict took too long."""
        if self._request is None and not self._connection.machine.http.buffered:
            # Between two requests there is nobody to answer.
            self._connection.transport.close()
            return
        if self._request is not None and self._endpoint is not None and self._body_progress():
            return
        # 503: the application has not decided in time.
        self._refuse(error_response(503 if self._give_up() else 408))

    def drained(self) -> None:
        if self._stream is not None:
            self._stream.step()
        elif self._connection.machine.state is not DECIDING:
            self._continue()
        elif not self._has_enough():
            # Or nobody would see that the client has gone: asyncio does not over TLS while it is not read.
            self._connection.release_input()

    def stop(self) -> bool:
        """The server stops: False when there is no answer to wait for."""
        if self._request is not None or self._busy():
            return True
        if not self._connection.outbox.blocked:
            return False
        # The last answer is still on its way.
        self._end()
        return True

    def lost(self, exc: Exception | None) -> None:
        self._give_up()
        self._close_stream()

    def _give_up(self) -> bool:
        """Cancel what the application still does about the request; True when there was something."""
        self._awaited = None
        task, self._task = self._task, None
        return task is not None and task.cancel()

    # -- requests -------------------------------------------------------------------------------

    def _take(self, events: list[Any]) -> None:
        """Serve what a read brought, and what follows it as long as answers come at once."""
        connection = self._connection
        began = connection.outbox.begin_batch()
        while events and connection.phase is self:
            for event in events:
                self._event(event)
                if connection.machine.state is DRAINING:
                    # Answered for good: what else this read brought is no longer looked at.
                    break
            if connection.phase is not self or connection.machine.state is not HTTP:
                break
            if connection.outbox.blocked or self._busy():
                break
            if self._turn_responses >= self._server.limits.pipelined_requests:
                self._hold_input()
                connection.loop_state.call_soon(self._next_turn)
                break
            events = connection.machine.receive(b"")
        if began:
            connection.outbox.end_batch()
        if connection.outbox.blocked and connection.phase is self:
            self._hold_input()

    def _has_enough(self) -> bool:
        """True when no more may come behind a request to upgrade before the verdict."""
        endpoint = self._endpoint
        return endpoint is not None and self._connection.machine.early_bytes > endpoint.limits.max_early_size

    def _busy(self) -> bool:
        return self._awaited is not None or self._stream is not None

    def _next_turn(self) -> None:
        self._turn_responses = 0
        self._continue()

    def _continue(self) -> None:
        """Go on with what was pipelined, and read again."""
        connection = self._connection
        if connection.phase is not self or self._busy() or connection.outbox.blocked:
            return
        connection.release_input()
        if connection.machine.state is HTTP:
            self._take(connection.machine.receive(b""))

    def _hold_input(self) -> None:
        self._connection.hold_input()

    def _event(self, event: Any) -> None:
        if self._connection.phase is not self:
            # An application has the request; this is more of it.
            self._connection.phase.event(event)
        elif isinstance(event, Request):
            self._begin(event)
        elif isinstance(event, Data):
            self._body += event.data
            self._body_mark += len(event.data)
        elif isinstance(event, EndOfBody):
            if self._request is not None:
                # Else it was refused, and the time to the next request runs already.
                self._connection.clear_deadline()
                self._respond_to_request()
        else:
            self._refuse(event.response)

    def _begin(self, request: Request) -> None:
        connection = self._connection
        self._request = request
        self._started = connection.loop_state.clock()
        settings = self._server.settings
        request.peer = connection.transport
        if connection.is_tls():
            request.scheme += "s"
        if (
            settings.trusted_proxies
            and request.may_be_forwarded()
            and forwarded(request, self._server.trusted)
        ):
            connection.forwarded_for = request.peer
        if settings.limit_concurrency is not None and self._server.is_full():
            self._refuse(error_response(503))
            return
        if not self._within_limits(request):
            self.limit()
            return
        self._endpoint = endpoint = self._server.router.match(request)
        if request.upgrade:
            self._upgrade(request, endpoint)
            return
        refusal = self._check_plain(request, endpoint)
        if refusal is not None:
            self._endpoint = None
            self._write_response(refusal)
            return
        assert endpoint is not None
        if not connection.machine.http.limit_body(endpoint.limits.max_body_size):
            self._refuse(error_response(413))
            return
        if endpoint.application is not None:
            self._hand_over(request, endpoint)
            return
        self._body = bytearray()
        self._body_mark = 0
        self._deadline(endpoint.timeouts.body)
        owed = connection.machine.http.take_output()
        if owed:
            connection.outbox.write_http(owed)

    def _hand_over(self, request: Request, endpoint: Endpoint) -> None:
        """Let an application that answers for itself have the request, and the connection meanwhile."""
        self._connection.clear_deadline()
        self._connection.phase = endpoint.application.begin(self._connection, self, request, endpoint)

    @property
    def is_closing(self) -> bool:
        return self._server.is_closing

    def set_date(self) -> None:
        """Before an application's response."""
        self._server.set_date()

    def opened(self) -> None:
        """The request to upgrade is accepted."""
        self._server.counters.websockets_opened += 1

    def answered(self, status: int, written: int) -> None:
        """An application has written its whole response: this phase goes on."""
        self._connection.phase = self
        self._status = status
        self._written = written
        self._response_done()
        self._continue()

    def respond(self, response: Response, *, close: bool = False) -> None:
        """Answer in place of an application; ``close`` where nothing that follows may be parsed."""
        self._connection.phase = self
        if close:
            self._refuse(response)
        else:
            self._responded(response)

    def _within_limits(self, request: Request) -> bool:
        """Whether the request's address may have one more connection, and one more handshake now."""
        addresses, connection = self._server.addresses, self._connection
        if not addresses.limited:
            return True
        if not addresses.enter(connection, request.peer):
            return False
        return not request.upgrade or addresses.shake_hands(request.peer, connection.loop_state.wheel.time())

    def limit(self) -> None:
        """Answer 429 to an address that has or asks too much, and close."""
        self._server.counters.limited += 1
        self._refuse(error_response(429, headers=[("Retry-After", "1")]))

    def _check_plain(self, request: Request, endpoint: Endpoint | None) -> Response | None:
        """Return why a plain request is not served; None means that it is."""
        if endpoint is None:
            return error_response(404)
        if endpoint.application is not None:
            return None
        if request.method not in endpoint.methods:
            if endpoint.http is None and request.method == "HEAD":
                return error_response(426, headers=[("Upgrade", "websocket")])
            return error_response(405, headers=[("Allow", ", ".join(endpoint.methods))])
        if endpoint.http is None:
            return handshake.check_upgrade(request) or error_response(426)
        return None

    def _body_progress(self) -> bool:
        """True, and more time, when the body came at the pace that its route asks for."""
        assert self._endpoint is not None
        seconds = self._endpoint.timeouts.body
        if self._awaited is not None or seconds is None:
            return False
        if self._body_mark < self._endpoint.limits.min_body_rate * seconds:
            return False
        self._body_mark = 0
        self._deadline(seconds)
        return True

    def _respond_to_request(self) -> None:
        request, endpoint = self._request, self._endpoint
        assert request is not None
        assert endpoint is not None
        assert endpoint.http is not None
        request.body = bytes(self._body)
        self._body = bytearray()
        try:
            result = endpoint.http(request)
        except Exception:
            log.exception("the endpoint of %s failed", logs.escape(request.path))
            result = error_response(500)
        if inspect.isawaitable(result):
            self._hold_input()
            self._wait_for(result, "the endpoint", self._responded)
        else:
            self._write_response(result)

    def _responded(self, response: object) -> None:
        self._write_response(response)
        self._connection.outbox.flush()
        self._continue()

    def _wait_for(self, awaitable: Awaitable[Any], who: str, then: Callable[[object], None]) -> None:
        self._awaited = awaitable
        self._task = asyncio.get_running_loop().create_task(self._finish(awaitable, who, then))

    async def _finish(self, awaitable: Awaitable[Any], who: str, then: Callable[[object], None]) -> None:
        """Await the application's answer to the request and go on with it, unless it was given up."""
        request = self._request
        assert request is not None
        try:
            answer = await awaitable
        except asyncio.CancelledError:
            if self._awaited is awaitable:
                # Not by us: nobody will ever answer.
                self._connection.abort()
            raise
        except Exception:
            log.exception("%s of %s failed", who, logs.escape(request.path))
            answer = error_response(500)
        if self._awaited is awaitable:
            self._awaited = None
            then(answer)
        elif isinstance(answer, Response) and answer.stream is not None:
            answer.stream.close()

    # -- responses ------------------------------------------------------------------------------

    def _path(self) -> str:
        """For a line of the log: where the request at hand goes."""
        return logs.escape(self._request.path) if self._request is not None else "?"

    def _write_response(self, response: object) -> None:
        connection = self._connection
        if not isinstance(response, Response):
            what = type(response).__name__
            log.error("the endpoint of %s returned %r, which is no Response", self._path(), what)
            response = error_response(500)
        self._turn_responses += 1
        self._server.set_date()
        if response.stream is not None:
            self._start_stream(response)
            return
        try:
            data = connection.machine.http.respond(response)
        except Exception:
            # Such as an interim status, which h11 has not been asked to send yet.
            log.exception("a response with status %d cannot be sent", response.status)
            response = error_response(500)
            data = connection.machine.http.respond(response)
        self._status = response.status
        self._written = len(response.body)
        connection.outbox.write_http(data)
        self._response_done()

    def _start_stream(self, response: Response) -> None:
        connection = self._connection
        assert response.stream is not None
        self._status = response.status
        self._written = response.stream.length
        self._stream = BodyPump(connection, response.stream, self._stream_ended)
        connection.outbox.write_http(connection.machine.http.start_response(response))
        if self._request is not None and self._request.method == "HEAD":
            self._end_stream()
        else:
            self._hold_input()
            connection.loop_state.call_soon(self._stream.step)

    def _stream_ended(self) -> None:
        self._end_stream()
        self._connection.outbox.flush()
        self._continue()

    def _end_stream(self) -> None:
        self._close_stream()
        self._connection.machine.http.end_response()
        self._response_done()

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _response_done(self) -> None:
        connection = self._connection
        self._log_response()
        self._request = None
        self._endpoint = None
        if connection.machine.http.must_close or self._server.is_closing:
            self._end()
        else:
            self._expect_request()

    def _log_response(self) -> None:
        server = self._server
        server.counters.http_responses += 1
        request = self._request
        if not server.settings.access_log or not logs.access.isEnabledFor(logging.INFO):
            return
        seconds = self._connection.loop_state.clock() - self._started if request is not None else 0.0
        method, target, version = ("-", "-", "-")
        if request is not None:
            method, target, version = request.method, request.target, request.http_version
        logs.access.info(
            "%s",
            logs.http_line(
                self._connection.peer, method, target, version, self._status, self._written, seconds
            ),
        )

    def _refuse(self, response: Response) -> None:
        """Answer and close; nothing that follows is parsed."""
        connection = self._connection
        self._status = response.status
        self._written = len(response.body)
        self._server.set_date()
        connection.outbox.write_http(connection.machine.refuse(response))
        self._log_response()
        self._request = None
        self._end()
        if not connection.outbox.corked:
            connection.outbox.flush()

    def _end(self) -> None:
        connection = self._connection
        if connection.machine.state is HTTP:
            connection.machine.finish_http()
        # From here on the peer has the time for a close, not what was left for its request.
        connection.clear_deadline()
        connection.linger()

    # -- time -----------------------------------------------------------------------------------

    def _expect_head(self) -> None:
        self._deadline(self._server.settings.timeouts.handshake)

    def _expect_request(self) -> None:
        self._idle = not self._connection.machine.http.buffered
        if self._idle:
            self._deadline(self._server.settings.timeouts.keep_alive)
        else:
            self._expect_head()

    def _deadline(self, seconds: float | None) -> None:
        if seconds is None:
            self._connection.clear_deadline()
        else:
            self._connection.set_deadline(self._connection.loop_state.wheel.time() + seconds)

    # -- from a request to a WebSocket ----------------------------------------------------------

    def _upgrade(self, request: Request, endpoint: Endpoint | None) -> None:
        refused = refusal(request, endpoint)
        if refused is not None:
            self._refuse(refused)
            return
        assert endpoint is not None
        if endpoint.authorize is None:
            self._decide(None)
        else:
            self._ask(endpoint.authorize, request, endpoint.timeouts.handshake)

    def _ask(self, authorize: Any, request: Request, seconds: float | None) -> None:
        try:
            verdict = authorize(request)
        except Exception:
            log.exception("authorize of %s failed", logs.escape(request.path))
            verdict = error_response(500)
        if inspect.isawaitable(verdict):
            self._deadline(seconds)
            self._wait_for(verdict, "authorize", self._decide)
        else:
            self._decide(verdict)

    def _decide(self, verdict: object) -> None:
        if verdict is None and self._server.is_closing:
            # Nobody would be left to close it: who was open has been told already.
            verdict = error_response(503)
        if verdict is None:
            assert self._request is not None
            assert self._endpoint is not None
            if self._endpoint.application is not None:
                self._hand_over(self._request, self._endpoint)
                return
            self.opened()
            accept(self._connection, self._request, self._endpoint)
        elif isinstance(verdict, Response):
            self._refuse(verdict)
        else:
            what = type(verdict).__name__
            log.error("authorize of %s returned %r, which is neither a Response nor None", self._path(), what)
            self._refuse(error_response(500))
