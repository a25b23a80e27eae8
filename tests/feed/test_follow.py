"""``fastws.follow``: events, what becomes of a connection that is lost, and what is final."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

import fastws
from fastws import Ended, Gap, Live, Member, Message, Position, Presence, Removed, Synced
from tests.feed.scripted import ScriptedFeed, scripted_feed

QUICK = fastws.Backoff(0.001, limit=0.01)
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@pytest.fixture
async def server() -> AsyncIterator[ScriptedFeed]:
    async with scripted_feed() as feed:
        yield feed


def at(offset: int, epoch: str = "e") -> Position:
    return Position(epoch, offset)


async def take(feed: fastws.FeedFollower, count: int) -> list[Any]:
    return [await anext(feed) for _ in range(count)]


async def test_each_message_of_the_server_is_an_event(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url, "a", "q", recent=5, rate=2.5) as feed:
        peer = await server.next()
        assert await peer.heard("sub", "sub") == [
            {"sub": "a", "recent": 5, "rate": 2.5},
            {"sub": "q", "recent": 5, "rate": 2.5},
        ]
        peer.hello()
        peer.sync("a", resumed=False, missed=None, reason="epoch")
        peer.says(
            {"t": "a", "at": "e:1", "u": "ann", "d": {"n": 2**64}},
            {"t": "a", "at": "e:2", "b": "AP8="},
            {"t": "a", "live": "e:2"},
            {"t": "a", "gap": {"missed": None, "reason": "bus"}},
            {"t": "a", "presence": {"count": 1, "list": [{"id": "ann", "n": 2, "info": [1]}]}},
            {"t": "a", "presence": {"count": 1, "join": [{"id": "bob"}], "leave": ["ann"]}},
            {},
            {"t": "a", "later": 1},
            {"later": 1},
            {"t": "unknown", "d": 1},
        )
        peer.sync("q", "e:7", snapshot=True)
        peer.says(
            {"t": "q", "snap": {"x": 1, "y": 2}},
            {"t": "q", "live": "e:7"},
            {"t": "q", "set": {"x": 3}, "rm": ["y"]},
            {"t": "q", "clear": True},
            {"t": "q", "end": "revoked"},
        )
        assert await take(feed, 15) == [
            Synced("a", at(0), resumed=False, missed=None, reason="epoch"),
            Message("a", {"n": 2**64}, at(1), user="ann"),
            Message("a", b"\0\xff", at(2)),
            Live("a", at(2)),
            Gap("a", None, "bus"),
            Presence("a", 1, (Member("ann", 2, [1]),)),
            Presence("a", 1, joined=(Member("bob"),), left=("ann",)),
            Synced("q", at(7), snapshot=True),
            Message("q", 1, None, "x"),
            Message("q", 2, None, "y"),
            Live("q", at(7)),
            Message("q", 3, None, "x"),
            Removed("q", "y", None),
            Removed("q", None, None),
            Ended("q", "revoked"),
        ]


async def test_it_comes_back_where_it_was(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url, "a", "b", "q", since={"b": "e:7"}, backoff=QUICK) as feed:
        peer = await server.next()
        assert (await peer.heard("sub", "sub", "sub"))[1] == {"sub": "b", "since": "e:7"}
        peer.hello()
        peer.sync("a")
        peer.data("a", "e:1", "one")
        peer.sync("b", "e:7", resumed=True)
        peer.sync("q", "e:5", snapshot=True)
        peer.says({"t": "q", "snap": {"x": 1}})
        await peer.end()
        peer = await server.next()
        # A part of a snapshot is no position.
        assert await peer.heard("sub", "sub", "sub") == [
            {"sub": "a", "since": "e:1"},
            {"sub": "b", "since": "e:7"},
            {"sub": "q"},
        ]
        peer.hello()
        peer.sync("a", "e:1", resumed=True)
        peer.data("a", "e:2", "two")
        events = await take(feed, 7)
        assert [event.message for event in events if isinstance(event, Message)] == ["one", 1, "two"]
        assert feed.positions == {"a": at(2), "b": at(7)}


async def test_a_topic_that_the_server_begins_by_itself_goes_on_where_it_was(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url, "a", since="e:8") as feed:
        peer = await server.greeted("sub")
        peer.sync("a", "e:9")  # for its user, before it asked
        peer.says({"id": peer.id, "t": "a", "error": {"code": "subscribed", "reason": ""}})
        peer.data("a", "e:10", 10)
        assert await peer.heard("unsub", "sub") == [{"unsub": "a"}, {"sub": "a", "since": "e:8"}]
        peer.says({"t": "a", "end": "unsub"})
        peer.sync("a", "e:8", resumed=True)
        peer.data("a", "e:9", 9)
        assert await take(feed, 2) == [Synced("a", at(8), resumed=True), Message("a", 9, at(9))]


async def test_positions_are_those_of_what_was_taken(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url, "a", "q", since={"a": at(3)}) as feed:
        assert feed.positions == {"a": at(3)}
        peer = await server.greeted("sub", "sub")
        peer.sync("a", "e:3", resumed=True)
        peer.data("a", "e:4", 4)
        peer.sync("q", "e:9", snapshot=True)
        peer.says({"t": "q", "snap": {"x": 1}}, {"t": "q", "live": "e:9"})
        await take(feed, 2)
        assert feed.positions == {"a": at(4)}
        await take(feed, 2)
        assert feed.positions == {"a": at(4)}
        await take(feed, 1)
        assert feed.positions == {"a": at(4), "q": at(9)}
    assert feed.positions == {"a": at(4), "q": at(9)}


async def test_a_topic_that_keeps_nothing_has_no_position(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url, "a", backoff=QUICK) as feed:
        peer = await server.greeted("sub")
        peer.sync("a", None)
        peer.says({"t": "a", "live": None})
        peer.data("a", None, 1)
        assert await take(feed, 3) == [Synced("a", None), Live("a", None), Message("a", 1, None)]  # type: ignore[arg-type]
        assert feed.positions == {}
        await peer.end()
        peer = await server.next()
        assert await peer.heard("sub") == [{"sub": "a"}]


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1012, 4399, 4408, 4429, 4500])
async def test_codes_that_pass(server: ScriptedFeed, code: int) -> None:
    async with fastws.follow(server.url, "a", backoff=QUICK):
        await (await server.greeted("sub")).end(code)
        await server.next()


@pytest.mark.parametrize("code", [4400, 4401, 4403, 4499])
async def test_codes_that_are_final(server: ScriptedFeed, code: int) -> None:
    async with fastws.follow(server.url, "a", token="text") as feed:
        peer = await server.greeted("auth", "sub")
        waiting = asyncio.create_task(feed.publish("a", 1))
        await peer.heard("pub")
        await peer.end(code, "not you")
        raised = []
        for _ in range(2):
            with pytest.raises(fastws.ConnectionClosedError, match="not you") as closed:
                await anext(feed)
            assert (closed.value.code, closed.value.by_peer) == (code, True)
            raised.append(closed.value)
        assert raised[0] is not raised[1]
        with pytest.raises(fastws.FeedError, match="lost"):
            await waiting
        with pytest.raises(fastws.ConnectionClosedError, match="not you"):
            await feed.publish("a", 1)


async def test_a_message_that_is_too_big_is_final(server: ScriptedFeed) -> None:
    """It would come again after each reconnect."""
    async with fastws.follow(server.url, "a", limits={"max_message_size": 1000}) as feed:
        peer = await server.greeted("sub")
        peer.data("a", "e:1", "x" * 1000)
        with pytest.raises(fastws.ConnectionClosedError) as closed:
            await anext(feed)
        assert closed.value.code == 1009


async def test_what_came_before_the_end_is_brought_first(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url, "a") as feed:
        peer = await server.greeted("sub")
        peer.sync("a")
        peer.data("a", "e:1", 1)
        await peer.end(4403)
        await take(feed, 2)
        with pytest.raises(fastws.ConnectionClosedError):
            await anext(feed)


async def test_a_refused_topic_is_an_error(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url, "a") as feed:
        peer = await server.greeted("sub")
        peer.says({"id": peer.id, "t": "a", "error": {"code": "forbidden", "reason": "not yours"}})
        with pytest.raises(fastws.FeedError, match="topic 'a': not yours") as refused:
            await anext(feed)
        assert refused.value.code == "forbidden"


async def test_a_topic_that_is_refused_for_now_is_asked_for_again(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url, "a") as feed:
        peer = await server.greeted("sub")
        peer.says({"id": peer.id, "t": "a", "error": {"code": "too_fast", "reason": "", "retry_ms": 1}})
        assert await peer.heard("sub") == [{"sub": "a"}]
        peer.sync("a")
        assert await anext(feed) == Synced("a", at(0))


async def test_the_iteration_ends_with_the_last_topic(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url, "a", "b") as feed:
        peer = await server.greeted("sub", "sub")
        peer.says({"t": "a", "end": "revoked"}, {"t": "b", "end": "expired"})
        assert [event async for event in feed] == [Ended("a", "revoked"), Ended("b", "expired")]


@pytest.mark.parametrize("text", ["hello", "{}", "[]", '{"sub":"a"}', '{"t":"a","d":1}', b"{}"], ids=repr)
async def test_a_server_that_is_no_feed(server: ScriptedFeed, text: str | bytes) -> None:
    async with fastws.follow(server.url, "a") as feed:
        peer = await server.next()
        peer.ws.send_nowait(text)
        with pytest.raises(fastws.FeedError, match="is no feed"):
            await anext(feed)


@pytest.mark.parametrize("said", [{"t": "a", "live": "none"}, {"t": "a", "gap": 1}])
async def test_what_breaks_the_protocol_is_final(server: ScriptedFeed, said: dict[str, Any]) -> None:
    async with fastws.follow(server.url, "a") as feed:
        peer = await server.greeted("sub")
        peer.says(said)
        with pytest.raises(fastws.FeedError, match="protocol"):
            await anext(feed)


async def test_a_server_that_is_not_there_yet(unused_tcp_port: int) -> None:
    async with fastws.follow(f"ws://127.0.0.1:{unused_tcp_port}", "a", backoff=QUICK) as feed:
        waiting = asyncio.create_task(take(feed, 1))
        await asyncio.sleep(0.02)

        async def handler(ws: fastws.WebSocket) -> None:
            await ws.send('{"hello":{"v":1,"id":"c","ping":10}}')
            await ws.send('{"t":"a","sync":{"at":"e:1"}}')
            await ws.wait_closed()

        async with fastws.serve(handler, "127.0.0.1", unused_tcp_port):
            assert await waiting == [Synced("a", at(1))]


async def test_a_refused_handshake_is_final() -> None:
    route = fastws.Route("/feed", fastws.Handler(), authorize=lambda request: fastws.Response(403))
    async with fastws.serve(route, "127.0.0.1") as refusing:
        feed = fastws.follow(f"ws://127.0.0.1:{refusing.port}/feed", "a")
        async with feed:
            with pytest.raises(fastws.HandshakeRefused, match="403"):
                await anext(feed)


async def test_a_line_that_dies_in_silence() -> None:
    """Its pings get no pong, and it comes back long before TCP would say anything."""
    connections: asyncio.Queue[None] = asyncio.Queue()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.put_nowait(None)
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key.split(b":")[1].strip() + GUID).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        hello = b'{"hello":{"v":1,"id":"c","ping":10}}'
        writer.write(bytes([0x81, len(hello)]) + hello)
        await reader.read()  # to its end: pings too
        writer.close()

    pings = {"ping_interval": 0.02, "ping_timeout": 0.02}
    server = await asyncio.start_server(swallow, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    try:
        async with fastws.follow(f"ws://127.0.0.1:{port}", "a", backoff=QUICK, timeouts=pings):
            for _ in range(3):
                await connections.get()
    finally:
        server.close()
        await server.wait_closed()


async def test_it_reads_no_further_than_its_buffer(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url, "a", buffer=10, limits={"receive_queue": 1}) as feed:
        peer = await server.greeted("sub")
        sent = 0
        while peer.ws.buffered_amount == 0:
            peer.data("a", f"e:{sent + 1}", "x" * 10_000)
            sent += 1
            await asyncio.sleep(0)
        published = asyncio.create_task(feed.publish("a", 1, timeout=30))
        numbers = []
        # An answer comes past a full buffer.
        await peer.heard("pub")
        peer.ack()
        await published
        while len(numbers) < sent:
            event = await anext(feed)
            assert isinstance(event, Message) and event.at is not None
            numbers.append(event.at.offset)
        assert numbers == list(range(1, sent + 1))


async def test_misuse(server: ScriptedFeed) -> None:
    feed = fastws.follow(server.url, "a")
    with pytest.raises(RuntimeError, match="in its block"):
        await anext(feed)
    with pytest.raises(RuntimeError, match="in its block"):
        await feed.publish("a", 1)
    async with feed:
        with pytest.raises(RuntimeError, match="used already"):
            async with feed:
                pass
        first = asyncio.create_task(take(feed, 1))
        await asyncio.sleep(0)
        with pytest.raises(fastws.ConcurrencyError):
            await anext(feed)
        first.cancel()
        peer = await server.greeted("sub")
        peer.sync("a")
        # Cancelling a step has lost nothing.
        assert await take(feed, 1) == [Synced("a", at(0))]
    with pytest.raises(RuntimeError, match="in its block"):
        await anext(feed)


async def test_leaving_the_block_wakes_who_waits(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url, "a") as feed:
        taking = asyncio.create_task(take(feed, 1))
        publishing = asyncio.create_task(feed.publish("a", 1))
        peer = await server.greeted("sub")
        await peer.heard("pub")
    for task in (taking, publishing):
        with pytest.raises(RuntimeError, match="in its block"):
            await task
    assert peer.ws.closed or await peer.ws.wait_closed() is None
    assert peer.ws.close_code == 1000


async def test_a_follower_can_be_used_again(server: ScriptedFeed) -> None:
    feed = fastws.follow(server.url, "a")
    for since in ({}, {"since": "e:1"}):
        async with feed:
            peer = await server.next()
            assert await peer.heard("sub") == [{"sub": "a"} | since]
            peer.hello()
            peer.sync("a", "e:0", resumed=True if since else None)
            peer.data("a", "e:1", 1)
            await take(feed, 2)


@pytest.mark.parametrize(
    ("topics", "arguments", "error"),
    [
        (("a", "a"), {}, ValueError),
        (("a",), {"since": "garbage"}, ValueError),
        (("a", "b"), {"since": "e:1"}, ValueError),
        (("a",), {"since": {"b": "e:1"}}, ValueError),
        ((), {"since": "e:1"}, ValueError),
        (("a",), {"recent": -1}, ValueError),
        (("a",), {"rate": 0}, ValueError),
        (("a",), {"buffer": 0}, ValueError),
        (("a",), {"token": 7}, TypeError),
        (("a",), {"handler": print}, TypeError),
        (("a",), {"nothing": 1}, TypeError),
        (("a",), {"limits": {"nothing": 1}}, TypeError),
    ],
    ids=repr,
)
def test_bad_arguments(topics: tuple[str, ...], arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        fastws.follow("ws://127.0.0.1", *topics, **arguments)


def test_a_bad_url() -> None:
    with pytest.raises(fastws.InvalidURL):
        fastws.follow("http://127.0.0.1/", "a")
