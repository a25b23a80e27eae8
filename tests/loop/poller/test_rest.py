"""Whose messages are left out of a flood, the poller reads now and then only."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest

from fastws import Hub, WebSocket
from fastws.loop import poller
from fastws.loop.native import SLOTS
from fastws.loop.poller import READS_OF_WORTH
from fastws.pubsub import gate
from fastws.testing.wire import CLOSE, TEXT, frame
from tests.kit import until
from tests.loop.poller.talking import Run, Script, Talker, epolls, served, talking, transport_reads

#: Of a flood one message an hour is let through.
ONE_AN_HOUR = 1 / 3600


class Flooded(Script):
    """Publishes what begins with "flood" to a topic that lets nothing more through, and echoes all else."""

    def __init__(self) -> None:
        super().__init__(self.publish_or_echo)
        self.hub = Hub()
        self.hub.topic("flood", sample=ONE_AN_HOUR)
        self.hub.publish("flood", "the only one")

    def publish_or_echo(self, ws: WebSocket, message: str | bytes) -> None:
        if str(message).startswith("flood"):
            self.hub.publish("flood", message)
        else:
            ws.send_nowait(message)


async def rests(talker: Talker, before: int) -> None:
    """Send one message that is left out: the second epoll set shows that its connection rests."""
    await talker.say("flood")
    await until(lambda: epolls() == before + 1)


def test_rest(run: Run) -> None:
    """Nothing is lost, the order is kept, and who sends what is worth it rests no more."""

    async def main() -> None:
        handler = Flooded()
        async with served(handler) as server, talking(server) as talker, talking(server) as other:
            before = epolls()
            await rests(talker, before)
            for number in range(READS_OF_WORTH - 1):
                await talker.echo(f"{number}")
            await talker.say("flood again")
            for number in range(READS_OF_WORTH - 1):
                await talker.echo(f"again {number}")
            assert epolls() == before + 1
            await other.echo("not at rest")
            await rests(other, before)
            await talker.echo("last")
            assert epolls() == before + 1
            for number in range(READS_OF_WORTH):
                await other.echo(f"{number}")
            assert epolls() == before
            assert transport_reads(server) == [False, False]
            await talker.echo("awake")

    run(main())


def test_a_run_of_messages_is_one_read(run: Run) -> None:
    async def main() -> None:
        handler = Flooded()
        async with served(handler) as server, talking(server) as talker:
            await rests(talker, epolls())
            await talker.write(b"".join(frame(TEXT, f"flood {number}") for number in range(100)))
            await talker.echo()
            assert handler.heard[-101:-1] == [f"flood {number}" for number in range(100)]

    run(main())


def test_more_than_one_look_reads(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are read in the next turns of the loop, and not a rest later."""
    monkeypatch.setattr(poller, "READS_PER_POLL", 1)
    monkeypatch.setattr(gate, "rest_seconds", lambda rate: 0.2)

    async def main() -> None:
        handler = Flooded()
        async with served(handler) as server, AsyncExitStack() as stack:
            talkers = [await stack.enter_async_context(talking(server)) for _ in range(3 * SLOTS)]
            for talker in talkers:
                await talker.say("flood")
            await until(lambda: handler.heard.count("flood") == len(talkers))
            for talker in talkers:
                talker.sock.send(frame(TEXT, "flood again"))
            await until(lambda: "flood again" in handler.heard)
            for _ in range(10):
                await asyncio.sleep(0)
            assert handler.heard.count("flood again") == len(talkers)

    run(main())


@pytest.mark.parametrize("how", ["close", "end", "reset", "abort", "pause"])
def test_an_end_of_rest(run: Run, how: str) -> None:
    async def main() -> None:
        handler = Flooded()
        async with served(handler) as server, talking(server) as talker:
            before = epolls()
            await rests(talker, before)
            ws = handler.sockets[0]
            if how == "close":
                await talker.write(frame(CLOSE, struct.pack("!H", 1000)))
                assert (await talker.hear()).close_code == 1000
            elif how == "end":
                talker.sock.shutdown(socket.SHUT_WR)
            elif how == "reset":
                talker.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                talker.sock.close()
            elif how == "abort":
                next(iter(server.connections)).abort()
            else:
                ws.pause_reading()
                await talker.say("held back")
                await until(lambda: epolls() == before)
                ws.resume_reading()
                assert (await talker.hear()).text == "held back"
                return
            await until(lambda: not server.connections)
            assert epolls() == before
            assert handler.ends == [1000 if how == "close" else 1006]

    run(main())


def test_a_flood_that_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop without messages has no looks at sockets that rest."""
    monkeypatch.setattr(poller, "REST_ENDS_SECONDS", 0.05)

    async def main() -> None:
        async with served(Flooded()) as server, talking(server) as talker:
            before = epolls()
            await rests(talker, before)
            await until(lambda: epolls() == before)
            await talker.echo()
            assert transport_reads(server) == [False]

    run(main())


class Refusing:
    """An epoll set that takes no socket."""

    def __init__(self) -> None:
        self._real = select_epoll()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def register(self, fd: int, events: int) -> None:
        raise OSError("no memory")


select_epoll = select.epoll


def refuse() -> None:
    raise OSError("no descriptor is left")


@contextmanager
def made_by(epoll: Any) -> Iterator[None]:
    """Have the second set made by this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "epoll", epoll)
        yield


def test_without_a_descriptor_nobody_rests(run: Run) -> None:
    async def main() -> None:
        async with served(Flooded()) as server, talking(server) as talker:
            before = epolls()
            with made_by(refuse):
                await talker.say("flood")
                await talker.echo()
            assert epolls() == before
            assert transport_reads(server) == [False]

    run(main())


def test_without_memory_the_transport_reads(run: Run) -> None:
    async def main() -> None:
        async with served(Flooded()) as server, talking(server) as talker:
            before = epolls()
            with made_by(Refusing):
                await talker.say("flood")
                await until(lambda: transport_reads(server) == [True])
            assert epolls() == before
            await talker.echo()

    run(main())


def test_a_topic_that_lets_many_through(run: Run) -> None:
    """Where the next message is due within some milliseconds, nobody rests."""

    async def main() -> None:
        handler = Flooded()
        async with served(handler) as server, talking(server) as talker:
            before = epolls()
            handler.hub.topic("fast", sample=1000)
            shown: list[int] = []
            handler.do = lambda ws, message: shown.extend(
                handler.hub.publish("fast", "x") for _ in range(1000)
            )
            await talker.say("flood")
            await until(lambda: len(shown) == 1000)
            handler.do = None
            await talker.echo()
            assert epolls() == before

    run(main())
