# cython: annotation_typing=False
"""How long a connection lives: keep-alive pings, the write limit, the time for a close or for a phase.

Each deadline is one field, in seconds of the loop's clock, 0.0 for none. The loop's wheel calls ``on_timer``
at the earliest of them.
"""

from __future__ import annotations

import logging
from enum import IntEnum
from typing import Any

from fastws.connection.pausing import Pausing
from fastws.loop.progress import progress_mark, window_seconds
from fastws.protocol.websocket.states import CLOSED, DRAINING, OPEN

__all__ = ["Lifetime"]

log = logging.getLogger("fastws.error")

#: After its pong is overdue a peer has so much more time. The pong may lie in the socket: when a process that
#: was stopped goes on, its timers fire before its reads.
PONG_GRACE_SECONDS = 1.0

#: While a socket takes nothing, its progress is looked at so often.
WRITE_CHECK_SECONDS = 1.0
#: A peer whose window opens in large steps has at most so many times the write limit.
MAX_WRITE_LIMITS = 12


class PongWait(IntEnum):
    """How a pong is waited for."""

    ON_TIME = 0
    #: It is overdue, and has ``PONG_GRACE_SECONDS`` more.
    LATE = 1
    #: It is overdue, but the peer's window is closed, and the ping stands behind what waits for that.
    BEHIND_WINDOW = 2


ON_TIME, LATE, BEHIND_WINDOW = map(int, PongWait)


class Lifetime(Pausing):
    """The part that knows what is due when."""

    __slots__ = (
        "_close_at",
        "_ping",
        "_ping_at",
        "_pong_by",
        "_pong_wait",
        "_stall_at",
        "_stall_mark",
        "ws",
    )

    def _init_lifetime(self) -> None:
        #: The user's handle, from the handshake to the end of TCP.
        self.ws: Any = None
        #: When the phase is told that its time is over, or TCP is cut because the peer does not end it.
        self._close_at = 0.0
        #: When the next keep-alive ping leaves.
        self._ping_at = 0.0
        #: When the pong of that ping is overdue, and how it is waited for.
        self._pong_by = 0.0
        self._pong_wait = ON_TIME
        #: The payload of the keep-alive ping that is under way, and when it left.
        self._ping: tuple[bytes, float] | None = None
        #: When a peer has taken nothing for too long; the mark that its progress had at the last look.
        self._stall_at = 0.0
        self._stall_mark = -1

    def on_timer(self, now: float) -> float | None:
        """Do what is due; return when to look again."""
        if self._close_at and now >= self._close_at:
            self._close_at = 0.0
            if self.phase is not None and self.machine.state is not DRAINING:
                self.phase.timed_out()
            elif self._stall_at:
                # What was accepted before the end still goes out; the write limit watches it.
                self._await_end()
            else:
                self.abort()
                return None
        if self._stall_at and not self._making_progress(now):
            log.warning("%r took nothing for %g s: aborted", self.peer, self._stalled_seconds(now))
            self._cut_slow_peer()
            return None
        if self.machine.state is OPEN and not self._keep_alive(now):
            return None
        return self._next_due(now) or None

    def _next_due(self, now: float) -> float:
        """Return the earliest deadline, 0.0 for none."""
        due = self._close_at
        if self._ping_at and (not due or self._ping_at < due):
            due = self._ping_at
        if self._pong_by and (not due or self._pong_by < due):
            due = self._pong_by
        if self._stall_at:
            stall = now + WRITE_CHECK_SECONDS
            if now < self._stall_at < stall:
                stall = self._stall_at
            if not due or stall < due:
                due = stall
        return due

    # -- the phase and the close ----------------------------------------------------------------

    def set_deadline(self, when: float) -> None:
        """Call the phase's ``timed_out`` at ``when``, in seconds of the loop's clock."""
        self._close_at = when
        self.loop_state.wheel.sooner(self, when)

    def clear_deadline(self) -> None:
        """End what :meth:`set_deadline` began."""
        self._close_at = 0.0

    def _await_end(self) -> None:
        """Give the peer ``timeouts.close`` seconds to do its part of the close, unless they run already."""
        if self.timeouts.close is not None and not self._close_at and self.machine.state is not CLOSED:
            self._close_at = self.loop_state.wheel.time() + self.timeouts.close
            self.loop_state.wheel.sooner(self, self._close_at)

    # -- the write limit ------------------------------------------------------------------------

    def _watch_progress(self) -> None:
        """The socket has refused bytes: from now on the peer must take some in ``timeouts.write`` seconds."""
        write = self.timeouts.write
        if write is not None and not self._stall_at:
            now = self.loop_state.wheel.time()
            self._stall_at = now + write
            self._stall_mark = progress_mark(self.transport)
            self.loop_state.wheel.sooner(self, now + min(write / 4, WRITE_CHECK_SECONDS))

    def _making_progress(self, now: float) -> bool:
        """False when the peer has taken nothing within the write limit."""
        write = self.timeouts.write
        assert write is not None
        mark = progress_mark(self.transport)
        if mark != self._stall_mark:
            self._stall_at = now + write
            self._stall_mark = mark
        if now < self._stall_at:
            return True
        # Behind a large buffer, such as a proxy's, a steady reader is not seen for longer than the limit.
        seconds = min(window_seconds(self.transport), write * MAX_WRITE_LIMITS)
        return now - self._stall_at < seconds - write

    def _stalled_seconds(self, now: float) -> float:
        """Return how long the peer has taken nothing: the write limit, or whole seconds beyond it."""
        write = self.timeouts.write or 0.0
        over = now - self._stall_at
        return write if over < 1.0 else float(round(write + over))

    # -- the keep-alive -------------------------------------------------------------------------

    def _set_open_deadlines(self) -> None:
        """The WebSocket is open: only its own deadlines count from now on."""
        wheel = self.loop_state.wheel
        now = wheel.time()
        self._close_at = 0.0
        if self.timeouts.ping_interval is not None:
            self._ping_at = now + self.timeouts.ping_interval
        due = self._next_due(now)
        if not due:
            wheel.cancel(self)
        else:
            # If the handshake's deadline was earlier, it stays: to find nothing due then costs less.
            wheel.sooner(self, due)

    def _stop_pings(self) -> None:
        self._ping_at = self._pong_by = 0.0

    def _keep_alive(self, now: float) -> bool:
        """Send the ping that is due; False when the pong is overdue, and TCP has been cut for it."""
        timeouts = self.timeouts
        if self._pong_by and now >= self._pong_by:
            if self._pause_reasons or self._pong_wait == ON_TIME:
                # While nothing is read no pong can arrive, and just after that it may not have been read yet.
                self._pong_wait = ON_TIME if self._pause_reasons else LATE
                self._pong_by = now + self.host.pong_grace_seconds
                if not self._stall_at:
                    self._stall_mark = progress_mark(self.transport)
            elif not self._extend_pong(now):
                self.host.pong_missed(self)
                return False
        if self._ping_at and now >= self._ping_at:
            assert timeouts.ping_interval is not None
            self._ping_at = now + timeouts.ping_interval
            if not self._pong_by:
                payload = self.loop_state.random_mask()
                if timeouts.ping_timeout is not None:
                    self._pong_by = now + timeouts.ping_timeout
                self._ping = (payload, self.loop_state.clock())
                self.send_ping(payload)
        return True

    def _extend_pong(self, now: float) -> bool:
        """Give a peer more time that reads on, but slowly: the ping has not left us yet. Else False."""
        if self._stall_at:  # the write limit watches already
            self._pong_by = now + PONG_GRACE_SECONDS
            return True
        seconds = window_seconds(self.transport)
        mark = progress_mark(self.transport)
        if not seconds or (mark == self._stall_mark and self._pong_wait == BEHIND_WINDOW):
            return False
        if mark == self._stall_mark:
            self._pong_wait = BEHIND_WINDOW
            write = self.timeouts.write
            self._pong_by = now + (seconds if write is None else min(seconds, write * MAX_WRITE_LIMITS))
        else:
            self._pong_wait = LATE
            self._stall_mark = mark
            self._pong_by = now + (self.timeouts.ping_timeout or 0.0)
        return True

    def cut_silent_peer(self) -> None:
        """End TCP: nobody has answered a ping, so nobody would answer a close frame."""
        self.machine.close_reason = "ping timeout"
        self.machine.closed_by_peer = False
        self.abort()

    def _pong_received(self, payload: bytes) -> None:
        """Note a pong: of the keep-alive's ping, of one by ``ws.ping()``, or of none."""
        now = self.loop_state.clock()
        ping = self._ping
        if ping is not None and payload == ping[0]:
            sent = ping[1]
            self.ws.latency = now - sent
            if self.loop_state.meters is not None and not self.machine.is_client:
                self.loop_state.meters.pings.observe(now - sent)
            self.ws.pongs_before(sent, now)
        else:
            sent = self.ws.pong_received(payload, now)
        # A peer may answer only the newest of several pings (RFC 6455, section 5.5.3).
        if ping is not None and sent >= ping[1]:
            self._ping = None
            self._pong_by = 0.0
            self._pong_wait = ON_TIME
