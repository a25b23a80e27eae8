"""Token buckets by key, on the clock of a loop that the test moves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import fastws
from fastws import RateLimit, Request, Response, Route
from tests.feed.clients import Client
from tests.kit import ManualLoop, Recorder
from tests.server.sites import Site


def passes(limit: RateLimit, subject: Any, times: int) -> int:
    """How many of so many attempts pass."""
    return sum(limit.allow(subject) for _ in range(times))


def on(loop: ManualLoop, function: Any, *args: Any) -> Any:
    """Call a function on the loop."""

    async def call() -> Any:
        return function(*args)

    return loop.run(call())


@pytest.mark.parametrize(
    ("rate", "burst", "steps"),
    [
        # After so many seconds more, so many of ten attempts pass.
        ("5/s", None, [(0, 5), (0, 0), (0.2, 1), (0.1, 0), (0.1, 1), (1, 5), (50, 5)]),
        ("1/s", None, [(0, 1), (0.9, 0), (0.1, 1), (10, 1)]),
        ("60/m", 2, [(0, 2), (1, 1), (3, 2)]),
        ("3600/h", 1, [(0, 1), (1, 1), (0.5, 0), (0.5, 1)]),
        ("2/s", 8, [(0, 8), (1, 2), (2, 4), (60, 8)]),
    ],
)
def test_tokens_come_back_at_the_rate(
    rate: str, burst: int | None, steps: list[tuple[float, int]], loop: ManualLoop
) -> None:
    limit = RateLimit(rate, burst=burst)
    for seconds, expected in steps:
        loop.advance(seconds)
        assert on(loop, passes, limit, "ann", 10) == expected


def test_never_more_than_the_bucket_and_the_rate_in_any_time(loop: ManualLoop) -> None:
    limit = RateLimit("10/s")
    times = []
    for _ in range(1000):
        loop.advance(0.013)
        if on(loop, limit.allow, "ann"):
            times.append(loop.time())
    for start, begin in enumerate(times):
        for end in range(start, len(times)):
            assert end - start + 1 <= 10 + 10 * (times[end] - begin) + 0.001


def test_retry_after_is_when_it_passes(loop: ManualLoop) -> None:
    limit = RateLimit("3/m")
    assert on(loop, limit.retry_after, "ann") == 0.0
    assert on(loop, passes, limit, "ann", 9) == 3
    assert on(loop, limit.retry_after, "ann") == pytest.approx(20)
    assert on(loop, limit.retry_after, "ann", 3) == pytest.approx(60)
    loop.advance(15)
    wait = on(loop, limit.retry_after, "ann")
    assert wait == pytest.approx(5)
    loop.advance(wait - 0.01)
    assert not on(loop, limit.allow, "ann")
    loop.advance(0.01)
    assert on(loop, limit.allow, "ann")


def test_several_at_once(loop: ManualLoop) -> None:
    limit = RateLimit("10/s")
    assert on(loop, limit.allow, "ann", 7)
    assert not on(loop, limit.allow, "ann", 4)
    assert on(loop, limit.allow, "ann", 3)
    for count in (0, -1, 11):
        with pytest.raises(ValueError, match="count is from 1 to 10"):
            on(loop, limit.allow, "ann", count)


def test_each_key_has_its_own_bucket(loop: ManualLoop) -> None:
    limit = RateLimit("2/s", key=lambda subject: subject["user"])
    assert on(loop, passes, limit, {"user": "ann", "tab": 1}, 3) == 2
    assert on(loop, passes, limit, {"user": "ann", "tab": 2}, 3) == 0
    assert on(loop, passes, limit, {"user": "bob"}, 3) == 2


@pytest.mark.parametrize(
    ("one", "other", "counts_as_one"),
    [
        (("192.0.2.1", 1), ("192.0.2.1", 2), True),
        (("192.0.2.1", 1), ("192.0.2.2", 1), False),
        (("2001:db8::1", 1, 0, 0), ("2001:db8::2", 1, 0, 0), True),
        (("2001:db8::1", 1, 0, 0), ("2001:db8:1::1", 1, 0, 0), False),
        ("", None, True),
    ],
)
def test_by_default_an_address_is_a_key(one: Any, other: Any, counts_as_one: bool, loop: ManualLoop) -> None:
    limit = RateLimit("1/h")
    assert on(loop, limit.allow, Request(peer=one))
    assert on(loop, limit.allow, Request(peer=other)) is not counts_as_one


class TestMemory:
    def test_keys_are_forgotten_when_their_buckets_are_full(self, loop: ManualLoop) -> None:
        limit = RateLimit("10/s")
        for second in range(20):
            loop.advance(1)
            for number in range(100):
                on(loop, limit.allow, (second, number))
            assert len(limit._fresh) + len(limit._stale) <= 200

    def test_a_key_that_is_forgotten_with_its_bucket_was_full(self, loop: ManualLoop) -> None:
        limit = RateLimit("10/s")
        for _ in range(300):
            loop.advance(0.09)
            taken = on(loop, passes, limit, "ann", 20)
        assert taken <= 1

    def test_no_more_keys_than_it_may_have(self, loop: ManualLoop) -> None:
        limit = RateLimit("1/h", max_keys=10)
        on(loop, limit.allow, "ann")
        for number in range(1000):
            assert on(loop, limit.allow, number)
            assert len(limit._fresh) + len(limit._stale) <= 10
        assert not on(loop, limit.allow, 999)
        assert on(loop, limit.allow, "ann")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        *[
            ((rate,), ValueError, "a rate is a whole number, a slash, and s, m or h")
            for rate in (
                "",
                "5",
                "5/",
                "/s",
                "0/s",
                "-5/s",
                "5.5/s",
                "5/d",
                "5/sec",
                " 5/s",
                "5 / s",
                "٥/s",
                "5/s\n",
            )
        ],
        ((5,), TypeError, "a rate is a text such as '5/s', not 5"),
        (("5/s", "ann"), TypeError, "key= is a function"),
    ],
)
def test_what_it_cannot_be(arguments: tuple[Any, ...], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        RateLimit(*arguments)


@pytest.mark.parametrize("name", ["burst", "max_keys"])
def test_numbers_that_cannot_be(name: str) -> None:
    options: Any = {name: 0}
    with pytest.raises(ValueError, match=f"{name} is at least 1"):
        RateLimit("5/s", **options)
    options = {name: 1.5}
    with pytest.raises(TypeError, match=f"{name} is an int"):
        RateLimit("5/s", **options)


def test_it_needs_a_loop() -> None:
    with pytest.raises(RuntimeError):
        RateLimit("5/s").allow("ann")


class TestRequests:
    def test_as_authorize(self, loop: ManualLoop) -> None:
        site = Site(loop, Route("/", Recorder(), authorize=RateLimit("2/m")))
        answers = [site.client().upgrade("/") for _ in range(3)]
        assert [answer.status for answer in answers] == [101, 101, 429]
        assert answers[2].headers["retry-after"] == "30"
        loop.advance(29.5)
        assert site.client().upgrade("/").headers["retry-after"] == "1"
        loop.advance(0.5)
        assert site.client().upgrade("/").status == 101

    def test_in_a_page(self, loop: ManualLoop) -> None:
        limit = RateLimit("1/s")

        def page(request: Request) -> Response:
            return limit(request) or Response(200, "hello")

        site = Site(loop, Route("/", http=page))
        assert [site.ask("/").status for _ in range(2)] == [200, 429]


async def test_in_a_handler() -> None:
    limit = fastws.RateLimit("3/h")

    async def chat(ws: fastws.WebSocket) -> None:
        async for message in ws:
            await ws.send(message if limit.allow(ws) else f"wait {limit.retry_after(ws):.0f} s")

    async with (
        fastws.serve(chat, "127.0.0.1", 0, access_log=False) as server,
        fastws.connect(f"ws://127.0.0.1:{server.port}") as ws,
    ):
        for number in range(4):
            await ws.send(str(number))
        answers = [await asyncio.wait_for(ws.recv(), 10) for _ in range(4)]
    assert answers[:3] == ["0", "1", "2"]
    assert str(answers[3]).startswith("wait 1")


def test_in_a_hook_of_a_feed(loop: ManualLoop) -> None:
    """The client is told when it may try again; each connection is a key of its own."""
    limit = RateLimit("1/m", burst=2)

    def may_publish(client: fastws.FeedClient, publication: fastws.Publication) -> bool:
        if not limit.allow(client):
            raise fastws.FeedError("too_fast", retry_after=limit.retry_after(client))
        return True

    feed = fastws.Feed(fastws.Hub(), may_subscribe=fastws.anyone, may_publish=may_publish)
    client = Client(loop, feed)
    other = Client(loop, client.server)
    client.said()
    other.said()
    answers = [client.say(f'{{"pub":"t","d":1,"id":"{number}"}}')[-1] for number in range(3)]
    assert ["error" in answer for answer in answers] == [False, False, True]
    assert answers[2]["error"]["code"] == "too_fast"
    assert answers[2]["error"]["retry_ms"] == 60_000
    assert "error" not in other.say('{"pub":"t","d":1,"id":"1"}')[-1]
    loop.advance(60)
    assert "error" not in client.say('{"pub":"t","d":1,"id":"4"}')[-1]
