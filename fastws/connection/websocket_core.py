# cython: annotation_typing=False
"""The inner half of a WebSocket: its fields, what its connection tells it, and how it pushes a message.

The public half, which documents what an application may call, is ``websocket``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from fastws.connection.core import ConnectionCore
from fastws.connection.flow import SendStatus
from fastws.connection.inbox import Inbox
from fastws.connection.opening import Opening
from fastws.connection.outbox import CLOSED, Outbox
from fastws.connection.pings import Pings
from fastws.connection.stream_inbox import StreamInbox
from fastws.connection.user_state import State
from fastws.errors import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from fastws.loop.native import is_item
from fastws.protocol.http.messages import Request, Response

__all__ = ["Message", "WebSocketCore", "exact_message"]

#: Close codes of an intended end; every other one raises ``ConnectionClosedError``.
INTENDED_CLOSE_CODES = (1000, 1001, 1005)

#: ``send`` waits while more than this many bytes wait for a slow socket.
HIGH_WATER_BYTES = 64 * 1024

#: A client's message of this size is masked on its way to the socket: no frame is made of it before.
MASK_LATER_BYTES = 64 * 1024

Message = str | bytes | bytearray | memoryview
#: Whether to compress a message; None leaves it to the threshold.
Compress = bool | None


class FragmentLock(asyncio.Lock):
    """Held by the one task that sends fragments."""

    sender: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> None:
        await self.acquire()
        self.sender = asyncio.current_task()

    async def __aexit__(self, *exc: object) -> None:
        self.sender = None
        self.release()


class WebSocketCore:
    """What the connection, the handlers and the sending of fragments use of a WebSocket."""

    __slots__ = (
        "__weakref__",
        "_connection",
        "_drained",
        "_fragment_lock",
        "_handshake",
        "_inbox",
        "_pings",
        "_state",
        "latency",
        "outbox",
        "subprotocol",
    )

    def __init__(
        self,
        connection: ConnectionCore,
        outbox: Outbox,
        request: Request | None,
        response: Response | None,
        subprotocol: str | None,
    ) -> None:
        self._connection = connection
        #: What waits to be written; for :class:`fastws.Hub`.
        self.outbox = outbox
        self._handshake = request if request is not None else response
        #: What the handshake agreed on; None for nothing.
        self.subprotocol = subprotocol
        #: Seconds of the last measured round trip of a ping; None before the first pong.
        self.latency: float | None = None
        self._inbox: Any = None
        self._state: State | None = None
        #: The senders that wait until the socket has taken bytes.
        self._drained: list[asyncio.Future[None]] | None = None
        self._pings: Pings | None = None
        self._fragment_lock: FragmentLock | None = None

    def tell_gap(self, topic: str, missed: int | None, reason: str) -> bool:
        """Tell the handler that messages of a topic do not come; False when it does not want to know."""
        return self._tell("on_gap", topic, missed, reason)

    def tell_sync(self, synced: object) -> bool:
        """Tell the handler where a subscription goes on; False when it does not want to know."""
        return self._tell("on_sync", synced)

    def tell_refused(self, topic: str) -> bool:
        """Tell a feed that a broker refuses a topic; False where the handler is none."""
        return self._tell("on_refused", topic)

    def _tell(self, name: str, *told: object) -> bool:
        connection: Any = self._connection
        callback = getattr(connection.callbacks, name, None)
        if callback is None:
            return False
        connection._call(callback, self, *told)
        return True

    # -- sending --------------------------------------------------------------------------------

    def _push_or_encode(self, message: Message, compress: Compress) -> SendStatus | bytes:
        """Give the outbox a message of which no frame is made here; or return the frame, not pushed yet.

        A frame may have to wait for a slow socket, so the caller decides whether limits hold it back.
        """
        outbox = self.outbox
        if not outbox.is_open:
            return CLOSED
        if type(message) is not str and type(message) is not bytes:
            message = exact_message(message)
        if outbox.takes_messages() and is_item(message):
            return outbox.push_message(message)
        machine = self._connection.machine
        if len(message) >= MASK_LATER_BYTES and outbox.is_direct() and is_item(message):
            key = machine.key_only(compress)
            if key is not None:
                return outbox.push_message((message, key))
        if machine.takeover and outbox.must_wait():
            compress = False
        return machine.encode(message, compress)

    async def _writable(self) -> None:
        """Wait until the queue is below its high-water mark."""
        outbox = self.outbox
        if not outbox.blocked:
            # The write at the end of this turn tells whether the socket takes it all; a coroutine
            # that sends in a loop would never come to it.
            await asyncio.sleep(0)
        while outbox.is_open and self._must_wait() and outbox.buffered_amount > HIGH_WATER_BYTES:
            await self._next_drain()

    def _must_wait(self) -> bool:
        """True while what is sent waits; but nobody waits for the end of the message that it makes itself."""
        if self.outbox.blocked or not self.outbox.fragmenting:
            return self.outbox.blocked
        lock = self._fragment_lock
        return lock is None or lock.sender is not asyncio.current_task()

    async def unblocked(self) -> None:
        """Wait until the socket takes bytes, or the WebSocket ends."""
        while self.outbox.blocked and self.outbox.is_open:
            await self._next_drain()

    async def _next_drain(self) -> None:
        """Wait until the socket has taken bytes, or the WebSocket ends."""
        waiter = self._connection.loop_state.create_future()
        if self._drained is None:
            self._drained = []
        self._drained.append(waiter)
        await waiter

    def _lock_of_fragments(self) -> FragmentLock:
        """Return the lock of those that send fragments: one message at a time (RFC 6455, section 5.4)."""
        if self._fragment_lock is None:
            self._fragment_lock = FragmentLock()
        return self._fragment_lock

    def _encode_fragment(self, opcode: int, fragment: str | bytes, *, fin: bool) -> bytes:
        """Return one frame of a fragmented message."""
        return self._connection.machine.encode_fragment(opcode, fragment, fin)

    def _cut_short(self) -> None:
        """Close: the peer has a part of a message that nobody can complete."""
        self._connection.close(1011, "message cut short")

    # -- receiving ------------------------------------------------------------------------------

    def open_inbox(self) -> Inbox:
        """Collect messages for ``recv``; for handlers that are coroutines. Return where they wait."""
        connection = self._connection
        self._inbox = inbox = Inbox(
            connection.outbox.limits.receive_queue,
            connection.pause_inbox,
            connection.resume_inbox,
            connection.loop_state.wakeups,
        )
        return inbox

    def has_inbox(self) -> bool:
        """True when messages are collected: then the inbox says how many may wait."""
        return self._inbox is not None

    def pause_until_taken(self) -> None:
        """Read no more until the messages that wait have been taken; for those yet to be inflated."""
        if type(self._inbox) is Inbox:
            self._inbox.pause_until_taken()

    def open_stream(self, max_message_size: int | None) -> None:
        """Take messages in parts from now on. Only in ``on_open``."""
        connection = self._connection
        limits = connection.outbox.limits
        connection.machine.stream(max_message_size, limits.max_empty_fragments)
        if self._inbox is not None:
            limit = max_message_size or limits.max_message_size
            self._inbox = StreamInbox(
                limit, connection.pause_inbox, connection.resume_inbox, self._message_too_big
            )

    def open_async(self, callbacks: Any, on_open: Coroutine[Any, Any, object]) -> asyncio.Task[None]:
        """Give nothing to ``callbacks`` until ``on_open`` has ended. Only in ``on_open``; return its task."""
        return Opening(self._connection, self, callbacks, on_open).start()

    def _message_too_big(self) -> None:
        self._connection.close(1009, "message too big")

    def deliver(self, message: str | bytes) -> None:
        """Put a message into the inbox that :meth:`open_inbox` has opened."""
        if type(self._inbox) is Inbox:
            inbox = self._inbox  # compiled, its class is known from here on: 200 instructions a message less
            inbox.put(message)
        else:
            self._inbox.put(message)

    # -- what the connection tells --------------------------------------------------------------

    def pong_received(self, payload: bytes, now: float) -> float:
        """Take a pong of the application's pings; return when its ping left, 0.0 for none."""
        if self._pings is None:
            return 0.0
        sent = self._pings.answered(payload, now)
        if sent:
            self.latency = now - sent
        return sent

    def pongs_before(self, sent: float, now: float) -> None:
        """A ping of the keep-alive that left at ``sent`` has been answered, and those before it with it."""
        if self._pings is not None:
            self._pings.answered_before(sent, now)

    def drained(self) -> None:
        """The socket has taken bytes again: let the senders look whether it is enough."""
        if self._drained is not None:
            waiters, self._drained = self._drained, None
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def ended(self) -> None:
        """The WebSocket is closed: wake everybody who waits."""
        self.drained()
        if self._inbox is not None:
            self._inbox.end(self.error_maker())
        if self._pings is not None:
            self._pings.fail(self.error_maker())
            self._pings = None

    def error_maker(self) -> Callable[[], ConnectionClosed]:
        """Return what makes the exception for a use after the close; it holds on to nothing of this."""
        machine = self._connection.machine
        kind = ConnectionClosedOK if machine.close_code in INTENDED_CLOSE_CODES else ConnectionClosedError
        return partial(kind, machine.close_code, machine.close_reason, by_peer=machine.closed_by_peer)


def exact_message(message: object) -> str | bytes:
    """Return a message as ``str`` or ``bytes``. Raises ``TypeError`` for other types."""
    if isinstance(message, str):
        return str(message)
    if isinstance(message, (bytes, bytearray, memoryview)):
        return bytes(message)
    raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
