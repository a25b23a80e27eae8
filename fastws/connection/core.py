# cython: annotation_typing=False
"""What all parts of a connection share, and what its WebSocket asks of it.

A connection is one object in parts, each the base class of the next: ``core``, ``pausing`` (when it reads),
``lifetime`` (its deadlines), ``closing`` (its end), ``delivery`` (from bytes to the handler), ``connection``
(what the transport calls). A part uses what stands before it; what it needs of a later part is declared here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastws.config import Timeouts
from fastws.connection.outbox import Outbox
from fastws.loop.poller import Polled
from fastws.loop.state import LoopState
from fastws.protocol.http.addresses import unmapped
from fastws.protocol.websocket.frames import Opcode
from fastws.protocol.websocket.machine import Machine
from fastws.protocol.websocket.states import CLOSED

__all__ = ["ConnectionCore"]

PING = int(Opcode.PING)


class ConnectionCore(Polled):
    """The fields that all parts share, and the verbs that a WebSocket calls."""

    __slots__ = (
        "_lost",
        "forwarded_for",
        "host",
        "loop_state",
        "machine",
        "opened_at",
        "outbox",
        "phase",
        "received_bytes",
        "received_messages",
        "timeouts",
        "transport",
    )

    #: Both are there from ``connection_made`` on.
    transport: Any
    outbox: Outbox

    # Not an __init__ of each part: five calls by super() are 4 % of the instructions of a handshake.
    def _init_core(self, loop_state: LoopState, machine: Machine, host: Any, timeouts: Timeouts) -> None:
        self.tick = 0
        self.loop_state = loop_state
        self.machine = machine
        self.host = host
        self.timeouts = timeouts
        #: Takes the bytes until the WebSocket is open: a ``Phase``, or None.
        self.phase: Any = None
        #: The peer's address as a trusted proxy says.
        self.forwarded_for: Any = None
        self.received_messages = 0
        self.received_bytes = 0
        #: When the WebSocket was opened, on ``loop_state.clock``.
        self.opened_at = 0.0
        self._lost: asyncio.Future[None] | None = None

    @property
    def peer(self) -> Any:
        """The peer's address, as a trusted proxy says or as the transport knows."""
        return self.forwarded_for or unmapped(self.transport.get_extra_info("peername"))

    def is_tls(self) -> bool:
        # A socket that is written to directly is plain TCP: no need to ask its transport.
        return self.outbox.fd < 0 and self.transport.get_extra_info("ssl_object") is not None

    def send_ping(self, payload: bytes) -> None:
        """Send a PING, ahead of what waits for a slow socket (RFC 6455, section 5.5.2)."""
        self.outbox.push_urgent(PING, self.machine.ping(payload))

    async def wait_lost(self) -> None:
        """Wait for the end of TCP. Any number of coroutines may wait; cancelling one ends only its wait."""
        if self.machine.state is CLOSED:
            return
        if self._lost is None:
            self._lost = self.loop_state.create_future()
        await asyncio.shield(self._lost)

    def when_lost(self, callback: Callable[[object], object]) -> None:
        """Call ``callback`` when TCP has ended, after those who :meth:`wait_lost` already have gone on."""
        if self._lost is None:
            self._lost = self.loop_state.create_future()
        asyncio.shield(self._lost).add_done_callback(callback)

    # -- what later parts do --------------------------------------------------------------------

    def deliver(self, events: list[Any]) -> None:
        """Hand the events of one read to the handler."""

    def _cut_slow_peer(self) -> None:
        """End TCP at once: the peer has taken nothing within the write limit."""

    def pause_user(self) -> None:
        """Read no more: the application asked for it."""

    def resume_user(self) -> None:
        """End what :meth:`pause_user` began."""

    def pause_inbox(self) -> None:
        """Read no more: the inbox of a coroutine is full."""

    def resume_inbox(self) -> None:
        """End what :meth:`pause_inbox` began."""

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Begin to close; what was accepted before goes out first. Does nothing when closing."""
