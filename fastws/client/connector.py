"""From what ``connect()`` was given to an open WebSocket: TCP and TLS, the handshake, redirects, cookies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastws.client.handshake import ClientHandshake, ClientHost
from fastws.client.redirects import HandshakeTarget, follow
from fastws.client.target import Target
from fastws.connection.connection import Connection
from fastws.connection.websocket import WebSocket
from fastws.errors import HandshakeRefused, ReceivedResponse
from fastws.loop.state import loop_state_of
from fastws.protocol.websocket.machine import Machine

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

    from fastws.client.url import Address

__all__ = ["Connector", "end_tasks"]


@dataclass(slots=True)
class Connector:
    """Opens one WebSocket after the other, each with the same options."""

    handshake: ClientHandshake
    target: Target
    jar: CookieJar | None
    #: Seconds until a WebSocket is open, redirects included; None is no limit.
    open_timeout: float | None
    max_redirects: int

    async def open(self) -> WebSocket:
        """Return an open WebSocket; raises as :class:`fastws.connect`. Cancelling leaves nothing behind."""
        handshake, redirects_left = self.handshake, self.max_redirects
        try:
            async with asyncio.timeout(self.open_timeout) as limit:
                while True:
                    try:
                        return await self._attempt(handshake, limit.when())
                    except HandshakeRefused as refusal:
                        target = self._redirected(handshake.target, refusal.response, redirects_left)
                        if target is None:
                            raise
                    handshake, redirects_left = replace(handshake, target=target), redirects_left - 1
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"no WebSocket within {self.open_timeout:g} s") from None
            raise

    def _redirected(
        self, target: HandshakeTarget, response: ReceivedResponse, left: int
    ) -> HandshakeTarget | None:
        """Return where a redirect leads; None when the response is no redirect, or none is followed."""
        following = follow(target, response) if self.max_redirects else None
        if following is None:
            return None
        if left == 0:
            raise HandshakeRefused(response, f"more than {self.max_redirects} redirects")
        if self.target.sock is not None or (self.target.is_fixed and not following.first):
            raise HandshakeRefused(response, "a redirect away from sock=, unix= or host= is not followed")
        return following

    async def _attempt(self, handshake: ClientHandshake, deadline: float | None) -> WebSocket:
        """Connect and shake hands once, until ``deadline`` on the loop's clock."""
        loop = asyncio.get_running_loop()
        loop_state = loop_state_of(loop)
        address = handshake.target.address
        opened: asyncio.Future[WebSocket] = loop.create_future()
        host = ClientHost(handshake, opened, self._cookie_fields(address), deadline)

        def factory() -> Connection:
            machine = Machine.client(handshake.limits, loop_state.random_mask)
            return Connection(loop_state, machine, host, handshake.timeouts)

        target = self.target if handshake.target.first else self.target.for_another_origin()
        connection: Connection | None = None
        others = set(handshake.callbacks.tasks)
        try:
            connection = await target.connect(loop, factory, address, deadline)
            ws = await opened
            self._store_cookies(address, ws.response)
            return ws
        except BaseException as exc:
            if opened.done() and not opened.cancelled():
                # Mark the exception as retrieved: asyncio would log it.
                opened.exception()
            opened.cancel()
            if connection is not None:
                connection.abort()
            # It may have opened in the very turn of the loop in which connect() was cancelled.
            await end_tasks(handshake.callbacks.tasks - others, handshake.timeouts.close)
            if isinstance(exc, HandshakeRefused):
                self._store_cookies(address, exc.response)
            raise
        finally:
            # The future has the exception, whose traceback has this frame.
            del opened

    def _cookie_fields(self, address: Address) -> list[tuple[bytes, bytes]]:
        if self.jar is None:
            return []
        from fastws.client.cookies import jar_field

        value = jar_field(self.jar, address)
        return [] if value is None else [(b"Cookie", value.encode("latin-1"))]

    def _store_cookies(self, address: Address, response: ReceivedResponse | None) -> None:
        if self.jar is not None and response is not None:
            from fastws.client.cookies import store_cookies

            store_cookies(self.jar, address, response)


async def end_tasks(tasks: Iterable[asyncio.Task[None]], timeout: float | None) -> None:
    """Cancel ``tasks`` and wait until they have ended: for ``timeout`` seconds at most, None for no limit."""
    left = set(tasks) - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=timeout)
