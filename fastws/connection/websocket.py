# cython: annotation_typing=False
"""What a user holds: one open WebSocket, in either role."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable
from typing import Any

from fastws import json, logs
from fastws.connection.flow import FlowState, SendStatus
from fastws.connection.fragments import send_fragments
from fastws.connection.outbox import CLOSED
from fastws.connection.pings import Pings
from fastws.connection.user_state import State
from fastws.connection.websocket_core import Message, WebSocketCore
from fastws.errors import ConnectionClosed, ConnectionClosedOK
from fastws.protocol.http.messages import Request, Response

__all__ = ["WebSocket"]

#: A message of this size ends the turn of a coroutine that sends it, as many small ones do.
LARGE_MESSAGE_BYTES = 16 * 1024


class WebSocket(WebSocketCore):
    """One WebSocket (RFC 6455), in either role.

    Its methods belong on its event loop, in the thread of that. There any number of coroutines may send at
    the same time: their messages do not mix. One coroutine at a time may receive.

    Attributes:
        subprotocol: What the handshake agreed on, or None.
        latency: Seconds of the last measured round trip of a ping; None before the first pong. By default
            the keep-alive sends a ping every 20 s.
        outbox: For :class:`fastws.Hub`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        path = logs.escape(self.request.path) if self.request is not None else "client"
        return f"<WebSocket {path} {self._connection.machine.state.name}>"

    @property
    def request(self) -> Request | None:
        """The request that opened it; None on the client's side."""
        return self._handshake if isinstance(self._handshake, Request) else None

    @property
    def request_id(self) -> str | None:
        """What logs call its request, see :attr:`fastws.Request.request_id`; None on the client's side."""
        return None if self.request is None else self.request.request_id

    @property
    def response(self) -> Response | None:
        """The server's answer that opened it; None on the server's side."""
        return self._handshake if isinstance(self._handshake, Response) else None

    @property
    def state(self) -> State:
        """For the application: ``ws.state.room`` or ``ws.state["room"]``; made when first asked for."""
        if self._state is None:
            self._state = State()
        return self._state

    @property
    def peer(self) -> Any:
        """The peer's address as the socket gives it, or as a trusted proxy says."""
        return self._connection.peer

    # -- sending --------------------------------------------------------------------------------

    def send_nowait(self, message: Message, *, compress: bool | None = None) -> SendStatus:
        """Send one message without waiting; never raises for the state of the peer.

        Args:
            message: ``str`` goes as text; ``bytes``, ``bytearray`` and ``memoryview`` go as binary.
            compress: Override the threshold from which messages are compressed, where permessage-deflate
                was negotiated. Default None: as ``Compression.threshold`` says.

        Returns:
            ``SENT``: the socket holds nothing back. ``QUEUED``: the message waits behind a slow socket, or
            until a message that is sent in fragments is complete. ``DROPPED``: the queue of what waits is
            over its limits (``Limits.send_queue``, 256 messages, and ``Limits.send_queue_bytes``, 1 MiB),
            and nothing was queued. ``CLOSED``: the WebSocket is closing or closed.

        Raises:
            TypeError: The message is of another type.
        """
        pushed = self._push_or_encode(message, compress)
        return self.outbox.push(pushed) if isinstance(pushed, bytes) else pushed

    async def send(
        self,
        message: Message | Iterable[Message] | AsyncIterable[Message],
        *,
        compress: bool | None = None,
    ) -> None:
        """Send one message; wait while the peer is slow to read.

        The message is accepted first, however much waits already: cancelled while it waits, it is still
        sent. It waits too while a message in fragments is under way and 64 KiB wait for the end of that;
        except in the task that makes those fragments, which would then never end.

        Args:
            message: ``str`` goes as text; ``bytes``, ``bytearray`` and ``memoryview`` go as binary. An
                iterable or async iterable of these goes as the fragments of one message (RFC 6455,
                section 5.4), uncompressed: all text or all binary. Each fragment waits while the peer is
                slow. The message's place among others is that of its first fragment; others wait until it
                is complete, within the limits of the queue. An exception or a cancellation in between closes
                the WebSocket with 1011.
            compress: As for :meth:`send_nowait`.

        Raises:
            ConnectionClosed: The WebSocket is closing or closed.
            TypeError: The message is of another type; a mapping, for one.
        """
        # Exact types first: an abstract class takes 0.3 µs to say no.
        if (
            type(message) is not str
            and type(message) is not bytes
            and not isinstance(message, (str, bytes, bytearray, memoryview))
        ):
            if await send_fragments(self, message):
                await self._writable()
            return
        outbox = self.outbox
        pushed = self._push_or_encode(message, compress)
        if isinstance(pushed, bytes):
            pushed = outbox.push_over_limits(pushed)
        if pushed is CLOSED:
            raise self.closed_error()
        if outbox.blocked or outbox.fragmenting or len(message) >= LARGE_MESSAGE_BYTES or outbox.is_filling():
            await self._writable()

    async def send_json(self, value: Any) -> None:
        """:meth:`send` of ``value`` as JSON text (orjson).

        Raises:
            ConnectionClosed: The WebSocket is closing or closed.
            TypeError, ValueError: ``value`` is not JSON; the second for a NaN or an infinity in it.
        """
        await self.send(json.finite_text(value))

    def send_json_nowait(self, value: Any) -> SendStatus:
        """:meth:`send_nowait` of ``value`` as JSON text (orjson).

        Returns:
            As :meth:`send_nowait`.

        Raises:
            TypeError, ValueError: ``value`` is not JSON; the second for a NaN or an infinity in it.
        """
        return self.send_nowait(json.finite_text(value))

    @property
    def buffered_amount(self) -> int:
        """Bytes accepted by ``send`` that the socket has not taken yet."""
        return self.outbox.buffered_amount

    @property
    def flow(self) -> FlowState:
        """How well the peer takes what it is sent: ``CLEAR``, ``CONGESTED`` or ``SLOW``.

        They are in this order, so ``ws.flow >= FlowState.CONGESTED`` is true while the socket refuses bytes.
        What is sent in this turn has not been tried yet.
        """
        return FlowState(self.outbox.flow)

    # -- receiving ------------------------------------------------------------------------------

    async def recv(self) -> str | bytes:
        """Receive the next message. Cancelling loses none.

        Returns:
            ``str`` for text, ``bytes`` for binary.

        Raises:
            ConnectionClosedOK: It has ended as intended (1000, 1001 or 1005), and no message is left.
            ConnectionClosedError: It has ended otherwise, and no message is left.
            ConcurrencyError: Another coroutine receives already.
            RuntimeError: The handler takes callbacks, so the messages go there.
        """
        if self._inbox is None:
            raise RuntimeError("this WebSocket's messages go to on_message; recv() has none")
        message: str | bytes = await self._inbox.get()
        return message

    def recv_streaming(self) -> AsyncIterator[str | bytes]:
        """Iterate over the parts of the next message as they arrive. Cancelling a step loses nothing.

        For a WebSocket made with :func:`fastws.streaming` (or ``connect(..., streaming=True)``): at most
        512 KiB are held here, however large the message is, and reading pauses while nobody takes parts.
        Elsewhere the one part is the whole message. What is left of a message is thrown away when the next
        one is asked for.

        Returns:
            An async iterator; its items are all ``str`` or all ``bytes``. A step raises as :meth:`recv`.

        Raises:
            ConcurrencyError: Another coroutine waits for a part.
            RuntimeError: The handler takes callbacks, so the parts go there.
        """
        if self._inbox is None:
            raise RuntimeError("this WebSocket's messages go to on_message; recv_streaming() has none")
        parts: AsyncIterator[str | bytes] = self._inbox.parts()
        return parts

    async def recv_json(self) -> Any:
        """:meth:`recv`, and parse the message as JSON (orjson).

        Raises:
            ValueError: The message is not JSON, and is gone; more exactly ``orjson.JSONDecodeError``.
            ConnectionClosed: As :meth:`recv`, which raises the other exceptions of this method too.
        """
        return json.loads(await self.recv())

    def __aiter__(self) -> WebSocket:
        """Iterate over messages; end at an intended close (1000, 1001, 1005), else raise as :meth:`recv`."""
        return self

    def __anext__(self) -> Coroutine[Any, Any, str | bytes]:
        if self._inbox is None:
            raise RuntimeError("this WebSocket's messages go to on_message; it cannot be iterated over")
        following: Coroutine[Any, Any, str | bytes] = self._inbox.following(ConnectionClosedOK)
        return following

    def pause_reading(self) -> None:
        """Read nothing more from the socket until :meth:`resume_reading`. Twice does no harm.

        The peer's TCP fills up. Pings are not answered meanwhile and a close is not seen; messages that were
        read before still come.
        """
        self._connection.pause_user()

    def resume_reading(self) -> None:
        """End what :meth:`pause_reading` began."""
        self._connection.resume_user()

    # -- pings and the end ----------------------------------------------------------------------

    async def ping(self, payload: bytes | None = None) -> float:
        """Send a PING and wait for its PONG (RFC 6455, sections 5.5.2 and 5.5.3).

        Any number may be under way at the same time; a pong answers the pings before its own too. Cancelling
        ends the wait, not the ping. There is no timeout: ``Timeouts.ping_timeout`` is for the keep-alive.

        Args:
            payload: At most 125 bytes. Default None: four random bytes.

        Returns:
            The round trip in seconds.

        Raises:
            ConnectionClosed: The WebSocket is closing or closed, or ends before the pong.
            ValueError: The payload is too long, or a ping with this payload is under way.
            TypeError: The payload is not ``bytes``.
        """
        if not self.outbox.is_open:
            raise self.closed_error()
        if self._pings is None:
            self._pings = Pings()
        return await self._pings.ping(self._connection, payload)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, and wait for the peer's close frame and the end of TCP (RFC 6455, sections 5.5.1 and 7.1.1).

        What was accepted before is sent first. The wait ends after ``Timeouts.close`` (5 s) at the latest,
        unless what was accepted is still going out. Any coroutine may close, and closing again does no harm:
        the first code counts. Cancelled, the close still happens.

        Args:
            code: 1000 to 1003, 1007 to 1014 or 3000 to 4999 (section 7.4). Default 1000.
            reason: At most 123 bytes of UTF-8. Default: none.

        Raises:
            ValueError: The code may not be sent, or the reason is too long.
            TypeError: The code is not an ``int``, or the reason not a ``str``.
        """
        self.close_nowait(code, reason)
        await self.wait_closed()

    def close_nowait(self, code: int = 1000, reason: str = "") -> None:
        """Begin to close as :meth:`close` does, with the same arguments and exceptions; do not wait."""
        for value, kind in ((code, int), (reason, str)):
            if not isinstance(value, kind):
                raise TypeError(f"a close has a code (int) and a reason (str), not {value!r}")
        self._connection.close(code, str.__str__(reason))

    async def wait_closed(self) -> None:
        """Wait until the WebSocket and its TCP connection have ended; it does not close them.

        Any number of coroutines may wait, and cancelling one ends nothing. In an ``async def`` handler
        whose client may send, take its messages too (``async for _ in ws: pass`` waits as long): once
        ``Limits.receive_queue`` messages (32) wait that nobody takes, or 256 KiB that were compressed,
        nothing more is read, so pings go unanswered and the peer's close unseen.
        """
        await self._connection.wait_lost()

    @property
    def close_code(self) -> int | None:
        """The code of the first close frame, the peer's or ours; None while the WebSocket is open.

        1005: it carried none. 1006: TCP ended without a close frame (RFC 6455, section 7.1.5).
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
        """Return the exception for a use after the close.

        ``ConnectionClosedOK`` for the codes 1000, 1001 and 1005 (RFC 6455, section 7.4), else
        ``ConnectionClosedError``.
        """
        return self.error_maker()()
