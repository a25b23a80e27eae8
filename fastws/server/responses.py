# cython: annotation_typing=False
"""The half of the server's phase that answers: whole responses, streams, and the end of the connection."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastws import logs
from fastws.connection.connection import Connection
from fastws.protocol.http.messages import Request, Response, error_response
from fastws.protocol.websocket.states import DECIDING, HTTP
from fastws.server.access_log import log_response
from fastws.server.body_streams import BodyPump, IteratorPump, close_stream, keep_task
from fastws.server.phase_state import PhaseState
from fastws.server.requests import address_refusal

if TYPE_CHECKING:
    from fastws.connection._counters import Counters
    from fastws.server.site import Site

__all__ = ["Responses"]

log = logging.getLogger("fastws.error")

#: Bytes behind a request that are read while its response is a stream: the rest waits in the socket.
MAX_PIPELINED_BYTES = 64 * 1024

EXPECT_HEAD, IDLE = PhaseState.EXPECT_HEAD, PhaseState.IDLE
STREAMING, ENDING = PhaseState.STREAMING, PhaseState.ENDING
RESPONDING, ASKED = PhaseState.RESPONDING, PhaseState.DECIDING


class Responses:
    """Answers the request at hand, logs the answer, and says what is due next."""

    __slots__ = (
        "_connection",
        "_request",
        "_site",
        "_size",
        "_started_at",
        "_state",
        "_status",
        "_stream",
        "_turn_responses",
    )

    def _set_up(self, connection: Connection, site: Site) -> None:
        """In place of ``__init__``, which a compiled subclass can only call as any Python function."""
        self._connection = connection
        self._site = site
        #: The request at hand; None between two of them, and where none could be read.
        self._request: Request | None = None
        self._started_at = 0.0
        #: Of the response at hand, for the access log.
        self._status = 0
        self._size = 0
        self._stream: BodyPump | IteratorPump | None = None
        #: Responses since others last had their turn of the loop.
        self._turn_responses = 0
        self._expect_head()

    def _is_busy(self) -> bool:
        """True while the request at hand is being answered, and the next one has to wait."""
        return self._state is STREAMING or self._waits_for_application()

    def _waits_for_application(self) -> bool:
        return self._state is RESPONDING or self._state is ASKED

    def is_opening(self) -> bool:
        """Whether a WebSocket may come of the request at hand, or of the one that is due."""
        return self._state is EXPECT_HEAD or self._state is ASKED

    def _continue(self) -> None:
        """Go on with what the client has pipelined, and read again."""
        raise NotImplementedError

    # -- what an application that answers for itself asks ---------------------------------------

    @property
    def is_closing(self) -> bool:
        return self._site.is_closing

    @property
    def is_leaving(self) -> bool:
        return self._site.is_leaving

    def set_date(self) -> None:
        """Give the application's response, which comes next, the time of day."""
        self._site.set_date()

    def opened(self, counters: Counters) -> None:
        """Count a WebSocket, where its route counts: its request to upgrade is accepted."""
        counters.row.websockets_opened += 1
        if self._site.traces is not None:
            self._trace(101)

    # -- responses ------------------------------------------------------------------------------

    def _path(self) -> str:
        """Where the request at hand goes, for a line of the log."""
        return logs.escape(self._request.path) if self._request is not None else "?"

    def _write_response(self, response: object) -> None:
        """Answer the request at hand; 500 for what is no response, and for one that cannot be sent."""
        connection = self._connection
        if not isinstance(response, Response):
            what = type(response).__name__
            log.error("the endpoint of %s returned %r, which is no Response", self._path(), what)
            response = error_response(500)
        self._turn_responses += 1
        self._site.set_date()
        if response.stream is not None:
            self._start_stream(response)
            return
        try:
            data = connection.machine.http.respond(response, close=self._site.is_leaving)
        except Exception:
            response = self._instead_of(response)
            data = connection.machine.http.respond(response, close=self._site.is_leaving)
        self._status = response.status
        self._size = len(response.body)
        connection.outbox.write_http(data)
        self._response_done()

    def _instead_of(self, response: Response) -> Response:
        """Log why a response cannot be sent, such as an interim one, and return the 500 in its place."""
        log.exception("a response with status %d cannot be sent", response.status)
        return error_response(500)

    def _start_stream(self, response: Response, *, close: bool = False) -> None:
        http = self._connection.machine.http
        try:
            pump = self._pump(response)
            head = http.start_response(response, close=close or self._site.is_leaving)
        except Exception:
            self._discard_stream(response)
            self._refuse(self._instead_of(response))
            return
        self._state = STREAMING
        self._status = response.status
        self._connection.outbox.write_http(head)
        if self._is_bodiless(response):
            self._size = 0 if response.has_iterator() else response.stream.length
            self._discard_stream(response)
            http.end_response()
            self._response_done()
        else:
            self._stream = pump
            pump.begin()

    def _pump(self, response: Response) -> BodyPump | IteratorPump:
        """Return what sends the response's stream. It raises what an ``__aiter__`` does."""
        if not response.has_iterator():
            return BodyPump(self._connection, response.stream, self._file_ended)
        return IteratorPump(
            self._connection, aiter(response.stream), self._stream_ended, self._path(), self._site.tasks
        )

    def _is_bodiless(self, response: Response) -> bool:
        """Whether the stream is not sent (RFC 9110, section 6.4.1)."""
        is_head = self._request is not None and self._request.method == "HEAD"
        return is_head or (response.has_iterator() and response.status in (204, 304))

    def _discard_stream(self, response: Response) -> None:
        """Close the stream of a response that nobody sends."""
        if response.has_iterator():
            keep_task(close_stream(response), self._site.tasks)
        else:
            response.stream.close()

    def _file_ended(self) -> None:
        self._connection.machine.http.end_response()
        self._stream_ended()

    def _stream_ended(self) -> None:
        """The whole body is written: the next request is due."""
        assert self._stream is not None
        self._size = self._stream.written
        self._close_stream()
        self._response_done()
        self._connection.outbox.flush()
        self._continue()

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _is_pipeline_full(self) -> bool:
        """True when no more may come behind a request whose response is a stream."""
        machine = self._connection.machine
        return machine.http.buffered > MAX_PIPELINED_BYTES or machine.early_bytes > MAX_PIPELINED_BYTES

    def is_streaming(self) -> bool:
        """Whether the response at hand is an async iterator."""
        return self._stream is not None and self._stream.reads_on

    def end_stream(self) -> None:
        """Tell the response at hand that the server stops."""
        if self._stream is not None:
            self._stream.server_stops()

    def _stream_drained(self) -> None:
        """The socket has taken what it had refused of a stream."""
        assert self._stream is not None
        if self._stream.reads_on and not self._is_pipeline_full():
            self._connection.release_input()
        self._stream.drained()

    def _cut_stream(self) -> None:
        """The client is lost: note a response of which only a part was sent."""
        if self._stream is not None:
            self._size = self._stream.written
            self._close_stream()
            self._count_response()

    def _response_done(self) -> None:
        """Count the response; then the next request is due, or the connection ends."""
        self._count_response()
        self._request = None
        if self._connection.machine.http.must_close or self._site.is_leaving:
            self._end()
        else:
            self._expect_request()

    def _refuse(self, response: Response) -> None:
        """Answer and close; nothing that follows is parsed."""
        connection = self._connection
        self._site.set_date()
        if response.stream is not None:
            # From here on the write limit watches the client, not the time that it had for its request.
            connection.clear_deadline()
            self._start_stream(response, close=True)
            return
        try:
            data = connection.machine.refuse(response)
        except Exception:
            response = self._instead_of(response)
            data = connection.machine.refuse(response)
        self._status = response.status
        self._size = len(response.body)
        connection.outbox.write_http(data)
        self._count_response()
        self._request = None
        self._end()
        if not connection.outbox.corked:
            connection.outbox.flush()

    def limit(self) -> None:
        """Answer 429 before any request: this address has too many connections already."""
        self._refuse(address_refusal(self._site))

    def _count_response(self) -> None:
        site = self._site
        site.counters.row.http_responses += 1
        if site.meters is not None:
            site.meters.answered(self._status, upgrade=self._is_handshake())
        if site.traces is not None and self._is_handshake():
            self._trace(self._status)
        if site.is_access_logged():
            log_response(site, self._connection, self._request, self._status, self._size, self._started_at)
        # The next request, and what is logged till then, may be another client's.
        self._connection.forwarded_for = None
        if site.addresses.is_limiting:
            site.addresses.end_request(self._connection)

    def _is_handshake(self) -> bool:
        return self._request is not None and self._request.upgrade

    def _trace(self, status: int) -> None:
        """Tell of a handshake that is decided, and how long that took."""
        seconds = self._connection.loop_state.clock() - self._started_at
        self._site.traces.handshake(self._request, status, seconds)

    # -- what is due next -----------------------------------------------------------------------

    def _expect_head(self) -> None:
        self._state = EXPECT_HEAD
        self._set_deadline(self._site.settings.timeouts.handshake)

    def _expect_request(self) -> None:
        """Wait for the next request; where it has begun to come, for its head."""
        if self._connection.machine.http.buffered:
            self._expect_head()
        else:
            self._state = IDLE
            self._set_deadline(self._site.settings.timeouts.keep_alive)

    def _end(self) -> None:
        """End TCP behind what was written, in the stages of RFC 9112, section 9.6: our side first."""
        connection = self._connection
        self._state = ENDING
        if connection.machine.state is HTTP or connection.machine.state is DECIDING:
            connection.machine.finish_http()
        # From here on the peer has the time for a close, not what was left for its request.
        connection.clear_deadline()
        connection.linger()

    def _set_deadline(self, seconds: float | None) -> None:
        """Let :meth:`timed_out` be called in ``seconds``; None: never."""
        if seconds is None:
            self._connection.clear_deadline()
        else:
            self._connection.set_deadline(self._connection.loop_state.wheel.time() + seconds)
