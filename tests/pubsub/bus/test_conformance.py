"""What real WebSockets of 1, 2 and 3 members hear is the same: by socket pairs, and by a path."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

import fastws
from fastws.pubsub.bus.group import Group
from tests.kit import until
from tests.kit.buses import Member, members
from tests.live.raw import CLOSE, TEXT, Frame, frame, frames, upgrade

pytestmark = pytest.mark.parametrize("members_of", ["1", "2", "3", "path of 2", "path of 3"], indirect=True)

Open = Callable[..., Any]


@pytest.fixture
def members_of(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens so many members that share a hub."""
    count, by_path = int(request.param[-1]), request.param.startswith("path")

    @asynccontextmanager
    async def by_directory(**options: Any) -> AsyncIterator[list[Member]]:
        groups = [Group(str(tmp_path / "bus")) for _ in range(count)]
        for group in groups:
            await group.start(5)
        yield [Member(group.bus, **options) for group in groups]
        for group in groups:
            await group.close()

    return by_directory if by_path else lambda **options: members(count, **options)


class Room(fastws.Handler):
    """``/a+b`` listens to a and b; a message ``a text`` is published to a, ``!a text`` not to the sender."""

    def __init__(self, hub: fastws.Hub) -> None:
        self.hub = hub

    def on_open(self, ws: fastws.WebSocket) -> None:
        assert ws.request is not None
        for topic in ws.request.path[1:].split("+"):
            self.hub.subscribe(ws, topic)

    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        topic, _, text = str(message).partition(" ")
        self.hub.publish(topic.lstrip("!"), text, exclude=ws if topic.startswith("!") else None)


def in_starlette(hub: fastws.Hub) -> fastws.ASGI:
    async def room(websocket: WebSocket) -> None:
        await websocket.accept()
        with fastws.subscriber(websocket) as me:
            for topic in websocket.url.path[1:].split("+"):
                hub.subscribe(me, topic)
            async for message in websocket.iter_text():
                topic, _, text = message.partition(" ")
                hub.publish(topic.lstrip("!"), text, exclude=me if topic.startswith("!") else None)

    return fastws.ASGI(Starlette(routes=[WebSocketRoute("/{topics}", room)]), lifespan="off")


@asynccontextmanager
async def by_aiohttp(hub: fastws.Hub) -> AsyncIterator[str]:
    async def room(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        with fastws.subscriber(websocket) as me:
            for topic in request.path[1:].split("+"):
                hub.subscribe(me, topic)
            async for message in websocket:
                topic, _, text = message.data.partition(" ")
                hub.publish(topic.lstrip("!"), text, exclude=me if topic.startswith("!") else None)
        return websocket

    app = web.Application()
    app.router.add_get("/{topics}", room)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def by_fastws(app: Any, **settings: Any) -> AsyncIterator[str]:
    async with fastws.serve(app, "127.0.0.1", 0, access_log=False, **settings) as server:
        yield f"ws://127.0.0.1:{server.port}/"


SITES: dict[str, Callable[[fastws.Hub], Any]] = {
    "handler": lambda hub: by_fastws(Room(hub)),
    "starlette": lambda hub: by_fastws(in_starlette(hub)),
    "aiohttp": by_aiohttp,
}


async def listening(hub: fastws.Hub, topic: str, count: int) -> None:
    await until(lambda: hub.count(topic) == count)


async def clients_of(
    stack: AsyncExitStack, found: Sequence[Member], site: Callable[[fastws.Hub], Any], topics: str, count: int
) -> list[fastws.WebSocket]:
    """So many WebSockets at a server of each member, which listen to all of ``topics``."""
    clients = []
    for member in found:
        url = await stack.enter_async_context(site(member.hub))
        for _ in range(count):
            clients.append(await stack.enter_async_context(fastws.connect(url + topics)))
        await listening(member.hub, topics[-1], count)
    return clients


async def all_of(ws: Any, size: int) -> list[str]:
    return [str(await ws.recv()) for _ in range(size)]


@pytest.mark.parametrize("site", SITES)
async def test_each_hears_all_in_the_order_of_each_publisher_over_all_topics(
    members_of: Open, site: str
) -> None:
    async with members_of() as found, AsyncExitStack() as stack:
        clients = await clients_of(stack, found, SITES[site], "t+u", 2)
        for number in range(60):
            for name, ws in enumerate(clients):
                await ws.send(f"{'tu'[number % 3 == 0]} {name} {number:03}")
        for ws in clients:
            heard = await all_of(ws, 60 * len(clients))
            for name in range(len(clients)):
                assert [text for text in heard if text.startswith(f"{name} ")] == [
                    f"{name} {number:03}" for number in range(60)
                ]
        assert await found[0].hub.total("t") == len(clients)


@pytest.mark.parametrize("site", SITES)
async def test_the_sender_alone_is_left_out(members_of: Open, site: str) -> None:
    async with members_of() as found, AsyncExitStack() as stack:
        clients = await clients_of(stack, found, SITES[site], "t", 2)
        for text in ("t 1", "!t 2", "t 3"):
            await clients[0].send(text)
        for ws in clients[1:]:
            assert await all_of(ws, 3) == ["1", "2", "3"]
        assert await all_of(clients[0], 2) == ["1", "3"]


async def test_from_threads(members_of: Open) -> None:
    async with members_of() as found, AsyncExitStack() as stack:
        clients = await clients_of(stack, found, lambda hub: by_fastws(Room(hub)), "t", 1)

        def publish(name: int) -> None:
            for number in range(100):
                found[-1].hub.publish_threadsafe("t", f"{name} {number:03}")

        await asyncio.gather(*[asyncio.to_thread(publish, name) for name in range(3)])
        for ws in clients:
            heard = await all_of(ws, 300)
            for name in range(3):
                own = [text for text in heard if text[0] == str(name)]
                assert own == [f"{name} {number:03}" for number in range(100)]


class Raw:
    """A client that reads when it is told to, and sees the frames as they came."""

    def __init__(self, url: str) -> None:
        self.port = int(url.rpartition(":")[2].strip("/"))
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.settimeout(0)
        self.data = b""

    async def open(self, path: str, *fields: str) -> Raw:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.sock, ("127.0.0.1", self.port))
        await loop.sock_sendall(self.sock, upgrade(path, *fields))
        while b"\r\n\r\n" not in self.data:
            self.data += await loop.sock_recv(self.sock, 4096)
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        return self

    async def read(self, enough: Callable[[list[Frame]], object]) -> list[Frame]:
        """Return the frames that came, as soon as they are enough."""
        found: list[Frame] = []
        while not enough(found):
            more = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 18)
            assert more, "the server has closed"
            self.data += more
            whole = frames(self.data)
            self.data = self.data[sum(each.size for each in whole) :]
            found += whole
        return found


SIZE, SENT = 40_000, 120


@pytest.mark.parametrize("policy", ["evict", "drop_oldest", "drop_newest"])
async def test_a_reader_that_stalls(members_of: Open, policy: str) -> None:
    """The first member publishes; the reader that stalls is a client of the last one."""
    async with members_of(policy=policy) as found, AsyncExitStack() as stack:
        limits = fastws.Limits(send_queue=4)
        app = Room(found[-1].hub)
        url = await stack.enter_async_context(by_fastws(app, limits=limits, socket_send_buffer=100_000))
        other = await stack.enter_async_context(fastws.connect(url + "t"))
        slow = await Raw(url).open("/t")
        await listening(found[-1].hub, "t", 2)
        for number in range(SENT):
            found[0].hub.publish("t", f"{number:04}".ljust(SIZE))
            assert str(await other.recv()).strip() == f"{number:04}"
        assert found[-1].hub.count("t") == (1 if policy == "evict" else 2)
        found[0].hub.publish("t", "last")
        assert await other.recv() == "last"
        if policy == "evict":
            got = await slow.read(lambda all_: all_ and all_[-1].opcode == CLOSE)
            assert got.pop().code == 1008
            texts = [each.payload.decode().strip() for each in got]
            assert texts == [f"{number:04}" for number in range(len(texts))]
            slow.sock.close()
            return
        if policy == "drop_newest":  # what came when nothing had room is not there
            outbox = found[-1].hub.subscribers("t")[-1].outbox
            got = await slow.read(lambda all_: all_ and not outbox.buffered_amount)
            texts = [each.payload.decode().strip() for each in got]
            assert texts == [f"{number:04}" for number in range(len(texts))] and outbox.dropped
        else:
            got = await slow.read(lambda all_: all_ and all_[-1].payload == b"last")
            texts = [each.payload.decode().strip() for each in got]
            assert texts == sorted(set(texts)) and len(texts) < SENT and texts[-2] == f"{SENT - 1:04}"
        slow.sock.close()


@pytest.mark.parametrize(("threshold", "compressed"), [(100, True), (10_000, False)])
async def test_each_member_compresses_for_its_own_clients(
    members_of: Open, threshold: int, compressed: bool
) -> None:
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(
            members_of(compression=fastws.Compression(threshold=threshold))
        )
        async with by_fastws(Room(found[-1].hub)) as url:
            offer = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover"
            raws = [await Raw(url).open("/t", offer), await Raw(url).open("/t")]
            async with fastws.connect(url + "t") as reader:
                await listening(found[-1].hub, "t", 3)
                found[0].hub.publish("t", "word " * 200)
                found[0].hub.publish("t", "tiny")
                assert await all_of(reader, 2) == ["word " * 200, "tiny"]
                for raw, wants in zip(raws, (compressed, False), strict=True):
                    large, tiny = await raw.read(lambda all_: len(all_) == 2)
                    assert (large.rsv == 4, tiny.rsv) == (wants, 0)
                    assert len(large.payload) < 200 if wants else large.payload == b"word " * 200
                    raw.sock.close()


async def test_messages_of_a_turn_merge_and_binary_ones_of_another_member_do_not(
    members_of: Open, caplog: pytest.LogCaptureFixture
) -> None:
    gaps: list[Any] = []

    class Told(Room):
        def on_gap(self, ws: fastws.WebSocket, topic: str, missed: int, reason: str) -> None:
            gaps.append((topic, missed, reason))

    async with members_of() as found:
        hub = found[-1].hub
        hub.topic("t", merge="\n")
        async with by_fastws(Told(hub)) as url, fastws.connect(url + "t") as ws:
            await listening(hub, "t", 1)
            publisher = found[0].hub
            for text in ("one", "zwei", "trois"):
                publisher.publish("t", text)
            assert await ws.recv() == "one\nzwei\ntrois"
            if publisher is hub:
                with pytest.raises(TypeError, match="merges"):
                    publisher.publish("t", b"bytes")
                return
            publisher.publish("t", b"bytes")
            publisher.publish("t", "after")
            assert await ws.recv() == "after"
            assert gaps == [("t", 1, "binary")]
            assert "merges text" in caplog.text


async def test_who_comes_and_goes_is_counted_everywhere(members_of: Open) -> None:
    async with members_of() as found, AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(by_fastws(Room(member.hub))) for member in found]
        clients = [await stack.enter_async_context(fastws.connect(url + "t")) for url in urls]
        for member in found:
            await listening(member.hub, "t", 1)
            assert await member.hub.total("t") == len(found)
        await clients[0].close()
        await listening(found[0].hub, "t", 0)
        for member in found:
            assert await member.hub.total("t") == len(found) - 1


async def test_what_a_client_sends_itself_is_in_order_with_what_it_publishes(members_of: Open) -> None:
    """A foreign frame between two publishes is where the application put it."""
    async with members_of() as found:
        hub = found[-1].hub

        class Speaker(Room):
            def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
                for number in range(3):
                    self.hub.publish("t", f"published {number}")
                    ws.send_nowait(f"sent {number}")

        async with by_fastws(Speaker(hub)) as url:
            raw = await Raw(url).open("/t")
            await listening(hub, "t", 1)
            await asyncio.get_running_loop().sock_sendall(raw.sock, frame(TEXT, b"go"))
            got = await raw.read(lambda all_: len(all_) == 6)
            assert [each.payload.decode() for each in got] == [
                f"{verb} {number}" for number in range(3) for verb in ("published", "sent")
            ]
            raw.sock.close()
