"""The process of the keeper: it does what its supervisor says, gives signs of life, and never outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.urls import broker_at
from fastws.pubsub.gateway.gateway import Gateway
from fastws.pubsub.keeper.keeper import Keeper
from fastws.workers.control import Channel, ControlError, Message

__all__ = ["run_keeper"]

log = logging.getLogger("fastws.error")

#: It says so often that its loop turns.
BEAT_SECONDS = 0.5
#: Seconds that an attempt to reach the broker may take; and of the first and the longest pause between two.
START_SECONDS = 5.0
RETRY, LONGEST_RETRY = 0.25, 1.0


class KeptHere:
    """The keeper of a server without a broker."""

    def __init__(self, dropped: Callable[[int], None]) -> None:
        self._keeper = Keeper(dropped=dropped)

    def add_worker(self, message: Message) -> None:
        """Serve a worker."""
        self._keeper.add_worker(socket.socket(fileno=message.fds.pop()), int(message.values["worker"]))

    async def close(self) -> None:
        """Let go of all workers."""
        self._keeper.close()


class KeptThere:
    """The gateway of one with a broker, which is tried until it is there.

    Args:
        url: Where the broker is.
        node: The name of this server.
        identity: What the gateway is called on the bus.
        dropped: Called with the identity of a worker that says what makes no sense.
    """

    def __init__(self, url: str, node: str, identity: int, dropped: Callable[[int], None]) -> None:
        self._gateway = Gateway(broker_at(url), node=node, identity=identity, dropped=dropped)
        self._starting = asyncio.create_task(self._start())

    async def _start(self) -> None:
        pause, said = RETRY, ""
        while True:
            try:
                await self._gateway.start(START_SECONDS)
            except BrokerUnavailable as error:
                if str(error) != said:
                    said = str(error)
                    log.error("broker %s", said)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_RETRY)
            else:
                return

    def add_worker(self, message: Message) -> None:
        """Serve a worker."""
        keeper_line, bus_line = [socket.socket(fileno=message.fds.pop(0)) for _ in range(2)]
        self._gateway.add_worker(bus_line, keeper_line, int(message.values["worker"]))

    async def close(self) -> None:
        """Let go of all workers, and of the broker."""
        self._starting.cancel()
        await self._gateway.hear_out()
        await self._gateway.close()


async def run_keeper(channel: Channel, hello: Message) -> None:
    """Keep histories until the supervisor says so, or closes its end of the control pair."""

    def dropped(worker: int) -> None:
        channel.send("dropped", worker=worker)

    values = hello.values
    keeper: KeptHere | KeptThere
    if "broker" in values:
        keeper = KeptThere(values["broker"], values["node"], int(values["identity"]), dropped)
    else:
        keeper = KeptHere(dropped)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def read() -> None:
        try:
            for message in channel.receive():
                if message.kind == "worker":
                    keeper.add_worker(message)
                elif message.kind == "end":  # its workers have ended: what they said last is handed over
                    ended.set()
                for fd in message.fds:
                    os.close(fd)
        except ControlError as error:
            log.error("the supervisor sends nonsense: %s", error)
            ended.set()
        if channel.ended:
            ended.set()

    loop.add_reader(channel.fileno(), read)
    read()
    try:
        while not ended.is_set():
            if not channel.has_output:
                channel.send("beat")
            channel.flush()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), BEAT_SECONDS)
    finally:
        loop.remove_reader(channel.fileno())
        await keeper.close()
