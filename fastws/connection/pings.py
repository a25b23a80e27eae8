# cython: annotation_typing=False
"""The pings that an application sends by ``ws.ping()``, and who waits for their pongs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastws.connection.core import ConnectionCore

__all__ = ["Pings"]


class Pings:
    """The pings of one WebSocket that are under way, in the order in which they left."""

    __slots__ = ("_under_way",)

    def __init__(self) -> None:
        #: By payload: who waits for the round trip, and when the ping left.
        self._under_way: dict[bytes, tuple[asyncio.Future[float], float]] = {}

    async def ping(self, connection: ConnectionCore, payload: bytes | None) -> float:
        """Send a PING and wait for its PONG; as :meth:`fastws.WebSocket.ping`."""
        loop_state = connection.loop_state
        under_way = self._under_way
        if payload is None:
            payload = loop_state.random_mask()
        elif not isinstance(payload, bytes):
            raise TypeError(f"the payload of a ping is bytes, not {type(payload).__name__}")
        if payload in under_way:
            raise ValueError("a ping with this payload is already under way")
        waiter: asyncio.Future[float] = loop_state.create_future()
        connection.send_ping(payload)
        ping = under_way[payload] = (waiter, loop_state.clock())
        try:
            return await waiter
        except asyncio.CancelledError:
            if under_way.get(payload) is ping:
                del under_way[payload]
            raise

    def answered(self, payload: bytes, now: float) -> float:
        """Take a pong that came at ``now``; return when its ping left, 0.0 if there is no such ping.

        The pings before it count as answered too (RFC 6455, section 5.5.3).
        """
        if payload not in self._under_way:
            return 0.0
        sent = self._under_way[payload][1]
        while payload in self._under_way:
            self._resolve(next(iter(self._under_way)), now)
        return sent

    def answered_before(self, sent: float, now: float) -> None:
        """A ping that left at ``sent`` has been answered at ``now``, and those before it with it."""
        for payload in [payload for payload, ping in self._under_way.items() if ping[1] < sent]:
            self._resolve(payload, now)

    def fail(self, make_error: Callable[[], Exception]) -> None:
        """The WebSocket has ended: no pong will come."""
        for waiter, _ in self._under_way.values():
            if not waiter.done():
                waiter.set_exception(make_error())

    def _resolve(self, payload: bytes, now: float) -> None:
        waiter, sent = self._under_way.pop(payload)
        if not waiter.done():
            waiter.set_result(now - sent)
