# cython: annotation_typing=False
"""The server's phase of a connection: plain HTTP, and the way from a request to an open WebSocket.

The server answers requests one after the other, in order (RFC 9112, section 9.3.2). What a client
pipelines behind a request that is not answered yet stays in the socket beyond one read. After 101 the
connection drops this object.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from fastws import logs
from fastws.connection.connection import Connection
from fastws.logs import request_var
from fastws.loop.fatal import end_loop
from fastws.protocol.http.events import Data, EndOfBody
from fastws.protocol.http.messages import Request, Response, error_response
from fastws.protocol.websocket.states import DRAINING, HTTP
from fastws.server.pending import PendingAnswer
from fastws.server.phase_state import PhaseState
from fastws.server.requests import RequestBody, admit, plain_refusal, warn_of_tls
from fastws.server.responses import Responses
from fastws.server.upgrade import accept, upgrade_refusal

if TYPE_CHECKING:
    from fastws.loop.admissions import Admission
    from fastws.server.site import Site
    from fastws.web.routes import Endpoint

__all__ = ["ServerPhase"]

log = logging.getLogger("fastws.error")

#: Bytes of a request body after which other connections have their turn of the loop.
TURN_BODY_SIZE = 16 * 1024

EXPECT_HEAD, IDLE, BODY = PhaseState.EXPECT_HEAD, PhaseState.IDLE, PhaseState.BODY
RESPONDING, STREAMING, DECIDING = PhaseState.RESPONDING, PhaseState.STREAMING, PhaseState.DECIDING
HANDED_OVER = PhaseState.HANDED_OVER


def ask(hook: Any, request: Request, what: str) -> Any:
    """Return what the application says to a request, the current one meanwhile; 500 where it fails."""
    token = request_var.set(request)
    try:
        return hook(request)
    except (KeyboardInterrupt, SystemExit) as exc:
        end_loop(exc)
    except BaseException:
        log.exception("%s of %s failed", what, logs.escape(request.path))
    finally:
        request_var.reset(token)
    return error_response(500)


class ServerPhase(Responses):
    """One connection until it is a WebSocket, or for all its life if it never becomes one.

    This half takes requests, and leads each to whoever answers it.
    """

    __slots__ = ("_body", "_endpoint", "_pending")

    def __init__(self, connection: Connection, site: Site) -> None:
        self._set_up(connection, site)
        #: Of the request at hand: its route, what has come of its body, what is still to be answered.
        self._endpoint: Endpoint | None = None
        self._body: RequestBody | None = None
        self._pending: PendingAnswer | Admission | None = None

    # -- what the connection tells --------------------------------------------------------------

    def received(self, data: bytes | memoryview) -> None:
        connection = self._connection
        self._take(connection.machine.receive(data))
        if connection.phase is not self:
            return
        if self._state is DECIDING:
            if self._is_early_full():
                connection.hold_input()
        elif self._state is IDLE:
            if connection.machine.http.buffered:
                # The first bytes of a head have come: the whole of it has the handshake's time.
                self._expect_head()
        elif self._state is STREAMING:
            if self._is_pipeline_full():
                connection.hold_input()
        elif self._state is BODY and len(data) > TURN_BODY_SIZE:
            # The rest of the body may come in chunks of a byte each: the others have their turn first.
            connection.hold_input()
            connection.loop_state.call_soon(self._next_turn)

    def eof_received(self) -> bool:
        """A client that ended its side behind its request has its answer: till then nothing is read."""
        machine = self._connection.machine
        if machine.state is HTTP:
            machine.http.receive_eof()
            self._take(machine.receive(b""))
        return False

    def timed_out(self) -> None:
        """The head, the body or the verdict took too long."""
        state = self._state
        if state is IDLE or (state is EXPECT_HEAD and not self._connection.machine.http.buffered):
            # No request has begun: there is nobody to answer.
            self._connection.transport.close()
        elif self._waits_for_application():
            # RFC 9110, section 15.6.4: 503, for the fault is the application's and not the client's.
            self._give_up()
            self._refuse(error_response(503))
        elif state is not BODY or not self._extend_body_deadline():
            # RFC 9110, section 15.5.9: 408, with which the connection closes.
            self._refuse(error_response(408))

    def drained(self) -> None:
        """The socket has taken what it had refused."""
        if self._state is STREAMING:
            self._stream_drained()
        elif self._state is not DECIDING:
            self._continue()
        elif not self._is_early_full():
            # Or nobody would see that the client has gone: asyncio does not over TLS while it is not read.
            self._connection.release_input()

    def stop(self) -> bool:
        """The server stops: False when there is no answer to wait for."""
        self.end_stream()
        if self._state is BODY or self._is_busy():
            return True
        if self._connection.outbox.blocked:
            self._end()  # the last answer is still on its way
            return True
        return False

    def lost(self, exc: Exception | None) -> None:
        self._give_up()
        self._cut_stream()

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
            if connection.outbox.blocked or self._is_busy():
                break
            if self._turn_responses >= self._site.limits.pipelined_requests:
                connection.hold_input()
                connection.loop_state.call_soon(self._next_turn)
                break
            events = connection.machine.receive(b"")
        if began:
            connection.outbox.end_batch()
        if connection.outbox.blocked and connection.phase is self:
            connection.hold_input()

    def _next_turn(self) -> None:
        self._turn_responses = 0
        self._continue()

    def _continue(self) -> None:
        connection = self._connection
        if connection.phase is not self or self._is_busy() or connection.outbox.blocked:
            return
        connection.release_input()
        if connection.machine.state is HTTP:
            self._take(connection.machine.receive(b""))

    def _event(self, event: Any) -> None:
        if self._connection.phase is not self:
            # An application has the request; this is more of it.
            self._connection.phase.event(event)
        elif isinstance(event, Request):
            self._begin(event)
        elif isinstance(event, Data):
            if self._state is BODY and self._body is not None:
                self._body.add(event.data)
        elif isinstance(event, EndOfBody):
            if self._state is BODY:
                # Else it was refused, and the time to the next request runs already.
                self._connection.clear_deadline()
                self._respond_to_request()
        else:
            warn_of_tls(self._connection, event)
            self._refuse(event.response)

    def _begin(self, request: Request) -> None:
        """Serve a request whose head has come."""
        connection = self._connection
        self._request = request
        self._started_at = connection.loop_state.clock()
        refused = admit(self._site, connection, request)
        if refused is not None:
            self._refuse(refused)
            return
        self._endpoint = endpoint = self._site.router_of(connection).match(request)
        # The route's: how long the answer may stand still, and the end of TCP may take.
        connection.timeouts = self._site.settings.timeouts if endpoint is None else endpoint.timeouts
        if request.upgrade:
            self._upgrade(request, endpoint)
            return
        refused = plain_refusal(request, endpoint)
        if refused is not None:
            self._write_response(refused)
            return
        assert endpoint is not None
        if not connection.machine.http.limit_body(endpoint.limits.max_body_size):
            # RFC 9110, section 15.5.14: 413, and the connection closes, for the body is not read.
            self._refuse(error_response(413))
            return
        if endpoint.application is not None:
            self._hand_over(request, endpoint)
            return
        self._state = BODY
        self._body = RequestBody()
        self._set_deadline(endpoint.timeouts.body)
        owed = connection.machine.http.take_output()
        if owed:
            connection.outbox.write_http(owed)

    def _extend_body_deadline(self) -> bool:
        assert self._endpoint is not None and self._body is not None
        if not self._body.keeps_pace(self._endpoint):
            return False
        self._set_deadline(self._endpoint.timeouts.body)
        return True

    def _respond_to_request(self) -> None:
        """Ask the endpoint for the response to a request that is whole."""
        request, endpoint, body = self._request, self._endpoint, self._body
        assert request is not None and endpoint is not None and body is not None
        assert endpoint.http is not None
        request.body = body.whole()
        self._body = None
        result = ask(endpoint.http, request, "the endpoint")
        if inspect.isawaitable(result):
            self._connection.hold_input()
            self._state = RESPONDING
            name = f"the endpoint of {self._path()}"
            self._pending = PendingAnswer(result, name, self._responded, request)
        else:
            self._write_response(result)

    def _responded(self, response: object) -> None:
        """Go on with the answer for which other requests have waited."""
        self._write_response(response)
        self._connection.outbox.flush()
        self._continue()

    def _give_up(self) -> None:
        """Cancel what the application still does about the request."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.give_up()

    # -- applications that answer for themselves ------------------------------------------------

    def _hand_over(self, request: Request, endpoint: Endpoint) -> None:
        """Let the application have the request, and the connection until it has answered."""
        self._state = HANDED_OVER
        self._connection.clear_deadline()
        self._connection.phase = endpoint.application.begin(self._connection, self, request, endpoint)

    def answered(self, status: int, written: int) -> None:
        """An application has written its whole response of ``written`` bytes: this phase goes on."""
        self._connection.phase = self
        self._status = status
        self._size = written
        self._response_done()
        self._continue()

    def cut_short(self, status: int, written: int) -> None:
        """Note an application's response of which only ``written`` bytes were sent: its client is lost."""
        self._status = status
        self._size = written
        self._count_response()

    def respond(self, response: Response, *, close: bool = False) -> None:
        """Answer in place of an application; ``close`` where nothing that follows may be parsed."""
        self._connection.phase = self
        if close:
            self._refuse(response)
        else:
            self._responded(response)

    # -- from a request to a WebSocket ----------------------------------------------------------

    def _upgrade(self, request: Request, endpoint: Endpoint | None) -> None:
        refused = upgrade_refusal(request, endpoint, self._site.refused_origins)
        admissions = self._connection.loop_state.admissions
        if refused is not None:
            self._refuse(refused)
        elif admissions.take():
            self._admitted()
        else:
            # Without a deadline: the server is late, not the client, and its turn comes.
            self._state = DECIDING
            self._connection.clear_deadline()
            self._pending = admissions.wait(self._admitted)

    def _admitted(self) -> None:
        """Open the WebSocket, or ask the route's ``authorize``: this turn has time for it."""
        request, endpoint = self._request, self._endpoint
        assert request is not None and endpoint is not None
        self._pending = None  # its admission
        if endpoint.authorize is None:
            self._decide(None)
        else:
            self._ask(endpoint.authorize, request, endpoint.timeouts.handshake)

    def _ask(self, authorize: Any, request: Request, seconds: float | None) -> None:
        """Ask the route's ``authorize``, which has ``seconds`` to decide."""
        verdict = ask(authorize, request, "authorize")
        if inspect.isawaitable(verdict):
            self._state = DECIDING
            self._set_deadline(seconds)
            name = f"authorize of {self._path()}"
            self._pending = PendingAnswer(verdict, name, self._decide, request)
        else:
            self._decide(verdict)

    def _is_early_full(self) -> bool:
        """True when no more may come behind a request to upgrade before the verdict."""
        assert self._endpoint is not None
        return self._connection.machine.early_bytes > self._endpoint.limits.max_early_size

    def _decide(self, verdict: object) -> None:
        """Open the WebSocket where the verdict is None; answer with the verdict where it is a response."""
        if verdict is None and self._site.is_closing:
            # RFC 9110, section 15.6.4. Nobody would be left to close it: who was open has been told already.
            verdict = error_response(503)
        if verdict is None:
            assert self._request is not None and self._endpoint is not None
            if self._endpoint.application is not None:
                self._hand_over(self._request, self._endpoint)
                return
            self.opened(self._endpoint.counters)
            accept(self._connection, self._request, self._endpoint)
        elif isinstance(verdict, Response):
            self._refuse(verdict)
        else:
            what = type(verdict).__name__
            log.error("authorize of %s returned %r, which is neither a Response nor None", self._path(), what)
            self._refuse(error_response(500))
