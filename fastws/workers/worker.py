"""A worker's side: it does what the supervisor says, gives signs of life, and never outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastws.config import Settings
from fastws.pubsub.bus import Bus
from fastws.pubsub.keeper.client import KeeperClient
from fastws.server.beside import Beside
from fastws.server.draining import drain
from fastws.server.factory import Factory
from fastws.server.run import EXIT_SECONDS, serving
from fastws.server.server import APPLICATION_FAILED, Server
from fastws.server.shared_page import Membership
from fastws.server.site import App
from fastws.workers.control import Channel, ControlError, Message

__all__ = ["SupervisedServer"]

log = logging.getLogger("fastws.error")

#: A worker writes to its row so often that its loop turns.
BEAT_SECONDS = 0.5
#: What a worker without a supervisor has to close its connections, before it ends.
ORPHAN_GRACE_SECONDS = 0.3
#: A new worker waits so long for what the others hold: one of them may be stopped.
HEAR_SECONDS = 0.5
GOING_AWAY = 1001


class SupervisedServer:
    """Runs a server as its supervisor says.

    Args:
        channel: this worker's end of the control pair.
        membership: what all workers share, with this worker's part of it.
        grace: seconds of a stop after which the process has ended.
        bus: joins this worker with the others. It runs already.
        answer: what an operator is told who asks with these words and values.
        keeper: the way to who numbers the messages of topics with a history.
    """

    def __init__(
        self,
        channel: Channel,
        membership: Membership,
        *,
        grace: float,
        bus: Bus,
        answer: Callable[[Server | None, str, dict[str, Any]], Any],
        keeper: KeeperClient | None = None,
    ) -> None:
        self._channel = channel
        self._membership = membership
        self._row = membership.row
        self._grace = grace
        self._bus = bus
        self._answer = answer
        self._keeper = keeper
        self._server: Server | None = None
        self._resigning: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None
        #: What has come while connections are closed slowly, and does not wait for that.
        self._urgent: Message | None = None

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
        beside: Iterable[Beside] = (),
    ) -> int:
        """Serve until the supervisor says stop or has gone; return the exit status.

        Args are those of ``serve_until_signal``, and so is what is raised before the server listens.
        """
        loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[Message] = loop.create_future()
        loop.add_reader(self._channel.fileno(), self._readable)
        self._readable()
        if settings.limit_connections_per_address or settings.limit_handshakes_per_address:
            # Before the first client comes: what the others hold counts here.
            await self._bus.holdings.hear_all(HEAR_SECONDS)
        beating: asyncio.Task[None] | None = None
        try:
            async with serving(
                app,
                addresses,
                settings,
                factory=factory,
                leads=False,
                membership=self._membership,
                beside=beside,
            ) as server:
                self._server = server
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.add_signal_handler(number, self._on_signal)
                server.application_failed.add_done_callback(self._on_failure)
                self._row.beat()
                self._channel.send("ready")
                beating = loop.create_task(self._beat())
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
        elif self._draining is not None and self._urgent is None:
            self._urgent = Message(kind, values)
            self._draining.cancel()

    async def _leave(self, server: Server, message: Message) -> int:
        if message.kind == "drain":
            message = await self._drain(server, message)
        values = message.values
        if message.kind == "stop" and values["spread"]:
            await drain(server, values["spread"], GOING_AWAY, "going away", linger=0.0)
        left = float(values["grace"]) - float(values.get("spread", 0.0)) - EXIT_SECONDS
        await server.shutdown(max(left, 0.0))
        return APPLICATION_FAILED if message.kind == "failed" else 0

    async def _drain(self, server: Server, message: Message) -> Message:
        """Close the connections slowly; return what tells how to go on: ``message``, or a more urgent one."""
        seconds, code = message.values["seconds"], message.values["code"]
        server.stop_listening()
        log.info("%d connections are closed within %g s", len(server.connections), seconds)
        self._draining = asyncio.create_task(drain(server, seconds, code, "the server restarts"))
        with contextlib.suppress(asyncio.CancelledError):
            await self._draining
        self._draining = None
        return self._urgent or message

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
            self._bus.add_peer(socket.socket(fileno=message.fds.pop()), int(message.values["worker"]))
        elif message.kind == "keeper" and self._keeper is not None:
            lines = [socket.socket(fileno=message.fds.pop(0)) for _ in list(message.fds)]
            self._keeper.connect(lines[0], int(message.values["number"]))
            if len(lines) > 1:  # to a gateway, for what has no numbers
                self._bus.add_peer(lines[1], int(message.values["gateway"]))
        elif message.kind == "lead":
            if self._server is not None and message.values["value"]:
                self._server.lead(True)  # noqa: FBT003
            elif self._server is not None:
                self._resigning = asyncio.create_task(self._resign(self._server))
        elif message.kind == "question":
            self._tell_answer(message.values)
        elif message.kind in ("drain", "stop"):
            self._end(message.kind, **message.values)
        for fd in message.fds:
            os.close(fd)

    def _tell_answer(self, question: dict[str, Any]) -> None:
        """Tell the supervisor what an operator wants to know."""
        try:
            said = self._answer(self._server, question["ask"], question["values"])
        except Exception:
            log.exception("an operator's question cannot be answered")
            said = None
        self._channel.send("answer", number=question["number"], answer=said)

    async def _resign(self, server: Server) -> None:
        """End the ``once`` tasks, and say so: the next leader begins them then."""
        await server.resign()
        self._channel.send("resigned")

    async def _beat(self) -> None:
        """Write to the row that the loop turns, until cancelled."""
        while True:
            self._row.beat()
            self._channel.flush()
            await asyncio.sleep(BEAT_SECONDS)
