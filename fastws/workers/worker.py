"""A worker's side: it does what the supervisor says, gives signs of life, and never outlives it."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastws.config import Settings
from fastws.server.draining import drain
from fastws.server.factory import Factory
from fastws.server.run import EXIT_SECONDS, serving
from fastws.server.server import APPLICATION_FAILED, Server
from fastws.server.shared_page import Row, SharedPage
from fastws.server.site import App
from fastws.workers.control import Channel, ControlError, Message

__all__ = ["SupervisedServer", "end_with_parent"]

log = logging.getLogger("fastws.error")

#: A worker writes to its row so often that its loop turns.
BEAT_SECONDS = 0.5
#: What a worker without a supervisor has to close its connections, and then to end.
ORPHAN_GRACE_SECONDS = 0.3
ORPHAN_EXIT_SECONDS = 0.8
GOING_AWAY = 1001


def end_with_parent(channel: Channel) -> None:
    """Watch the control pair in a thread: when the supervisor is gone, this process ends within a second.

    Also while it imports an application, or its loop is blocked.
    """
    descriptor = os.dup(channel.fileno())

    def watch() -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # POLLHUP comes in any case
        poll.poll()
        time.sleep(ORPHAN_EXIT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="fastws-supervisor-watch", daemon=True).start()


class SupervisedServer:
    """Runs a server as its supervisor says.

    Args:
        channel: this worker's end of the control pair.
        page: what all workers share, with ``row``, this worker's.
        grace: seconds of a stop after which the process has ended.
        on_peer: called with a connected socket and the id of the worker at its other end. The callee owns the
            socket.
        counts_messages: the supervisor wants to know how many messages have been received.
    """

    def __init__(
        self,
        channel: Channel,
        page: SharedPage,
        row: Row,
        *,
        grace: float,
        on_peer: Callable[[socket.socket, int], object],
        counts_messages: bool = False,
    ) -> None:
        self._channel = channel
        self._page = page
        self._row = row
        self._grace = grace
        self._on_peer = on_peer
        self._counts_messages = counts_messages
        self._server: Server | None = None
        self._resigning: asyncio.Task[None] | None = None

    def leads(self) -> bool:
        """Whether this worker does what one of them has to do for all."""
        return self._server is not None and self._server.is_leader

    async def run(
        self,
        app: App | Factory,
        addresses: Iterable[Mapping[str, Any]],
        settings: Settings,
        *,
        factory: bool = False,
    ) -> int:
        """Serve until the supervisor says stop or has gone; return the exit status.

        Args are those of ``serve_until_signal``, and so is what is raised before the server listens.
        """
        loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[Message] = loop.create_future()
        loop.add_reader(self._channel.fileno(), self._readable)
        beating: asyncio.Task[None] | None = None
        try:
            async with serving(
                app, addresses, settings, factory=factory, leads=False, page=self._page, row=self._row
            ) as server:
                self._server = server
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.add_signal_handler(number, self._on_signal)
                server.application_failed.add_done_callback(self._on_failure)
                self._row.beat()
                self._channel.send("ready")
                beating = loop.create_task(self._beat(server))
                self._readable()
                message = await self._stop
            return await self._leave(server, message)
        finally:
            if beating is not None:
                beating.cancel()
            loop.remove_reader(self._channel.fileno())

    def _on_signal(self) -> None:
        """Leave by a signal to this process; the supervisor starts another, unless all have to stop."""
        if not self._stop.done():
            self._channel.send("leaving")
            self._end("stop", grace=self._grace, spread=0.0)

    def _on_failure(self, _: object) -> None:
        self._end("failed", grace=self._grace, spread=0.0)

    def _end(self, kind: str, **values: Any) -> None:
        if not self._stop.done():
            self._stop.set_result(Message(kind, values))

    async def _leave(self, server: Server, message: Message) -> int:
        values = message.values
        if message.kind == "drain":
            log.info("%d connections are closed within %g s", len(server.connections), values["seconds"])
            await drain(server, values["seconds"], values["code"], "the server restarts")
        elif message.kind == "stop" and values["spread"]:
            await drain(server, values["spread"], GOING_AWAY, "going away", linger=0.0)
        left = float(values["grace"]) - float(values.get("spread", 0.0)) - EXIT_SECONDS
        await server.shutdown(max(left, 0.0))
        return APPLICATION_FAILED if message.kind == "failed" else 0

    # -- the control pair -----------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            for message in self._channel.receive():
                self._take(message)
        except ControlError as error:
            log.error("the supervisor sends nonsense: %s", error)
            self._channel.close()
        if self._channel.ended:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            if not self._stop.done():
                log.error("the supervisor is gone: this worker ends")
            self._end("orphaned", grace=ORPHAN_GRACE_SECONDS + EXIT_SECONDS, spread=0.0)

    def _take(self, message: Message) -> None:
        if message.kind == "peer":
            self._on_peer(socket.socket(fileno=message.fds.pop()), int(message.values["worker"]))
        elif message.kind == "lead":
            if self._server is not None and message.values["value"]:
                self._server.lead(True)  # noqa: FBT003
            elif self._server is not None:
                self._resigning = asyncio.create_task(self._resign(self._server))
        elif message.kind in ("drain", "stop"):
            self._end(message.kind, **message.values)
        for fd in message.fds:
            os.close(fd)

    async def _resign(self, server: Server) -> None:
        """End the ``once`` tasks, and say so: the next leader begins them then."""
        await server.resign()
        self._channel.send("resigned")

    async def _beat(self, server: Server) -> None:
        """Write to the row that the loop turns, until cancelled."""
        while True:
            if self._counts_messages:
                open_ones = sum(each.received_messages for each in server.connections if each.ws is not None)
                self._row.messages = server.counters.messages_received + open_ones
            self._row.beat()
            self._channel.flush()
            await asyncio.sleep(BEAT_SECONDS)
