"""What ``fastws.follow`` publishes, and the tokens that it sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import fastws
from fastws import Position, Published
from tests.feed.scripted import ScriptedFeed, scripted_feed

QUICK = fastws.Backoff(0.001, limit=0.01)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedFeed]:
    async with scripted_feed() as feed:
        yield feed


async def test_an_ack_is_the_answer(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url) as feed:
        publishing = asyncio.create_task(feed.publish("a", {"text": "hi"}, once="id"))
        peer = await server.next()
        peer.hello()
        assert await peer.heard("pub") == [{"pub": "a", "d": {"text": "hi"}, "once": "id"}]
        peer.ack("e:7", dup=True)
        assert await publishing == Published(Position("e", 7), duplicate=True)
        # Without topics there are no events.
        assert [event async for event in feed] == []


async def test_the_fields_of_a_command(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url) as feed:
        peer = await server.next()
        peer.hello()
        for publish, said in (
            (feed.publish("q", [1], key="k"), {"pub": "q", "d": [1], "k": "k"}),
            (feed.publish("q", key="k", remove=True), {"pub": "q", "k": "k", "rm": True}),
            (feed.publish("q", b"\0\xff"), {"pub": "q", "b": "AP8="}),
            (feed.publish("q", None), {"pub": "q", "d": None}),
        ):
            publishing = asyncio.create_task(publish)
            assert await peer.heard("pub") == [said]
            peer.ack(None)
            assert (await publishing).at is None


async def test_an_error_is_the_answer_too(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url) as feed:
        publishing = asyncio.create_task(feed.publish("a", 1))
        peer = await server.next()
        peer.hello()
        await peer.heard("pub")
        error = {"code": "too_fast", "reason": "one a second", "retry_ms": 800}
        peer.says({"id": peer.id, "t": "a", "error": error})
        with pytest.raises(fastws.FeedError, match="too_fast: one a second") as refused:
            await publishing
        assert refused.value.retry_after == 0.8


async def test_what_no_feed_takes_is_not_sent(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url) as feed:
        peer = await server.next()
        peer.hello()
        with pytest.raises(fastws.FeedError, match="too_large: a command has at most 65536 bytes"):
            await feed.publish("a", "\u00e9" * 33_000)
        publishing = asyncio.create_task(feed.publish("a", 1))
        assert await peer.heard("pub") == [{"pub": "a", "d": 1}]
        peer.ack(None)
        await publishing


async def test_no_answer_is_an_error_after_a_while(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url) as feed:
        with pytest.raises(TimeoutError, match=r"within 0\.02 s"):
            await feed.publish("a", 1, timeout=0.02)
        peer = await server.next()
        peer.hello()
        with pytest.raises(TimeoutError):
            await feed.publish("a", 1, timeout=0.02)
        await peer.heard("pub")
        peer.ack()  # too late: it is nobody's
        publishing = asyncio.create_task(feed.publish("a", 2))
        await peer.heard("pub")
        peer.ack("e:9")
        assert (await publishing).at == Position("e", 9)


async def test_what_is_no_json(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url) as feed:
        with pytest.raises(TypeError):
            await feed.publish("a", object())


async def test_what_was_not_answered_is_lost_but_for_once(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url, backoff=QUICK) as feed:
        peer = await server.next()
        peer.hello()
        plain = asyncio.create_task(feed.publish("a", 1))
        await peer.heard("pub")
        once = asyncio.create_task(feed.publish("a", 2, once="id"))
        await peer.heard("pub")
        await peer.end()
        with pytest.raises(fastws.FeedError, match="lost") as lost:
            await plain
        assert lost.value.code == "lost"
        peer = await server.next()
        peer.hello()
        assert await peer.heard("pub") == [{"pub": "a", "d": 2, "once": "id"}]
        peer.ack(dup=True)
        assert (await once).duplicate


async def test_a_connection_that_has_just_ended_is_not_asked(server: ScriptedFeed) -> None:
    """Its end is behind events that nobody takes; and who publishes lets others run."""
    async with fastws.follow(server.url, "a", buffer=1, backoff=QUICK) as feed:
        peer = await server.greeted("sub")
        for number in range(100):
            peer.data("a", f"e:{number + 1}", number)
        await anext(feed)
        assert feed._line is not None
        (await feed._line._open).close_nowait()
        publishing = asyncio.create_task(feed.publish("a", 1, timeout=30))
        peer = await server.greeted("sub")
        await peer.heard("pub")
        peer.ack("e:101")
        assert (await publishing).at == Position("e", 101)


async def test_a_function_brings_each_connection_its_token(server: ScriptedFeed) -> None:
    tokens = iter(["first", "second", "third"])

    async def token() -> str:
        return next(tokens)

    async with fastws.follow(server.url, token=token, backoff=QUICK):
        peer = await server.next()
        assert await peer.heard("auth") == [{"auth": "first"}]
        await peer.end(4401)
        peer = await server.next()
        assert await peer.heard("auth") == [{"auth": "second"}]
        # In time, and on the connection that there is.
        peer.hello(expires=0.01)
        assert await peer.heard("auth") == [{"auth": "third"}]


async def test_each_renewal_begins_the_next(server: ScriptedFeed, caplog: pytest.LogCaptureFixture) -> None:
    tokens = iter(["first", "second", "third"])

    async def token() -> str:
        try:
            return next(tokens)
        except StopIteration:
            raise OSError("no network") from None

    async with fastws.follow(server.url, token=token, backoff=QUICK):
        peer = await server.next()
        await peer.heard("auth")
        for wanted in ("second", "third"):
            peer.hello(expires=0.01)
            assert await peer.heard("auth") == [{"auth": wanted}]
        # A token that cannot be had is told, and the server's close brings the next attempt.
        peer.hello(expires=0.01)
        while "no network" not in caplog.text:
            await asyncio.sleep(0.001)


async def test_without_a_token_nothing_is_said(server: ScriptedFeed) -> None:
    async with fastws.follow(server.url, "a", token=lambda: None):
        assert await (await server.next()).heard("sub") == [{"sub": "a"}]


async def test_a_token_that_cannot_be_had(server: ScriptedFeed) -> None:
    asked = 0

    def token() -> str:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise ConnectionRefusedError("no network")
        return "t"

    async with fastws.follow(server.url, token=token, backoff=QUICK):
        assert await (await server.next()).heard("auth") == [{"auth": "t"}]

    def broken() -> str:
        raise ValueError("a bug")

    async with fastws.follow(server.url, "a", token=broken) as feed:
        with pytest.raises(ValueError, match="a bug"):
            await anext(feed)


class Panic(BaseException):
    """As that of pyo3, which is no ``Exception``."""


@pytest.mark.parametrize("error", [Panic("no memory"), asyncio.CancelledError()])
async def test_a_token_function_may_raise_anything(server: ScriptedFeed, error: BaseException) -> None:
    async def token() -> str:
        raise error

    async with fastws.follow(server.url, "a", token=token) as feed:
        with pytest.raises(RuntimeError, match="there is no token: "):
            await anext(feed)
