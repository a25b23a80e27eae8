"""What the rows serve beside the built-in routes: ``fastws serve tests.faults.app:routes``."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time

import fastws
import fastws.yjs
from fastws.apps import builtin
from tests.faults.counters import counters

__all__ = ["routes"]


class Topic(fastws.Handler):
    """Everybody hears what anybody says; ``policy`` is for those who do not read."""

    def __init__(self, policy: str) -> None:
        self.hub = fastws.Hub(policy=policy, broker="memory")

    def on_open(self, ws: fastws.WebSocket) -> None:
        self.hub.subscribe(ws, "all")

    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        self.hub.publish("all", message)


class Shared(fastws.Handler):
    """All workers hear what one of them publishes. A client that asks is told what its worker knows.

    ``who``: the process. ``count``: how many listen here. ``speakers``: how many clients publish here, by
    binary messages. ``go RATE SECONDS SIZE``: the worker itself publishes so.
    """

    def __init__(self) -> None:
        self.hub = fastws.Hub("shared")
        self.speakers = 0
        self.tasks: set[asyncio.Task[None]] = set()

    def on_open(self, ws: fastws.WebSocket) -> None:
        assert ws.request is not None
        if ws.request.path == "/shared/hear":
            self.hub.subscribe(ws, "all")
        self.speakers += ws.request.path == "/shared/speak"

    def on_close(self, ws: fastws.WebSocket, code: int, reason: str) -> None:
        assert ws.request is not None
        self.speakers -= ws.request.path == "/shared/speak"

    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.hub.publish("all", message)
            return
        match message.split():
            case ["who"]:
                ws.send_nowait(str(os.getpid()))
            case ["speakers"]:
                ws.send_nowait(str(self.speakers))
            case ["count"]:
                ws.send_nowait(str(self.hub.count("all")))
            case ["go", rate, seconds, size]:
                task = asyncio.create_task(self._publish(ws, int(rate), float(seconds), int(size)))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

    def on_gap(self, ws: fastws.WebSocket, topic: str, missed: int, reason: str) -> None:
        ws.send_nowait(f"gap {missed}")

    async def _publish(self, ws: fastws.WebSocket, rate: int, seconds: float, size: int) -> None:
        """At most a thousand times a second, and then as many as are due."""
        began, number = time.monotonic(), 0
        while number < int(rate * seconds):
            due = min(int((time.monotonic() - began) * rate) + 1, int(rate * seconds))
            while number < due:
                head = b"%010d %019d " % (number, time.monotonic_ns())
                self.hub.publish("all", head.ljust(size, b"."))
                number += 1
            await asyncio.sleep(max(0.001, 1 / rate))
        ws.send_nowait(f"published {number}")


class LastWords(Topic):
    """``go N SIZE``: N messages are published, and in the same turn SIGTERM comes."""

    def __init__(self) -> None:
        super().__init__("evict")

    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        _, count, size = str(message).split()
        for number in range(int(count)):
            head = b"%010d %019d " % (number, time.monotonic_ns())
            self.hub.publish("all", head.ljust(int(size), b"."))
        print(f"signalled {time.monotonic()}", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)


class Raises(fastws.Handler):
    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        raise RuntimeError("as asked")


class Closes(fastws.Handler):
    """Tells the log of each end."""

    def on_close(self, ws: fastws.WebSocket, code: int, reason: str) -> None:
        print(f"on_close {code} {reason}", flush=True)


class Blocks(fastws.Handler):
    """Stands still for as many seconds as it is told, as no handler may."""

    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        time.sleep(float(message))
        ws.send_nowait("done")


async def raises_later(ws: fastws.WebSocket) -> None:
    await ws.recv()
    raise RuntimeError("as asked")


async def never_returns(ws: fastws.WebSocket) -> None:
    await asyncio.get_running_loop().create_future()


async def is_cancelled(ws: fastws.WebSocket) -> None:
    await ws.recv()
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


#: Goes with the process.
DOCUMENTS = tempfile.TemporaryDirectory()

routes = [
    fastws.Route("/counters", http=counters),
    # Whoever reads 1 KiB a second takes less than the kernel counts as progress within the write limit.
    fastws.Route("/dropping", Topic("drop_oldest"), timeouts={"write": None}),
    # A worker that stood still has as much to tell its clients at once as the bus has kept for it.
    fastws.Route("/shared/{what}", Shared(), limits={"send_queue": 1_000_000, "send_queue_bytes": 1 << 28}),
    fastws.Route("/last-words", LastWords()),
    fastws.Route("/yjs/{document}", fastws.yjs.Documents(fastws.yjs.FileStore(DOCUMENTS.name))),
    fastws.Route("/raises", Raises()),
    fastws.Route("/raises-later", raises_later),
    fastws.Route("/blocks", Blocks()),
    fastws.Route("/closes", Closes()),
    fastws.Route("/never-returns", never_returns),
    fastws.Route("/is-cancelled", is_cancelled),
    *builtin.routes(),
]
