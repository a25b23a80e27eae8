# cython: annotation_typing=False
"""What a user holds: one open WebSocket, in either role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from fastws import json, logs
from fastws.connection.inbox import Inbox
from fastws.connection.outbox import CLOSED, Outbox, SendStatus
from fastws.errors import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from fastws.loop.native import is_item
from fastws.protocol.http.messages import Request, Response
from fastws.protocol.websocket.frames import Opcode

if TYPE_CHECKING:
    from fastws.connection.connection import Connection

__all__ = ["WebSocket"]

#: Codes that a close as intended has; everything else raises ``ConnectionClosedError``.
INTENDED = (1000, 1001, 1005)

#: ``send`` waits while more than this many bytes wait for a slow socket.
HIGH_WATER_BYTES = 64 * 1024

#: A message of this size ends the turn of a coroutine that sends it, as many small ones do.
LARGE_MESSAGE = 16 * 1024

#: A client's message of this size is masked on its way to the socket: no frame is made of it before.
MASKED_LATER = 64 * 1024

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)
CONTINUATION = int(Opcode.CONTINUATION)

Message = str | bytes | bytearray | memoryview


class WebSocket:
    """One WebSocket. Its methods belong on its event loop, in the thread of that.

    There, concurrent senders are safe: their messages do not mix. One coroutine at a time may receive.
    ``subprotocol`` is what was agreed on, or None; ``latency`` the last round trip of a ping in seconds,
    None before the first pong (by default one leaves every 20 s); ``outbox`` is for :class:`fastws.Hub`.
    """

    __slots__ = (
        "__weakref__",
        "_connection",
        "_drained",
        "_fragments",
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
        connection: Connection,
        outbox: Outbox,
        request: Request | None,
        response: Response | None,
        subprotocol: str | None,
    ) -> None:
        self._connection = connection
        self.outbox = outbox
        self._handshake = request if request is not None else response
        self.subprotocol = subprotocol
        #: Seconds of the last measured round trip of a ping; None before the first pong.
        self.latency: float | None = None
        self._inbox: Any = None
        self._state: dict[str, Any] | None = None
        self._drained: list[asyncio.Future[None]] | None = None
        self._pings: dict[bytes, tuple[asyncio.Future[float], float]] | None = None
        self._fragments: asyncio.Lock | None = None

    def __repr__(self) -> str:
        path = logs.escape(self.request.path) if self.request is not None else "client"
        return f"<WebSocket {path} {self._connection.machine.state.name}>"

    @property
    def request(self) -> Request | None:
        """The request that opened it; None on the client's side."""
        return self._handshake if isinstance(self._handshake, Request) else None

    @property
    def response(self) -> Response | None:
        """The server's answer that opened it; None on the server's side."""
        return self._handshake if isinstance(self._handshake, Response) else None

    # -- sending --------------------------------------------------------------------------------

    def send_nowait(self, message: Message, *, compress: bool | None = None) -> SendStatus:
        """Send ``str`` as text or bytes as binary, without waiting; return the verdict.

        ``SENT``: the socket holds nothing back. ``QUEUED``: waits behind a slow socket. ``DROPPED``:
        that socket's queue is over its limit (256 messages or 1 MiB), nothing was queued.
        ``CLOSED``: nothing can be sent any more. Never raises for the peer's state.
        ``compress`` overrides the negotiated threshold. Raises ``TypeError`` for other types.
        """
        return self._push(message, compress, False)

    def _push(self, message: Message, compress: bool | None, force: bool) -> SendStatus:
        outbox = self.outbox
        if not outbox.is_open:
            return CLOSED
        if type(message) is not str and type(message) is not bytes:
            message = _exact(message)
        if outbox.takes_messages() and is_item(message):
            return outbox.push_message(message)
        machine = self._connection.machine
        if len(message) >= MASKED_LATER and outbox.is_direct() and is_item(message):
            key = machine.key_only(compress)
            if key is not None:
                return outbox.push_message((message, key))
        if machine.takeover and outbox.must_wait():
            compress = False
        frame = machine.encode(message, compress)
        return outbox.push_over_limits(frame) if force else outbox.push(frame)

    async def send(
        self,
        message: Message | Iterable[Message] | AsyncIterable[Message],
        *,
        compress: bool | None = None,
    ) -> None:
        """Send a message; wait while the peer is slow to read.

        The message is accepted first, whatever waits already: cancelled while it waits, it still
        goes. An iterable or async iterable of ``str`` or of bytes goes as the fragments of one
        message (RFC 6455, section 5.4), uncompressed; other messages wait until it is complete. Its
        place among them is that of its first fragment, which waits while the peer is slow. Raises
        ``ConnectionClosed`` after the close, ``TypeError`` for other types (a mapping among them).
        """
        # What most messages are is asked first: an abstract class takes 0.3 us to say no.
        if (
            type(message) is not str
            and type(message) is not bytes
            and not isinstance(message, (str, bytes, bytearray, memoryview))
        ):
            await self._send_fragments(message)
            return
        if self._push(message, compress, True) is CLOSED:
            raise self.closed_error()
        outbox = self.outbox
        if outbox.blocked or len(message) >= LARGE_MESSAGE or outbox.is_filling():
            await self._writable()

    async def send_json(self, value: Any) -> None:
        """``send`` of ``value`` as JSON text (orjson). Raises as :meth:`send`, and ``TypeError``
        (``orjson.JSONEncodeError``) for what is not JSON.
        """
        await self.send(json.dumps(value).decode())

    def send_json_nowait(self, value: Any) -> SendStatus:
        """``send_nowait`` of ``value`` as JSON text (orjson); return its verdict, and never wait.

        Raises ``TypeError`` (``orjson.JSONEncodeError``) for what is not JSON.
        """
        return self.send_nowait(json.dumps(value).decode())

    async def _send_fragments(self, parts: Iterable[Message] | AsyncIterable[Message]) -> None:
        if self._fragments is None:
            self._fragments = asyncio.Lock()
        async with self._fragments:
            part: Message | None = None
            opcode = TEXT
            try:
                async for following in _each(parts):
                    following = _exact(following)
                    if part is None:
                        opcode = TEXT if isinstance(following, str) else BINARY
                    else:
                        if isinstance(part, str) is not isinstance(following, str):
                            raise TypeError("the fragments of one message are all str or all bytes")
                        await self._push_fragment(opcode, part, False)
                        opcode = CONTINUATION
                    part = following
                if part is not None:
                    await self._push_fragment(opcode, part, True)
            except BaseException:
                if opcode == CONTINUATION:
                    # The peer has a part of a message that nobody can complete.
                    self.close_nowait(1011, "message cut short")
                raise
        if part is not None:
            await self._writable()

    async def _push_fragment(self, opcode: int, part: Message, fin: bool) -> None:
        """Push a fragment once all that waits for a slow socket has left: it must overtake nothing."""
        outbox = self.outbox
        while outbox.blocked and outbox.is_open:
            await self._next_drain()
        if not outbox.is_open:
            raise self.closed_error()
        frame = self._connection.machine.encode_fragment(opcode, _exact(part), fin)
        outbox.push_fragment(frame, first=opcode != CONTINUATION, fin=fin)
        # Not after the last part: cancelled here, the message would be one cut short.
        if not fin and (len(frame) >= LARGE_MESSAGE or outbox.is_filling()):
            await asyncio.sleep(0)

    async def _writable(self) -> None:
        """Wait until the queue of a slow socket is below its high-water mark."""
        outbox = self.outbox
        if not outbox.blocked:
            # The write at the end of this turn tells whether the socket takes it all; a coroutine
            # that sends in a loop would never come to it.
            await asyncio.sleep(0)
        while outbox.is_open and outbox.blocked and outbox.buffered_amount > HIGH_WATER_BYTES:
            await self._next_drain()

    async def _next_drain(self) -> None:
        waiter = self._connection.loop_state.create_future()
        if self._drained is None:
            self._drained = []
        self._drained.append(waiter)
        await waiter

    @property
    def buffered_amount(self) -> int:
        """Bytes accepted by ``send`` that the socket has not taken yet."""
        return self.outbox.buffered_amount

    # -- receiving ------------------------------------------------------------------------------

    async def recv(self) -> str | bytes:
        """Return the next message: ``str`` for text, ``bytes`` for binary.

        Cancelling loses no message. One coroutine at a time: another one gets
        ``ConcurrencyError``. Raises ``ConnectionClosedOK`` or ``ConnectionClosedError`` at the end,
        after the messages that came before it, and ``RuntimeError`` on a WebSocket whose handler
        takes callbacks.
        """
        if self._inbox is None:
            raise RuntimeError("this WebSocket's messages go to on_message; recv() has none")
        message: str | bytes = await self._inbox.get()
        return message

    def recv_streaming(self) -> AsyncIterator[str | bytes]:
        """Iterate over the parts of the next message as they arrive: all ``str`` or all ``bytes``.

        For a WebSocket made with :func:`fastws.streaming` (or ``connect(..., streaming=True)``): no
        more than 512 KiB are held here, however large the message, and reading pauses while nobody
        takes parts. Elsewhere the one part is the whole message. What is left of a message when the
        next one is asked for is thrown away. Cancelling a step loses nothing. Raises as :meth:`recv`.
        """
        if self._inbox is None:
            raise RuntimeError("this WebSocket's messages go to on_message; recv_streaming() has none")
        parts: AsyncIterator[str | bytes] = self._inbox.parts()
        return parts

    async def recv_json(self) -> Any:
        """``recv`` and parse (orjson). Raises as :meth:`recv`, and ``orjson.JSONDecodeError`` (a
        ``ValueError``) for what is not JSON, which takes that message.
        """
        return json.loads(await self.recv())

    def __aiter__(self) -> WebSocket:
        """Iterate over messages; ends at a close as intended, raises ``ConnectionClosedError`` else."""
        return self

    def __anext__(self) -> Coroutine[Any, Any, str | bytes]:
        if self._inbox is None:
            raise RuntimeError("this WebSocket's messages go to on_message; it cannot be iterated over")
        following: Coroutine[Any, Any, str | bytes] = self._inbox.following(ConnectionClosedOK)
        return following

    def pause_reading(self) -> None:
        """Take nothing more from the socket: the peer's TCP will fill up. Twice does no harm.

        Pings are not answered meanwhile, nor is a close seen; messages that were read already still come.
        """
        self._connection.pause_user()

    def resume_reading(self) -> None:
        """End what ``pause_reading`` began."""
        self._connection.resume_user()

    # -- pings and the end ----------------------------------------------------------------------

    async def ping(self, payload: bytes | None = None) -> float:
        """Send a PING and wait for its PONG; return the round trip in seconds.

        ``payload`` is four random bytes by default. Any number may be under way at once; a pong
        answers those before it too. Cancelling ends the waiting, not the ping. It has no timeout of its
        own: ``Timeouts.ping_timeout`` is for the pings of the keep-alive. Raises ``ConnectionClosed`` if
        the WebSocket ends before, ``ValueError`` for a payload over 125 bytes or one that is under way,
        ``TypeError`` for one that is not ``bytes``.
        """
        if not self.outbox.is_open:
            raise self.closed_error()
        pings = self._pings
        if pings is None:
            pings = self._pings = {}
        if payload is None:
            payload = self._connection.loop_state.mask()
        elif not isinstance(payload, bytes):
            raise TypeError(f"the payload of a ping is bytes, not {type(payload).__name__}")
        if payload in pings:
            raise ValueError("a ping with this payload is already under way")
        waiter: asyncio.Future[float] = self._connection.loop_state.create_future()
        self._connection.send_ping(payload)
        ping = pings[payload] = (waiter, self._connection.loop_state.clock())
        try:
            return await waiter
        except asyncio.CancelledError:
            if pings.get(payload) is ping:
                del pings[payload]
            raise

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait for the peer's close frame and the end of TCP (at most 5 s by default).

        What was accepted before goes out first. Closing twice does no harm, from any coroutine; the
        first code counts. Cancelled, the close still happens. Raises ``ValueError`` for a code that may
        not be sent (RFC 6455, section 7.4) or a reason over 123 bytes, ``TypeError`` for what is neither.
        """
        self.close_nowait(code, reason)
        await self.wait_closed()

    def close_nowait(self, code: int = 1000, reason: str = "") -> None:
        """Begin to close without waiting for the peer; raises as :meth:`close` does."""
        for value, kind in ((code, int), (reason, str)):
            if not isinstance(value, kind):
                raise TypeError(f"a close has a code (int) and a reason (str), not {value!r}")
        self._connection.close(code, str.__str__(reason))

    async def wait_closed(self) -> None:
        """Wait until the WebSocket and its TCP connection have ended; it does not close them.

        Any number of coroutines may wait, and cancelling one ends nothing. In an ``async def`` handler
        whose client may send, take its messages too (``async for _ in ws: pass`` waits as long): from
        ``receive_queue`` (32) that nobody takes on nothing more is read, so pings go unanswered and
        the peer's close unseen.
        """
        await self._connection.wait_lost()

    @property
    def close_code(self) -> int | None:
        """The code of the first close frame, the peer's or ours; None while the WebSocket is open.

        1005: it carried none. 1006: TCP ended without one (RFC 6455, section 7.1.5).
        """
        return self._connection.machine.close_code if self.closed else None

    @property
    def close_reason(self) -> str | None:
        """The reason that came with :attr:`close_code`; None while the WebSocket is open."""
        return self._connection.machine.close_reason if self.closed else None

    @property
    def closed(self) -> bool:
        """True from the moment at which the close begins, from whichever side."""
        return not self.outbox.is_open

    def closed_error(self) -> ConnectionClosed:
        """Return the exception for a use after the close: ``ConnectionClosedOK`` for 1000, 1001 and 1005."""
        return self.error_maker()()

    def error_maker(self) -> Callable[[], ConnectionClosed]:
        """Return what makes :meth:`closed_error`; it holds on to nothing of the WebSocket."""
        machine = self._connection.machine
        kind = ConnectionClosedOK if machine.close_code in INTENDED else ConnectionClosedError
        return partial(kind, machine.close_code, machine.close_reason, by_peer=machine.closed_by_peer)

    @property
    def state(self) -> dict[str, Any]:
        """A dictionary for the application, made when it is first asked for."""
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def peer(self) -> Any:
        """The peer's address as the socket gives it, or as a trusted proxy says."""
        return self._connection.peer

    # -- what the connection tells --------------------------------------------------------------

    def open_inbox(self) -> None:
        """Collect messages for :meth:`recv`; for handlers that are coroutines."""
        connection = self._connection
        self._inbox = Inbox(
            connection.outbox.limits.receive_queue,
            connection.pause_inbox,
            connection.resume_inbox,
            connection.loop_state.wakeups,
        )

    def has_inbox(self) -> bool:
        """True when messages are collected: then the inbox says how many may wait."""
        return self._inbox is not None

    def open_stream(self, max_message_size: int | None) -> None:
        """Take messages in parts from now on. Only in ``on_open``."""
        connection = self._connection
        limits = connection.outbox.limits
        connection.machine.stream(max_message_size, limits.max_empty_fragments)
        if self._inbox is not None:
            # Few WebSockets need it.
            from fastws.connection.stream_inbox import StreamInbox

            limit = max_message_size or limits.max_message_size
            self._inbox = StreamInbox(
                limit, connection.pause_inbox, connection.resume_inbox, self._message_too_big
            )

    def _message_too_big(self) -> None:
        self.close_nowait(1009, "message too big")

    def deliver(self, message: str | bytes) -> None:
        """Put a message into the inbox that :meth:`open_inbox` has opened."""
        if type(self._inbox) is Inbox:
            inbox = self._inbox  # compiled, its class is known from here on: 200 instructions a message less
            inbox.put(message)
        else:
            self._inbox.put(message)

    def pong_received(self, payload: bytes, now: float) -> float:
        """Return when the ping with this payload left, 0.0 for none; those before it are answered too."""
        pings = self._pings
        if pings is None or payload not in pings:
            return 0.0
        sent = pings[payload][1]
        self.latency = now - sent
        while payload in pings:
            self._answered(next(iter(pings)), now)
        return sent

    def pongs_before(self, sent: float, now: float) -> None:
        """A ping that left at ``sent`` has been answered, and those before it with it."""
        if self._pings is not None:
            for payload in [payload for payload, ping in self._pings.items() if ping[1] < sent]:
                self._answered(payload, now)

    def _answered(self, payload: bytes, now: float) -> None:
        assert self._pings is not None
        waiter, sent = self._pings.pop(payload)
        if not waiter.done():
            waiter.set_result(now - sent)

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
            for waiter, _ in self._pings.values():
                if not waiter.done():
                    waiter.set_exception(self.closed_error())
            self._pings = None


def _exact(message: object) -> str | bytes:
    """Return a message as ``str`` or ``bytes``. Raises ``TypeError`` for other types."""
    if isinstance(message, str):
        return str(message)
    if isinstance(message, (bytes, bytearray, memoryview)):
        return bytes(message)
    raise TypeError(f"a message is str or bytes, not {type(message).__name__}")


async def _each(parts: Any) -> AsyncIterator[Any]:
    if isinstance(parts, AsyncIterable):
        async for part in parts:
            yield part
    elif isinstance(parts, Iterable) and not isinstance(parts, Mapping):
        for part in parts:
            yield part
    else:
        raise TypeError(f"a message is str, bytes or an iterable of them, not {type(parts).__name__}")
