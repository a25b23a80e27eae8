# cython: annotation_typing=False
"""The one asyncio Protocol: a message's way, readable top to bottom.

The transport hands bytes to :meth:`Connection.buffer_updated`; the machine turns one read into all
of its events; each message goes to the handler and each duty of the protocol to the outbox; at the
end of the loop's turn one write takes everything the handler said. Until the WebSocket is open, bytes go
to a *phase* (the server's HTTP, the client's handshake), which is dropped then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import IntFlag
from typing import TYPE_CHECKING, Any, Protocol

from fastws.config import Limits, Timeouts
from fastws.connection.outbox import Outbox
from fastws.connection.websocket import WebSocket
from fastws.loop.native import SLOTS, direct_descriptor, receive_many
from fastws.loop.state import BUFFER_SIZE
from fastws.loop.timers import Timed
from fastws.protocol.http.addresses import unmapped
from fastws.protocol.websocket.events import Close, Fail, Fragment, More, Ping, Pong
from fastws.protocol.websocket.frames import CloseCode, Opcode
from fastws.protocol.websocket.machine import Machine
from fastws.protocol.websocket.states import CLOSED, DRAINING, OPEN

if TYPE_CHECKING:
    from contextvars import Context

    from fastws.connection.handlers import Callbacks
    from fastws.connection.publication import Publication
    from fastws.loop.state import LoopState
    from fastws.protocol.http.messages import Request, Response

__all__ = ["Connection", "Phase"]

log = logging.getLogger("fastws.error")

PING = int(Opcode.PING)
PONG = int(Opcode.PONG)

#: Events of one connection that one turn of the loop delivers before the others have theirs.
TURN_EVENTS = 1024

#: From a read of so many bytes on it is asked whether a large message is under way.
LARGE_READ = 64 * 1024

#: A read of fewer bytes fits in the poller's part of the buffer; who has had so many of them in a row
#: talks often.
SMALL_READ = BUFFER_SIZE // SLOTS
OFTEN = 8

#: A read of so many bytes has filled the buffer: libuv would read on, up to 32 times, before it looks
#: at another socket.
FLOOD = BUFFER_SIZE

#: After a pong is overdue the peer has this many seconds more: the pong may lie in the socket
#: while the process was stopped, for timers fire before reads when it goes on.
GRACE = 1.0

#: The protocol of a transport that has ended.
_NOBODY = asyncio.BufferedProtocol()


class PauseReason(IntFlag):
    """Why nothing is read at the moment."""

    USER = 1  #: the application asked for it
    INBOX = 2  #: the inbox of a coroutine is full
    PEER = 4  #: the peer does not read what we owe it
    TURN = 8  #: others have their turn first


PAUSE_USER, PAUSE_INBOX, PAUSE_PEER, PAUSE_TURN = map(int, PauseReason)


class Phase(Protocol):
    """What comes before the WebSocket is open."""

    def received(self, data: bytes | memoryview) -> None: ...
    def eof_received(self) -> bool: ...
    def timed_out(self) -> None: ...
    def drained(self) -> None: ...
    def lost(self, exc: Exception | None) -> None: ...


class ConnectionHost(Protocol):
    """Who keeps a connection: a server, or a client's connect()."""

    limits: Limits

    def connection_open(self, connection: Connection) -> None: ...
    def callback_context(self) -> Context: ...
    def websocket_closed(self, connection: Connection) -> None: ...
    def connection_lost(self, connection: Connection) -> None: ...


class Connection(Timed):
    """One TCP connection from accept (or connect) to its end.

    An ``asyncio.BufferedProtocol`` by its methods, not by inheritance: the base of a compiled class is
    a compiled one. uvloop goes by the methods; plain asyncio goes by the class and calls
    ``data_received``.
    """

    __slots__ = (
        "_close_at",
        "_finished",
        "_graced",
        "_held",
        "_holds",
        "_lingering",
        "_lost",
        "_ping",
        "_ping_at",
        "_polled_fd",
        "_pong_by",
        "_small_reads",
        "_stall_at",
        "_stall_mark",
        "callbacks",
        "evicted",
        "forwarded_for",
        "loop_state",
        "machine",
        "on_message",
        "opened_at",
        "outbox",
        "owner",
        "phase",
        "received_bytes",
        "received_messages",
        "timeouts",
        "transport",
        "ws",
    )

    transport: Any
    outbox: Outbox

    def __init__(
        self, loop_state: LoopState, machine: Machine, owner: ConnectionHost, timeouts: Timeouts
    ) -> None:
        self.loop_state = loop_state
        self.machine = machine
        self.owner = owner
        self.timeouts = timeouts
        self.phase: Any = None
        self.callbacks: Any = None
        self.on_message: Any = None
        self.ws: Any = None
        self.forwarded_for: Any = None
        self.received_messages = 0
        self.received_bytes = 0
        self.opened_at = 0.0
        self.tick = 0
        self._holds = 0
        #: Reads since the last large one; while the poller reads, from which descriptor.
        self._small_reads = 0
        self._polled_fd = -1
        self._held: list[Any] | None = None
        self._finished = False
        self._lingering = False
        self.evicted = False
        self._lost: asyncio.Future[None] | None = None
        # Due times on the loop's clock; 0.0 is never.
        self._close_at = 0.0
        self._ping_at = 0.0
        self._pong_by = 0.0
        self._graced = False
        #: The payload of the keep-alive's ping that is under way, and when it left.
        self._ping: tuple[bytes, float] | None = None
        self._stall_at = 0.0
        self._stall_mark = -1

    # -- what the transport tells ---------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        descriptor = direct_descriptor(transport)
        self.outbox = Outbox(self, transport, self.loop_state.turn, descriptor, self.owner.limits)
        # With this mark pause_writing means: the socket has refused bytes. Plain transports pause
        # above it, those of TLS at it: with 0 they would be paused for ever.
        # A TLS transport that still holds a session ticket calls pause_writing right here.
        transport.set_write_buffer_limits(high=1 if self.is_tls() else 0)
        if not self.loop_state.reads_into_buffer and hasattr(transport, "max_size"):
            transport.max_size = BUFFER_SIZE  # asyncio's own: what one read may give the engine to do
        self.owner.connection_open(self)

    def is_tls(self) -> bool:
        # What is written to directly is plain TCP, and need not be asked.
        return self.outbox.fd < 0 and self.transport.get_extra_info("ssl_object") is not None

    @property
    def get_buffer(self) -> Callable[[int], memoryview]:
        """Where to read into: the loop's one buffer, whichever connection asks, or a large message's own."""
        return self.machine.get_buffer if self.machine.in_place else self.loop_state.get_buffer

    def buffer_updated(self, nbytes: int) -> None:
        machine = self.machine
        if machine.in_place:
            self._take(machine.received(nbytes), nbytes)
        else:
            self._received(self.loop_state.read_buffer.view, nbytes)
        if (nbytes >= LARGE_READ or machine.in_place) and self.outbox.fd >= 0:
            self._choose_buffer()
        self._count_read(nbytes)
        if nbytes >= FLOOD and machine.state is OPEN:
            self._yield_turn()

    def _count_read(self, size: int) -> None:
        """Have the poller read, who talks often: a small read costs less there."""
        if size >= SMALL_READ or self.outbox.fd < 0 or receive_many is None:
            self._small_reads = 0
            return
        self._small_reads += 1
        if self._small_reads >= OFTEN:
            self._small_reads = 0
            if self.machine.state is OPEN and not self._holds and not self.transport.is_closing():
                self._enter_poller()

    def _enter_poller(self) -> None:
        poller = self.loop_state.the_poller()
        sock = self.transport.get_extra_info("socket")
        self.transport.pause_reading()
        if poller.add(self, sock, self.owner.callback_context()):
            self._polled_fd = self.outbox.fd
        else:
            self.transport.resume_reading()

    def _leave_poller(self) -> None:
        if self._polled_fd >= 0:
            self.loop_state.poller.remove(self, self._polled_fd)
            self._polled_fd = -1

    def polled(self, data: memoryview, size: int) -> None:
        """Take what the poller has read; the end, an error and all but small messages are the transport's."""
        if self.outbox.fd < 0:  # the transport closes
            self._leave_poller()
            return
        if size:
            self._take(self.machine.receive(data, size), size)
        if (size == 0 or size == len(data)) and self._polled_fd >= 0:
            self._leave_poller()
            if not self.transport.is_closing():
                self.transport.resume_reading()

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
        self._received(data, len(data))
        self._count_read(len(data))

    def _received(self, data: bytes | memoryview, size: int) -> None:
        if self.phase is not None:
            self.phase.received(data[:size])
            return
        self._take(self.machine.receive(data, size), size)

    def _take(self, events: list[Any], size: int) -> None:
        self.received_bytes += size
        if self._held is not None:
            self._held.extend(events)
        elif events:
            self.deliver(events)

    def eof_received(self) -> bool:
        """The peer sends nothing more; a WebSocket without a close frame ends with 1006."""
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
        self._held = None
        self._finish()
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)
        self.owner.connection_lost(self)
        # Let go of what refers back, so that reference counting frees all of it at once.
        self.outbox.disown()
        self.ws = self.callbacks = self.on_message = None
        if self.is_tls():
            # uvloop's transport holds on to the methods of its protocol, and has a buffer of 256 KiB.
            self.transport.set_protocol(_NOBODY)

    def pause_writing(self) -> None:
        """The socket has refused bytes: nothing more is read from who does not read what we owe it.

        But for a client's coroutine, whose inbox is a bound of its own: an echoing server that does the
        same would wait for it as it does for the server, for ever.
        """
        self.outbox.pause()
        if self.machine.state is OPEN and not (self.machine.is_client and self.ws.has_inbox()):
            self._hold(PAUSE_PEER)
        write = self.timeouts.write
        if write is not None and not self._stall_at:
            now = self.loop_state.wheel.time()
            self._stall_at = now + write
            self._stall_mark = self.transport.get_write_buffer_size()
            self.loop_state.wheel.sooner(self, now + min(write / 4, 1.0))

    def resume_writing(self) -> None:
        """The socket has taken all that it refused."""
        self._stall_at = 0.0
        if self.loop_state.reads_into_buffer:
            self.outbox.resume()
        else:
            # Soon: asyncio calls connection_lost twice on a transport that is closed, or whose write
            # fails, while it tells of this.
            self.loop_state.call_soon(self._resume)

    def _resume(self) -> None:
        if not self.transport.is_closing() and not self.transport.get_write_buffer_size():
            self.outbox.resume()

    @property
    def peer(self) -> Any:
        """The peer's address, as a trusted proxy says or as the transport knows."""
        return self.forwarded_for or unmapped(self.transport.get_extra_info("peername"))

    # -- messages in ----------------------------------------------------------------------------

    def open(
        self,
        callbacks: Callbacks,
        limits: Limits,
        timeouts: Timeouts,
        request: Request | None,
        response: Response | None,
        subprotocol: str | None,
    ) -> WebSocket:
        """The handshake is done: make the WebSocket, call ``on_open``, deliver early frames."""
        self.phase = None
        self.callbacks = callbacks
        self.on_message = callbacks.on_message
        self.timeouts = timeouts
        outbox = self.outbox
        outbox.limits = limits
        outbox.frame_variant = self.machine.frame_variant
        outbox.count_from_here()
        self.received_bytes = self.machine.early_bytes
        self.opened_at = self.loop_state.clock()
        now = self.loop_state.wheel.time()
        self._close_at = 0.0
        if timeouts.ping_interval is not None:
            self._ping_at = now + timeouts.ping_interval
        due = self._next_due(now)
        if not due:
            self.loop_state.wheel.cancel(self)
        else:
            # Not moved where it is due earlier, for the handshake: it costs less to find nothing due then.
            self.loop_state.wheel.sooner(self, due)
        ws = self.ws = WebSocket(self, outbox, request, response, subprotocol)
        began = outbox.begin_batch()
        try:
            if callbacks.on_open is not None:
                self._call(callbacks.on_open, ws)
            events = self.machine.receive(b"")
            if events:
                self.deliver(events)
        finally:
            if began:
                outbox.end_batch()
        return ws

    def deliver(self, events: list[Any]) -> None:
        """Hand the events of one read to the handler, and what it said to the turn, for one write."""
        outbox = self.outbox
        ws = self.ws
        machine = self.machine
        on_message = self.on_message
        began = outbox.begin_batch()
        most = TURN_EVENTS  # an integer of C where this is compiled, as the index is
        try:
            for index, event in enumerate(events):
                if self._holds or index == most:
                    self._hold_back(events[index:])
                    break
                if type(event) is not str and type(event) is not bytes:
                    self._control(event)
                elif machine.state is OPEN:
                    self.received_messages += 1
                    try:
                        on_message(ws, event)
                    except Exception:
                        self._handler_failed("on_message")
        finally:
            if began:
                outbox.answer()

    def _hold_back(self, events: list[Any]) -> None:
        self._held = events
        if not self._holds:
            self._yield_turn()

    def _yield_turn(self) -> None:
        """Let other connections have their turn of the loop before more of this one."""
        if not self._holds & PAUSE_TURN:
            self._hold(PAUSE_TURN)
            self.loop_state.call_soon(self._release, PAUSE_TURN)

    def _hold(self, reason: int) -> None:
        if self._polled_fd >= 0:
            self._leave_poller()  # its transport is paused
        elif not self._holds and not self.transport.is_closing():
            self.transport.pause_reading()
        self._holds |= reason

    def _release(self, reason: int) -> None:
        """Take one reason away; deliver what was held back and read again when none is left."""
        if not self._holds & reason:
            return
        self._holds &= ~reason
        while self._held is not None and not self._holds:
            held, self._held = self._held, None
            self.deliver(held)
        if not self._holds and not self.transport.is_closing():
            self.transport.resume_reading()

    def hold_input(self) -> None:
        """Read nothing more for now; for the phase."""
        self._hold(PAUSE_PEER)

    def release_input(self) -> None:
        self._release(PAUSE_PEER)

    def pause_user(self) -> None:
        self._hold(PAUSE_USER)

    def resume_user(self) -> None:
        self._release(PAUSE_USER)

    def pause_inbox(self) -> None:
        self._hold(PAUSE_INBOX)

    def resume_inbox(self) -> None:
        self._release(PAUSE_INBOX)

    def _control(self, event: Any) -> None:
        """Do what the protocol owes for a control frame, and note the end."""
        kind = type(event)
        if kind is Ping:
            frame = self.machine.answer(event)
            if frame is not None:
                self.outbox.push_urgent(PONG, frame)
        elif kind is Pong:
            self._pong(event.payload)
        elif kind is Close or kind is Fail:
            frame = self.machine.answer(event)
            self.outbox.flush()  # so that it counts as sent when the end is told
            if frame is not None:
                self.outbox.push_last(frame, discard=kind is Fail)
            self._lingering = kind is Fail
            self._leave()
            self._drain_soon()
        elif kind is Fragment:
            self._part(event)
        elif kind is More:
            self._hold(PAUSE_TURN)
            self.loop_state.call_soon(self._read_more)

    def _part(self, part: Fragment) -> None:
        """A part of a message, where the handler takes them."""
        if self.machine.state is not OPEN:
            return
        if part.final:
            self.received_messages += 1
        try:
            self.on_message(self.ws, part)
        except Exception:
            self._handler_failed("on_message")

    def _read_more(self) -> None:
        """Take the events of what the reader left for a later turn."""
        self._hold(PAUSE_TURN)
        events = self.machine.receive(b"", 0)
        if self._held is not None:
            self._held.extend(events)
        elif events:
            self._held = events
        self._release(PAUSE_TURN)

    # -- the end --------------------------------------------------------------------------------

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Begin to close; what was accepted before goes out first. Does nothing when closing."""
        frame = self.machine.close(code, reason)
        if frame is None:
            return
        self.outbox.push_last(frame)
        self._leave()
        self.ws.drained()
        self._await_end()
        if self._holds:
            # Nobody takes messages any more; the peer's close frame must not wait behind them.
            self.loop_state.call_soon(self._release, PAUSE_USER | PAUSE_INBOX | PAUSE_PEER | PAUSE_TURN)

    def evict(self, reason: str) -> None:
        """Close a peer that is too slow: what waits for it is thrown away (1008)."""
        frame = self.machine.close(CloseCode.POLICY_VIOLATION, reason)
        if frame is None:
            return
        self.outbox.push_last(frame, discard=True)
        self._lingering = True
        self.evicted = True
        self._leave()
        # Soon, not now: this may be in the middle of a fan-out, where on_close must not publish.
        self.loop_state.call_soon(self._evicted)

    def _evicted(self) -> None:
        self._finish()
        self._end_if_drained()

    def _leave(self) -> None:
        """The close begins: take no part in broadcasts any more."""
        outbox = self.outbox
        outbox.is_open = False
        outbox.leave_topics()

    def _await_end(self) -> None:
        """Give the peer ``timeouts.close`` seconds to do its part of the close."""
        if self.timeouts.close is not None and not self._close_at and self.machine.state is not CLOSED:
            self._close_at = self.loop_state.wheel.time() + self.timeouts.close
            self.loop_state.wheel.sooner(self, self._close_at)

    def _drain_soon(self) -> None:
        """Nothing more is parsed: end TCP as soon as what is owed has gone out."""
        self._finish()
        self.loop_state.call_soon(self._end_if_drained)

    def _end_if_drained(self) -> None:
        """End TCP once everything that is owed has left, at the latest when the time for a close is over."""
        outbox = self.outbox
        if self.machine.state is not DRAINING and not self._lingering:
            return
        if not self.transport.is_closing():
            outbox.flush()
            if not outbox.blocked and not outbox.queued and self._end_tcp():
                return
        self._await_end()

    def _end_tcp(self) -> bool:
        """Do our part of the end of TCP; True when that is all of it."""
        if self._lingering and self.transport.can_write_eof():
            # The peer may still be sending: with unread bytes in the socket a close would be a
            # reset, which takes our close frame with it. End our side, discard theirs.
            self._read_to_end()
            return False
        if self.machine.state is not DRAINING or (self.machine.is_client and not self._lingering):
            # The server is the one to end TCP (RFC 6455, section 7.1.1); a client waits for that.
            return False
        # A plain socket with nothing left to write is closed at once; TLS says goodbye before.
        plain = self.outbox.fd >= 0
        self.outbox.fd = -1
        self.transport.close()
        return plain

    def _read_to_end(self) -> None:
        self.outbox.fd = -1
        self._held = None
        if self._holds or self._polled_fd >= 0:
            self._leave_poller()
            self._holds = 0
            self.transport.resume_reading()
        try:
            self.transport.write_eof()
        except OSError:  # asyncio's, when the peer has reset the connection already
            self.transport.abort()

    def abort(self) -> None:
        """End TCP at once."""
        self._leave()
        self.outbox.discard()
        self.transport.abort()

    def linger(self) -> None:
        """End TCP after what was written, in the HTTP phase; the peer may still be sending."""
        self._lingering = True
        self.loop_state.call_soon(self._end_if_drained)

    def _finish(self) -> None:
        """The WebSocket is over: tell the handler, once, and whoever waits."""
        if self._finished or self.ws is None:
            return
        self._finished = True
        self._ping_at = self._pong_by = 0.0
        self.ws.ended()
        machine = self.machine
        self.owner.websocket_closed(self)
        on_close = self.callbacks.on_close
        if on_close is None:
            return
        try:
            on_close(self.ws, machine.close_code, machine.close_reason)
        except Exception:
            log.exception("on_close of %r failed", self.ws)

    def _handler_failed(self, name: str) -> None:
        log.exception("%s of %r failed", name, self.ws)
        self.close(CloseCode.INTERNAL_ERROR, "internal error")

    def _call(self, callback: Any, *args: Any) -> None:
        try:
            callback(*args)
        except Exception:
            self._handler_failed(callback.__name__)

    async def wait_lost(self) -> None:
        """Wait for the end of TCP."""
        if self.machine.state is CLOSED:
            return
        if self._lost is None:
            self._lost = self.loop_state.create_future()
        await asyncio.shield(self._lost)

    # -- what the outbox asks -------------------------------------------------------------------

    def encode_publication(self, publication: Publication) -> bytes:
        """Return the frame of a published message that only this peer can read."""
        return self.machine.encode(publication.message)

    def drained(self) -> None:
        """The socket has taken bytes again."""
        if self.phase is not None:
            self.phase.drained()
            if self._lingering:
                self.loop_state.call_soon(self._end_if_drained)
            return
        if self.ws is None:  # before the first phase, or after the end
            return
        if not self.outbox.blocked:
            self._release(PAUSE_PEER)
        self.ws.drained()
        if self.machine.state is not OPEN:
            self.loop_state.call_soon(self._end_if_drained)
        elif not self.outbox.blocked and self.callbacks.on_writable is not None:
            self._call(self.callbacks.on_writable, self.ws)

    # -- time -----------------------------------------------------------------------------------

    def send_ping(self, payload: bytes) -> None:
        self.outbox.push_urgent(PING, self.machine.ping(payload))

    def _pong(self, payload: bytes) -> None:
        now = self.loop_state.clock()
        ping = self._ping
        if ping is not None and payload == ping[0]:
            sent = ping[1]
            self.ws.latency = now - sent
            self.ws.pongs_before(sent, now)
        else:
            sent = self.ws.pong_received(payload, now)
        # A peer may answer only the newest of several pings (RFC 6455, section 5.5.3).
        if ping is not None and sent >= ping[1]:
            self._ping = None
            self._pong_by = 0.0
            self._graced = False

    def set_deadline(self, when: float) -> None:
        """Let the phase be told by ``timed_out`` when it has not ended until then."""
        self._close_at = when
        self.loop_state.wheel.sooner(self, when)

    def clear_deadline(self) -> None:
        self._close_at = 0.0

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
        if self._stall_at and not self._progress(now):
            log.warning("%r took nothing for %g s: aborted", self.peer, self.timeouts.write)
            self.evicted = True
            self.abort()
            return None
        if self.machine.state is OPEN and not self._keep_alive(now):
            return None
        return self._next_due(now) or None

    def _progress(self, now: float) -> bool:
        """False when a socket that refused bytes has taken none within the write limit."""
        write = self.timeouts.write
        assert write is not None
        held = self.transport.get_write_buffer_size()
        if held < self._stall_mark:
            self._stall_at = now + write
        self._stall_mark = held
        return now < self._stall_at

    def _keep_alive(self, now: float) -> bool:
        timeouts = self.timeouts
        if self._pong_by and now >= self._pong_by:
            if self._holds or not self._graced:
                # While we do not read, a pong cannot arrive; nor in the moment when we begin again.
                self._graced = not self._holds
                self._pong_by = now + GRACE
            else:
                self.machine.close_reason = "ping timeout"
                self.machine.closed_by_peer = False
                self.abort()
                return False
        if self._ping_at and now >= self._ping_at:
            assert timeouts.ping_interval is not None
            self._ping_at = now + timeouts.ping_interval
            if not self._pong_by:
                payload = self.loop_state.mask()
                if timeouts.ping_timeout is not None:
                    self._pong_by = now + timeouts.ping_timeout
                self._ping = (payload, self.loop_state.clock())
                self.send_ping(payload)
        return True

    def _next_due(self, now: float) -> float:
        due = self._close_at
        if self._ping_at and (not due or self._ping_at < due):
            due = self._ping_at
        if self._pong_by and (not due or self._pong_by < due):
            due = self._pong_by
        if self._stall_at:
            stall = min(self._stall_at, now + 1.0)
            if not due or stall < due:
                due = stall
        return due
