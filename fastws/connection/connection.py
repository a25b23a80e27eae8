# cython: annotation_typing=False
"""The one asyncio Protocol: what the transport and the poller call, from the first byte to the end of TCP.

The transport hands bytes to :meth:`Connection.buffer_updated`; the machine turns one read into all of its
events; each message goes to the handler, and what the protocol owes to the outbox (``delivery``); at the end
of the loop's turn one write takes everything the handler sent. Until the WebSocket is open, bytes go to a
*phase* (the server's HTTP, the client's handshake), which is dropped then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from fastws.config import Limits, Timeouts
from fastws.connection.congestion import SLOW
from fastws.connection.delivery import Delivery
from fastws.connection.handlers import Callbacks, Handler
from fastws.connection.outbox import Outbox
from fastws.connection.pausing import PAUSE_PEER
from fastws.connection.websocket import WebSocket
from fastws.loop.native import direct_descriptor
from fastws.loop.state import READ_BUFFER_BYTES, LoopState
from fastws.protocol.http.messages import Request, Response
from fastws.protocol.websocket.machine import Machine
from fastws.protocol.websocket.states import OPEN

if TYPE_CHECKING:
    from contextvars import Context

    from fastws.connection._counters import Counters
    from fastws.connection.publication import Publication

__all__ = ["Connection", "ConnectionHost", "Phase"]

#: After a read of so many bytes the connection looks whether a large message is under way.
LARGE_READ_BYTES = 64 * 1024

#: A read of so many bytes has filled the buffer: libuv would read on, up to 32 times, before it looks at
#: another socket.
FULL_READ_BYTES = READ_BUFFER_BYTES

#: Those of a WebSocket whose ``on_open`` has failed.
NO_CALLBACKS = Callbacks(Handler())

#: The protocol of a transport that has ended.
NO_PROTOCOL = asyncio.BufferedProtocol()


class Phase(Protocol):
    """What takes the bytes before the WebSocket is open."""

    def received(self, data: bytes | memoryview) -> None: ...
    def eof_received(self) -> bool: ...
    def timed_out(self) -> None: ...
    def drained(self) -> None: ...
    def lost(self, exc: Exception | None) -> None: ...


class ConnectionHost(Protocol):
    """What keeps a connection: a server, or a client's ``connect()``."""

    limits: Limits
    #: How much longer a pong may take that is overdue: ``PONG_GRACE_SECONDS``, unless a host knows better.
    pong_grace_seconds: float

    def connection_open(self, connection: Connection) -> None: ...
    def callback_context(self) -> Context: ...
    def websocket_closed(self, connection: Connection) -> None: ...
    def connection_lost(self, connection: Connection) -> None: ...

    #: Its peer is to have new values: have the kernel hold little that is old.
    def keep_fresh(self, connection: Connection) -> None: ...

    #: No pong has come in that time either: end the connection by ``cut_silent_peer``, or in another way.
    def pong_missed(self, connection: Connection) -> None: ...


class Connection(Delivery):
    """One TCP connection from accept (or connect) to its end.

    An ``asyncio.BufferedProtocol`` by its methods, not by inheritance: the base of a compiled class is a
    compiled one. uvloop looks for the methods; plain asyncio asks for the class, and calls ``data_received``.
    """

    __slots__ = ()

    def __init__(
        self, loop_state: LoopState, machine: Machine, host: ConnectionHost, timeouts: Timeouts
    ) -> None:
        self._init_core(loop_state, machine, host, timeouts)
        self._init_pausing()
        self._init_lifetime()
        self._init_closing()
        self._init_delivery()

    # -- the begin ------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        descriptor = direct_descriptor(transport) if self.loop_state.uses_sockets else -1
        self.outbox = Outbox(self, transport, self.loop_state.turn, descriptor, self.host.limits)
        # With this mark pause_writing means: the socket has refused bytes. Plain transports pause
        # above it, those of TLS at it: with 0 they would be paused for ever.
        # A TLS transport that still holds a session ticket calls pause_writing right here.
        transport.set_write_buffer_limits(high=1 if self.is_tls() else 0)
        if not self.loop_state.reads_into_buffer and hasattr(transport, "max_size"):
            transport.max_size = READ_BUFFER_BYTES  # asyncio's own: what one read may give the engine to do
        self.host.connection_open(self)

    def open(
        self,
        callbacks: Callbacks,
        limits: Limits,
        timeouts: Timeouts,
        request: Request | None,
        response: Response | None,
        subprotocol: str | None,
        counters: Counters,
    ) -> WebSocket:
        """The handshake is done: make the WebSocket, call ``on_open``, deliver early frames.

        What goes through it counts in ``counters``.
        """
        self.phase = None
        self.callbacks = callbacks
        self.on_message = callbacks.on_message
        self.timeouts = timeouts
        outbox = self.outbox
        outbox.limits = limits
        outbox.frame_variant = self.machine.frame_variant
        outbox.count_from_here(counters)
        self.received_bytes = self.machine.early_bytes
        outbox.counters.row.bytes_received += self.received_bytes
        self.opened_at = self.loop_state.clock()
        self._set_open_deadlines()
        ws = WebSocket(self, outbox, request, response, subprotocol)
        self.ws = ws
        began = outbox.begin_batch()
        try:
            if callbacks.on_open is not None and not self._call(callbacks.on_open, ws):
                # What on_open was to prepare is not there: the handler hears no more of this WebSocket.
                self.callbacks = NO_CALLBACKS
                self.on_message = NO_CALLBACKS.on_message
            self.ingest(b"", 0)
        finally:
            if began:
                outbox.end_batch()
        return ws

    # -- bytes in -------------------------------------------------------------------------------

    @property
    def get_buffer(self) -> Callable[[int], memoryview]:
        """Where to read into: the loop's one buffer, whichever connection asks, or a large message's own."""
        return self.machine.get_buffer if self.machine.in_place else self.loop_state.get_buffer

    def buffer_updated(self, nbytes: int) -> None:
        machine = self.machine
        if machine.in_place:
            self.ingest(None, nbytes)
        elif self.phase is not None:
            self.phase.received(self.loop_state.read_buffer.view[:nbytes])
        else:
            self.ingest(self.loop_state.read_buffer.view, nbytes)
        if (nbytes >= LARGE_READ_BYTES or machine.in_place) and self.outbox.fd >= 0:
            self._choose_buffer()
        self._count_read(nbytes)
        if nbytes >= FULL_READ_BYTES and machine.state is OPEN:
            self._pause_for_turn()

    def _choose_buffer(self) -> None:
        """Have the rest of a large message read to where it will stay: it is copied once less."""
        if self.machine.choose_buffer() and not self.transport.is_closing():
            self.transport.set_protocol(self)  # uvloop keeps what get_buffer was then

    @property
    def data_received(self) -> Callable[[bytes], None]:
        """How plain asyncio hands over bytes. uvloop would keep a method for nothing, 64 bytes each."""
        if self.loop_state.reads_into_buffer:
            raise AttributeError("this loop reads by get_buffer")
        return self.bytes_received

    def bytes_received(self, data: bytes) -> None:
        """Take bytes by hand, on any loop: a server that hosts us may have read them."""
        if self.phase is not None:
            self.phase.received(data)
        else:
            self.ingest(data, len(data))
        self._count_read(len(data))

    def polled(self, data: memoryview, size: int) -> None:
        """Take what the poller has read; large messages, errors and the end of TCP are for the transport."""
        if self.outbox.fd < 0:  # the transport closes
            self._leave_poller()
            return
        if size:
            self.ingest(data, size)
        if (size == 0 or size == len(data)) and self._polled_fd >= 0:
            self._leave_poller()
            if not self.transport.is_closing():
                self.transport.resume_reading()

    # -- the end of TCP -------------------------------------------------------------------------

    def eof_received(self) -> bool:
        """The peer sends nothing more; a WebSocket without a close frame ends with 1006 (section 7.1.5)."""
        if self.phase is not None:
            keep: bool = self.phase.eof_received()
            return keep
        self.outbox.flush()
        self._leave()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.loop_state.wheel.cancel(self)
        self._leave_poller()
        self._leave()
        self.outbox.discard()
        self.machine.receive_eof()
        if self.phase is not None:
            self.phase.lost(exc)
            self.phase = None
        self._held_events = None
        self._finish()
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)
        self.host.connection_lost(self)
        # Let go of what refers back, so that reference counting frees all of it at once.
        self.outbox.disown()
        self.ws = self.callbacks = self.on_message = None
        if self.is_tls():
            # uvloop's transport holds on to the methods of its protocol, and has a buffer of 256 KiB.
            self.transport.set_protocol(NO_PROTOCOL)

    # -- bytes out ------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The socket has refused bytes: from now on its peer has to take some within the write limit."""
        self.outbox.pause()
        self._watch_progress()

    def resume_writing(self) -> None:
        """The socket has taken all that it refused."""
        self._stall_at = 0.0
        if self.loop_state.reads_into_buffer:
            self.outbox.resume()
        else:
            # Soon: asyncio calls connection_lost twice on a transport that is closed, or whose write
            # fails, while it tells of this.
            self.loop_state.call_soon(self._resume_writing)

    def _resume_writing(self) -> None:
        if not self.transport.is_closing() and not self.transport.get_write_buffer_size():
            self.outbox.resume()

    # -- what the outbox asks -------------------------------------------------------------------

    def slow(self) -> None:
        """Read nothing more from a peer that does not read what we owe it.

        But read on for a client's coroutine, whose inbox is a bound of its own: an echoing server that does
        the same would wait for the client while the client waits for it, for ever.
        """
        if self.machine.state is OPEN and not (self.machine.is_client and self.ws.has_inbox()):
            self.pause(PAUSE_PEER)

    def keep_fresh(self) -> None:
        """Have the kernel hold little that was not sent yet."""
        self.host.keep_fresh(self)

    def encode_publication(self, publication: Publication) -> bytes:
        """Return the frame of a published message that only this peer can read."""
        return self.machine.encode(publication.message, None if publication.channel.deflate else False)

    def drained(self) -> None:
        """The socket has taken bytes again, or the end of a fragmented message has let others leave."""
        if self.phase is not None:
            self.phase.drained()
            if self._is_lingering():  # behind the last response
                self._end_soon()
            return
        if self.ws is None:  # before the first phase, or after the end
            return
        if self.outbox.flow != SLOW:
            self.resume(PAUSE_PEER)
        self.ws.drained()
        if self.machine.state is not OPEN:
            self._end_soon()
        elif not self.outbox.blocked and not self.outbox.queued and self.callbacks.on_writable is not None:
            self._call(self.callbacks.on_writable, self.ws)
