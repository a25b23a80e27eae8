# cython: annotation_typing=False
"""The end of a connection: the close frames, what is still owed, the end of TCP, and who is told.

The order of an end: the close begins and the WebSocket leaves its topics (``_leave``); the handler is told
(``_finish``); once all that was accepted has been written, TCP ends (``_end_if_drained``, ``_end_tcp``). The
peer has ``timeouts.close`` seconds for its part; the write limit watches what is still going out.
"""

from __future__ import annotations

import logging
from enum import IntEnum
from typing import Any

from fastws.connection.lifetime import Lifetime
from fastws.loop.fatal import end_loop
from fastws.protocol.websocket.events import Close, Fail
from fastws.protocol.websocket.frames import CloseCode
from fastws.protocol.websocket.states import DRAINING, OPEN

__all__ = ["Closing", "TcpEnd"]

log = logging.getLogger("fastws.error")


class TcpEnd(IntEnum):
    """Which side ends TCP, and how."""

    #: After both close frames the server closes, and the client waits for that (RFC 6455, section 7.1.1).
    GRACEFUL = 0
    #: The peer may still be sending: we end our side, and read and discard what comes until the peer ends.
    LINGERING = 1
    #: The same, for a peer that was too slow.
    EVICTED_LINGERING = 2
    #: The peer was too slow, and nothing is left to linger for: it has answered our close frame, or was cut.
    EVICTED = 3


GRACEFUL, LINGERING, EVICTED_LINGERING, EVICTED = map(int, TcpEnd)


class Closing(Lifetime):
    """The part that ends a connection."""

    __slots__ = ("_tcp_end", "callbacks")

    def _init_closing(self) -> None:
        #: The handler's, while the WebSocket is open: they are let go of when ``on_close`` is called.
        self.callbacks: Any = None
        self._tcp_end = GRACEFUL

    # -- how an end begins ----------------------------------------------------------------------

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        frame = self.machine.close(code, reason)
        if frame is None:
            return
        self.outbox.push_last(frame)
        self._leave()
        self.ws.drained()
        self._await_end()
        if self._pause_reasons:
            # Nobody takes messages any more; the peer's close frame must not wait behind them.
            self.loop_state.call_soon(self.resume_all)

    def evict(self, reason: str) -> None:
        """Close a peer that is too slow, with 1008, and throw away what waits for it."""
        frame = self.machine.close(CloseCode.POLICY_VIOLATION, reason)
        if frame is None:
            return
        self.outbox.push_last(frame, discard=True)
        self._tcp_end = EVICTED_LINGERING
        self._leave()
        # Soon, not now: this may be in the middle of a fan-out, where on_close must not publish.
        self.loop_state.call_soon(self._drain)

    def _peer_ended(self, event: Close | Fail) -> None:
        """The peer has sent a close frame or broken the protocol: answer that, then end TCP."""
        failed = type(event) is Fail
        frame = self.machine.answer(event)
        self.outbox.flush()  # so that it counts as sent when the end is told
        if frame is not None:
            # A violation fails the connection (RFC 6455, section 7.1.7): what waits is thrown away.
            self.outbox.push_last(frame, discard=failed)
        if self._tcp_end >= EVICTED_LINGERING:
            self._tcp_end = EVICTED_LINGERING if failed else EVICTED
        else:
            self._tcp_end = LINGERING if failed else GRACEFUL
        self._leave()
        self._finish()
        self._end_soon()

    def linger(self) -> None:
        """End TCP after what was written, in the HTTP phase; the peer may still be sending."""
        self._tcp_end = LINGERING
        self._end_soon()

    def abort(self) -> None:
        self._leave()
        self.outbox.discard()
        self.transport.abort()

    def _cut_slow_peer(self) -> None:
        self._tcp_end = EVICTED
        if self.machine.state is OPEN:
            self.machine.close_reason = "write timeout"
            self.machine.closed_by_peer = False
        self.abort()

    @property
    def evicted(self) -> bool:
        """True for a peer that was too slow: over its queue's limit, or past the write limit."""
        return self._tcp_end >= EVICTED_LINGERING

    def _leave(self) -> None:
        """The close begins: send no more, and take part in no broadcast."""
        outbox = self.outbox
        outbox.is_open = False
        outbox.leave_topics()

    # -- the handler ----------------------------------------------------------------------------

    def _finish(self) -> None:
        """The WebSocket is over: tell the handler, once, and those who wait."""
        callbacks, self.callbacks = self.callbacks, None
        if callbacks is None:
            return
        self._stop_pings()
        self.ws.ended()
        machine = self.machine
        self.host.websocket_closed(self)
        self.outbox.end_count()
        if callbacks.on_close is None:
            return
        try:
            callbacks.on_close(self.ws, machine.close_code, machine.close_reason)
        except (KeyboardInterrupt, SystemExit) as exc:
            end_loop(exc)
        except BaseException:
            log.exception("on_close of %r failed", self.ws)

    def _call(self, callback: Any, *args: Any) -> bool:
        """Call one of the handler's callbacks; False when it has raised."""
        try:
            callback(*args)
        except (KeyboardInterrupt, SystemExit) as exc:
            end_loop(exc)
            self.abort()
            return False
        except BaseException:
            self._handler_failed(callback.__name__)
            return False
        return True

    def _handler_failed(self, name: str) -> None:
        log.exception("%s of %r failed", name, self.ws)
        self.close(CloseCode.INTERNAL_ERROR, "internal error")

    # -- the end of TCP -------------------------------------------------------------------------

    def _drain(self) -> None:
        """The evicted WebSocket is over; end TCP as soon as our close frame has gone out."""
        self._finish()
        self._end_if_drained()

    def _end_soon(self) -> None:
        """End TCP in this turn of the loop, behind what the current call still says; if nothing is owed."""
        self.loop_state.call_soon(self._end_if_drained)

    def _end_if_drained(self) -> None:
        """End TCP once all that is owed has left, at the latest when the time for a close is over."""
        outbox = self.outbox
        if self.machine.state is not DRAINING and not self._is_lingering():
            return
        if not self.transport.is_closing():
            outbox.flush()
            if not outbox.blocked and not outbox.queued and self._end_tcp():
                return
        self._await_end()

    def _end_tcp(self) -> bool:
        """Do our part of the end of TCP; True when that is all of it."""
        lingers = self._is_lingering()
        if lingers and self.transport.can_write_eof():
            # The peer may still be sending: with unread bytes in the socket a close would be a reset, which
            # takes our close frame with it. End our side, discard theirs.
            self._linger()
            return False
        if self.machine.state is not DRAINING or (self.machine.is_client and not lingers):
            # The server is the one to end TCP (RFC 6455, section 7.1.1); a client waits for that.
            return False
        # A plain socket with nothing left to write is closed at once; TLS says goodbye before.
        plain = self.outbox.fd >= 0
        self.outbox.fd = -1
        self.transport.close()
        return plain

    def _is_lingering(self) -> bool:
        """True when the peer may still be sending, so that TCP must not simply be closed."""
        return self._tcp_end == LINGERING or self._tcp_end == EVICTED_LINGERING

    def _linger(self) -> None:
        self.outbox.fd = -1
        self._discard_input()
        try:
            self.transport.write_eof()
        except OSError:  # asyncio's, when the peer has reset the connection already
            self.transport.abort()
