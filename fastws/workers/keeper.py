"""The process of the keeper: it does what its supervisor says, gives signs of life, and never outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket

from fastws.pubsub.keeper.keeper import Keeper
from fastws.workers.control import Channel, ControlError

__all__ = ["run_keeper"]

log = logging.getLogger("fastws.error")

#: It says so often that its loop turns.
BEAT_SECONDS = 0.5


async def run_keeper(channel: Channel) -> None:
    """Keep histories until the supervisor closes its end of the control pair."""
    keeper = Keeper(dropped=lambda worker: channel.send("dropped", worker=worker))
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def read() -> None:
        try:
            for message in channel.receive():
                if message.kind == "worker":
                    keeper.add_worker(socket.socket(fileno=message.fds.pop()), int(message.values["worker"]))
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
        keeper.close()
