"""A node of one process: its hubs, its bus, and its gateway beside them on the same loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.base import Broker
from fastws.pubsub.bus.bus import Bus
from fastws.pubsub.gateway.gateway import Gateway
from fastws.pubsub.keeper.client import KeeperClient

__all__ = ["Node"]

log = logging.getLogger("fastws.error")

#: Seconds that an attempt in the background may take; and of the first and the longest pause between two.
START_SECONDS = 10.0
RETRY, LONGEST_RETRY = 0.25, 1.0
#: Turns of the loop for which a node stays when all tasks of its loop are cancelled: they may publish.
LAST_TURNS = 3


class Node:
    """It starts at its first use, or by :meth:`start`; when its loop ends a later one may begin it anew.

    Args:
        make: Makes a broker, for each start one.
    """

    def __init__(self, make: Callable[[], Broker]) -> None:
        self._make = make
        self.bus = Bus(1)
        self.bus.on_first_use = self.start_soon
        self.bus.on_loop_gone = self._forget
        self.bus.keeper = self._client = KeeperClient(self.bus, _nothing)
        self._gateway: Gateway | None = None
        self._starting = asyncio.Lock()
        self._staying: asyncio.Task[None] | None = None

    async def start(self, timeout: float) -> None:
        """Connect to the broker. Raises :class:`BrokerUnavailable` where that cannot be."""
        self.bus.forget_closed_loop()
        async with self._starting:
            if self._gateway is None:
                gateway = Gateway(self._make())
                try:
                    await gateway.start(timeout)
                except BaseException:
                    await gateway.close()
                    raise
                self._gateway = gateway
                self._connect(gateway)
            await self._client.wait(timeout)
        self._stay_on(asyncio.get_running_loop())

    def _connect(self, gateway: Gateway) -> None:
        bus_line, its_bus_line = socket.socketpair()
        keeper_line, its_keeper_line = socket.socketpair()
        far, far_keeper = gateway.add_worker(its_bus_line, its_keeper_line, self.bus.identity)
        self._client.connect(keeper_line).join(far_keeper)
        self.bus.add_peer(bus_line, gateway.identity).join(far)
        self.bus.begin()

    def start_soon(self) -> None:
        """Start in the background; without a running loop a later use does."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._staying is not None and self._staying.get_loop() is not loop:
            self._staying, self._starting = None, asyncio.Lock()
        self._stay_on(loop)

    async def close(self) -> None:
        """Let what was published leave, and disconnect."""
        staying, self._staying = self._staying, None
        if staying is not None:
            staying.cancel()
        await self._leave()

    async def _leave(self) -> None:
        await self.bus.close()
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            await gateway.hear_out()
            await gateway.close()

    def after_fork(self) -> None:
        """Begin anew in a child process: the sockets are its parent's."""
        self._forget(forked=True)

    # -- staying --------------------------------------------------------------------------------

    def _stay_on(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._staying is None:
            self._staying = loop.create_task(self._stay())

    async def _stay(self) -> None:
        """Be there until the loop ends."""
        try:
            await self._keep_trying()
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if self._staying is asyncio.current_task():
                for _ in range(LAST_TURNS):
                    await asyncio.sleep(0)
                with suppress(Exception):
                    await self._leave()
                self._forget()
            raise

    async def _keep_trying(self) -> None:
        pause, said = RETRY, ""
        while True:
            try:
                await self.start(START_SECONDS)
            except BrokerUnavailable as error:
                if str(error) != said:
                    said = str(error)
                    log.error("%s; what is published stays in this process", said)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_RETRY)
            else:
                return

    def _forget(self, *, forked: bool = False) -> None:
        """Begin anew when there is a loop again."""
        self._gateway = self._staying = None
        self._starting = asyncio.Lock()
        self.bus.reset(forked=forked)


def _nothing() -> None:
    """A topic is to be numbered: the gateway does that anyway."""
