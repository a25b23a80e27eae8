"""What the clients of one address are replayed is bounded: who comes for more is told when to come back."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request as StarletteRequest

import fastws
from fastws.feed import replay_budget
from fastws.feed.replay_budget import ReplayBudget, peer_of
from fastws.pubsub.replays import ENVELOPE_BYTES
from fastws.testing import ManualLoop, RawClient
from tests.feed.clients import Client
from tests.feed.test_run import SITES, Site
from tests.kit import until
from tests.kit.keepers import workers
from tests.kit.served import served

#: A message as it is kept: with four bytes before it.
SIZE = 996
KEPT = 1000
#: What one of them costs in topic "t".
COST = KEPT + ENVELOPE_BYTES + len("t")
#: A bucket of ten of them.
TEN = 10 * COST
MINUTE = 60.0


@pytest.fixture
def hub(loop: ManualLoop) -> fastws.Hub:
    made = fastws.Hub()
    made.topic("t", history=1000)
    made.topic("keyed", mode="keyed", every=0)
    return made


def fill(loop: ManualLoop, hub: fastws.Hub, count: int, topic: str = "t") -> str:
    """Publish messages; return where the topic was before."""

    async def publish() -> str:
        start = await hub.position(topic)
        for _ in range(count):
            hub.publish(topic, "x" * SIZE)
        return str(start)

    at: str = loop.run(publish())
    return at


def feed_of(hub: fastws.Hub, budget: int | None = TEN, **options: Any) -> fastws.Feed:
    return fastws.Feed(hub, may_subscribe=fastws.anyone, replay_bytes_by_address=budget, **options)


class Page(Client):
    """A client at an address."""

    def __init__(self, loop: ManualLoop, server: Any, address: str = "192.0.2.1", *headers: str) -> None:
        self.loop = loop
        self.raw = RawClient(server, loop, peername=(address, 5) if address else "")
        assert self.raw.upgrade("/feed", *headers).status == 101
        self.said()

    def sub(self, topic: str = "t", **fields: Any) -> dict[str, Any]:
        """Subscribe; return the answer, with what came behind it under ``rest``."""
        answer, *rest = [each for each in self.say(json.dumps({"sub": topic, "id": 1} | fields)) if each]
        return {**answer, "rest": rest}

    def again(self, topic: str = "t", **fields: Any) -> dict[str, Any]:
        self.say(json.dumps({"unsub": topic}))
        self.loop.advance(0.05)  # no more than 50 commands a second
        return self.sub(topic, **fields)


def retry_of(said: dict[str, Any]) -> float:
    """The seconds after which a refused client shall come back."""
    assert "error" in said, said
    assert (said["error"]["code"], said["id"], said["t"]) == ("too_fast", 1, said["t"])
    seconds: float = said["error"]["retry_ms"] / 1000
    return seconds


def count_refusals(monkeypatch: pytest.MonkeyPatch) -> list[fastws.FeedError]:
    """Return a list that grows with each client that a budget refuses."""
    refused: list[fastws.FeedError] = []
    admit = ReplayBudget.admit

    def counted(budget: ReplayBudget, size: int | None, *subjects: Any) -> None:
        try:
            admit(budget, size, *subjects)
        except fastws.FeedError as error:
            refused.append(error)
            raise

    monkeypatch.setattr(ReplayBudget, "admit", counted)
    return refused


def site(loop: ManualLoop, feed: fastws.Feed, **options: Any) -> Any:
    return served(loop, fastws.Route("/feed", feed, http=feed.sse), **options)


class TestHistory:
    def test_who_asks_again_and_again(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        start = fill(loop, hub, 5)
        page = Page(loop, site(loop, feed_of(hub)))
        whole = [page.again(since=start) for _ in range(3)]
        # A few bytes have come back meanwhile, so a third one was let in, which the next ones wait for.
        assert [sum("d" in each for each in said["rest"]) for said in whole] == [5, 5, 5]
        refused = page.again(since=start)
        wait = retry_of(refused)
        assert refused["rest"] == [] and page.said() == []
        assert 20 < wait < 31
        loop.advance(wait - 0.2)
        assert retry_of(page.sub(since=start)) > 0
        loop.advance(0.2)
        assert len(page.sub(since=start)["rest"]) == 6

    def test_nothing_is_lost_by_a_refusal(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        start = fill(loop, hub, 30)
        page = Page(loop, site(loop, feed_of(hub)))
        page.again(since=start)
        wait = retry_of(page.again(since=start))
        hub.publish("t", "between")
        loop.advance(wait)
        said = page.sub(since=start)
        assert said["sync"]["resumed"] is True and said["sync"]["missed"] == 0
        data = [each["d"] for each in said["rest"] if "d" in each]
        assert len(data) == 31 and data[-1] == "between"

    def test_who_is_replayed_nothing_is_let_in(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        start = fill(loop, hub, 20)
        end = str(loop.run(hub.position("t")))
        page = Page(loop, site(loop, feed_of(hub)))
        page.sub(since=start)
        for fields in ({"since": start}, {"recent": 1}, {"since": "other.1:3", "recent": 2}):
            retry_of(page.again(**fields))
        for fields in ({}, {"since": end}, {"recent": 0}, {"since": "other.1:3"}):
            assert "sync" in page.again(**fields), fields
        assert "sync" in page.again("plain")
        assert "sync" in page.again("plain", since="other.1:3", recent=5)

    def test_what_comes_is_as_much_as_was_counted(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        hub.topic("small", history=100)
        for _ in range(100):
            loop.run(self._publish(hub))
        server = site(loop, feed_of(hub, 60_000))
        page = Page(loop, server)
        page.say('{"sub":"small","recent":100,"id":1}')
        sent = len(json.dumps({"t": "small", "at": "abcdefgh.1:50", "d": "x"}, separators=(",", ":"))) * 100
        counted = loop.run(self._size(hub, 100))
        assert sent == pytest.approx(counted, rel=0.25)

    @staticmethod
    async def _publish(hub: fastws.Hub) -> None:
        hub.publish("small", "x")

    @staticmethod
    async def _size(hub: fastws.Hub, recent: int) -> int:
        found: int | None = hub._replay_size("small", None, recent, None)
        assert found is not None
        return found

    def test_who_has_a_rate_is_replayed_one_message(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        start = fill(loop, hub, 20)
        page = Page(loop, site(loop, feed_of(hub)))
        for _ in range(9):
            assert "sync" in page.again(since=start, rate=0.1)
        page.again(since=start, rate=0.1)
        page.again(since=start, rate=0.1)
        retry_of(page.again(since=start, rate=0.1))

    def test_the_declared_recent_counts(self, loop: ManualLoop) -> None:
        hub = fastws.Hub()
        hub.topic("t", history=100, recent=20)
        fill(loop, hub, 50)
        page = Page(loop, site(loop, feed_of(hub)))
        assert len(page.sub()["rest"]) == 21
        retry_of(page.again())
        assert "sync" in page.again(recent=0)


class TestKeys:
    def fill(self, loop: ManualLoop, hub: fastws.Hub, count: int) -> None:
        async def publish() -> None:
            for number in range(count):
                hub.publish("keyed", json="x" * 90, key=f"{number:03}")

        loop.run(publish())
        loop.settle()

    def test_snapshots_and_changes(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        self.fill(loop, hub, 100)
        page = Page(loop, site(loop, feed_of(hub, 9_700)))
        sync = page.sub("keyed")
        assert sync["sync"]["snapshot"] and "snap" in sync["rest"][0]
        retry_of(page.again("keyed"))
        at = sync["sync"]["at"]
        # Nothing has changed since: it costs nothing. Then one key has.
        assert page.again("keyed", since=at)["sync"]["resumed"] is True
        self.fill(loop, hub, 1)
        retry_of(page.again("keyed", since=at))
        loop.advance(MINUTE)
        for _ in range(20):
            assert page.again("keyed", since=at)["sync"]["resumed"] is True

    def test_after_a_clear(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        self.fill(loop, hub, 100)
        page = Page(loop, site(loop, feed_of(hub, 5_000)))
        at = page.sub("keyed")["sync"]["at"]
        loop.run(self._clear(hub))
        assert "sync" in page.again("keyed", since=at)
        assert "sync" in page.again("keyed")

    @staticmethod
    async def _clear(hub: fastws.Hub) -> None:
        hub.clear("keyed")


class TestAddresses:
    def test_each_has_its_own(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        start = fill(loop, hub, 20)
        server = site(loop, feed_of(hub))
        assert "sync" in Page(loop, server).sub(since=start)
        retry_of(Page(loop, server).sub(since=start))  # another connection, the same address
        assert "sync" in Page(loop, server, "192.0.2.2").sub(since=start)
        assert "sync" in Page(loop, server, "2001:db8::1").sub(since=start)
        retry_of(Page(loop, server, "2001:db8::2:1").sub(since=start))
        assert "sync" in Page(loop, server, "2001:db8:0:1::1").sub(since=start)
        retry_of(Page(loop, server, "::ffff:192.0.2.2").sub(since=start))

    def test_behind_a_proxy(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        start = fill(loop, hub, 20)
        server = site(loop, feed_of(hub), proxy_headers=True, forwarded_allow_ips=["10.0.0.0/8"])

        def through(host: str) -> dict[str, Any]:
            return Page(loop, server, "10.0.0.1", f"X-Forwarded-For: {host}").sub(since=start)

        assert "sync" in through("192.0.2.1")
        assert "sync" in through("192.0.2.2")
        retry_of(through("192.0.2.1"))

    def test_none_at_a_unix_socket(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        start = fill(loop, hub, 20)
        page = Page(loop, site(loop, feed_of(hub)), "")
        for _ in range(5):
            assert "sync" in page.again(since=start)

    def test_those_that_were_used_last_are_remembered(
        self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replay_budget, "MAX_ADDRESSES", 3)
        budget = ReplayBudget(100)

        async def come(number: int) -> bool:
            try:
                budget.admit(100, SimpleNamespace(peer=(f"192.0.2.{number}", 1)))
            except fastws.FeedError:
                return False
            return True

        assert [loop.run(come(number)) for number in (1, 2, 3, 1, 4, 5)] == [True] * 3 + [False, True, True]
        assert len(budget._buckets) == 3
        assert not loop.run(come(3))
        assert loop.run(come(1))

    def test_addresses_of_other_frameworks(self) -> None:
        scope = {"type": "http", "client": ["192.0.2.1", 7], "headers": []}
        assert peer_of(StarletteRequest(scope)) == ("192.0.2.1", 7)
        assert peer_of(SimpleNamespace(remote="192.0.2.2")) == ("192.0.2.2", 0)
        assert peer_of(SimpleNamespace(remote=None)) is None
        assert peer_of(object(), SimpleNamespace(remote_address=("192.0.2.3", 8))) == ("192.0.2.3", 8)
        assert peer_of(SimpleNamespace(scope={"client": None}), SimpleNamespace(peer="")) == ""


class TestTurns:
    def test_those_who_are_refused_come_back_one_after_the_other(
        self, loop: ManualLoop, hub: fastws.Hub
    ) -> None:
        start = fill(loop, hub, 4)
        server = site(loop, feed_of(hub))
        pages = [Page(loop, server) for _ in range(10)]
        for page in pages[:3]:
            assert "sync" in page.sub(since=start)
        pages = pages[3:]
        waits = [retry_of(page.sub(since=start)) for page in pages]
        # Of a minute's ten messages each takes four: 24 s. More than a minute is nobody asked to wait.
        assert waits == pytest.approx([12, 36, 60, 12, 36, 60, 12], abs=0.2)
        loop.advance(waits[0])
        assert "sync" in pages[0].sub(since=start)
        loop.advance(waits[1] - waits[0])
        assert "sync" in pages[1].sub(since=start)

    def test_all_are_served_in_the_time_that_the_budget_takes(
        self, loop: ManualLoop, hub: fastws.Hub
    ) -> None:
        start = fill(loop, hub, 1)
        server = site(loop, feed_of(hub))
        waiting = {Page(loop, server): 0.0 for _ in range(40)}
        began = loop.time()
        attempts = 0
        while waiting:
            page = min(waiting, key=lambda each: waiting[each])
            loop.advance(max(waiting[page] - (loop.time() - began), 0))
            attempts += 1
            said = page.sub(since=start)
            if "sync" in said:
                del waiting[page]
            else:
                waiting[page] = loop.time() - began + retry_of(said)
        # 40 messages, of which a bucket of 10 is full at first, and fills in a minute.
        assert loop.time() - began == pytest.approx(3 * MINUTE, rel=0.1)
        assert attempts <= 4 * 40


class TestEvents:
    def test_a_status(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        start = fill(loop, hub, 20)
        server = site(loop, feed_of(hub))

        def get(query: str) -> Any:
            raw = RawClient(server, loop, peername=("192.0.2.1", 5))
            raw.get(f"/feed{query}")
            loop.settle()
            return raw

        assert b" 200 OK" in get(f"?topic=t&since={start}").transport.take_sent()
        refused = get(f"?topic=t&since={start}").response()
        assert refused.status == 429
        seconds = int(refused.headers["retry-after"])
        assert 55 <= seconds <= 61
        assert b" 200 OK" in get("?topic=t").transport.take_sent()
        assert b"too much was replayed" in refused.body
        # Both kinds of client have one budget.
        assert retry_of(Page(loop, server).sub(since=start)) > 0
        loop.advance(seconds)
        assert b" 200 OK" in get(f"?topic=t&since={start}").transport.take_sent()

    def test_a_head_costs_nothing(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        fill(loop, hub, 20)
        server = site(loop, feed_of(hub))
        for _ in range(5):
            raw = RawClient(server, loop, peername=("192.0.2.1", 5))
            raw.get("/feed?topic=t&recent=20", method="HEAD")
            loop.settle()
            assert raw.transport.take_sent().startswith(b"HTTP/1.1 200 OK\r\n")
        assert "sync" in Page(loop, server).sub(recent=20)

    def test_all_topics_of_the_url(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        hub.topic("u", history=10)
        fill(loop, hub, 6)
        fill(loop, hub, 6, "u")
        feed = feed_of(hub)
        server = site(loop, feed)
        raw = RawClient(server, loop, peername=("192.0.2.1", 5))
        raw.get("/feed?topic=t&topic=u&recent=10")
        loop.settle()
        assert raw.transport.take_sent().count(b'"d":') == 12
        retry_of(Page(loop, server).sub(recent=1))

    def test_a_source_without_an_address(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        fill(loop, hub, 30)
        server = site(loop, feed_of(hub))
        for _ in range(3):
            raw = RawClient(server, loop, peername="")
            raw.get("/feed?topic=t&recent=30")
            loop.settle()
            assert raw.transport.take_sent().count(b'"d":') == 30


def test_lists_of_who_is_here(loop: ManualLoop, hub: fastws.Hub) -> None:
    hub.topic("here", presence="list")
    hub.topic("count", presence="count")

    def may_subscribe(client: fastws.FeedClient, topic: str) -> fastws.Grant:
        return fastws.Grant(info="x" * 900)

    server = site(loop, fastws.Feed(hub, may_subscribe=may_subscribe, replay_bytes_by_address=10_000))
    pages = [Page(loop, server, f"192.0.2.{number}") for number in range(10, 20)]
    for page in pages:
        assert "sync" in page.sub("here")
    loop.advance(1)
    last = Page(loop, server)
    for _ in range(2):
        said = last.sub("here")["rest"]
        loop.advance(1)
        assert any("list" in each.get("presence", {}) for each in [*said, *last.said()])
        last.say('{"unsub":"here"}')
    retry_of(last.sub("here"))
    assert "sync" in last.sub("count")


def test_topics_of_the_url_and_of_the_user(loop: ManualLoop, hub: fastws.Hub) -> None:
    fill(loop, hub, 20)
    user = fastws.User("ann", topics=("keyed",))
    feed = feed_of(hub, authenticate=lambda request, token: user)
    server = site(loop, feed)
    Page(loop, server).sub(recent=20)
    loop.run(_put(hub))
    raw = RawClient(server, loop, peername=("192.0.2.1", 6))
    assert raw.upgrade("/feed?topic=t&recent=5").status == 101
    loop.settle()
    said = [json.loads(frame.payload) for frame in raw.frames()]
    assert [each["t"] for each in said if "error" in each] == ["t", "keyed"]
    assert all(each["error"]["retry_ms"] > 0 for each in said if "error" in each)


async def _put(hub: fastws.Hub) -> None:
    hub.publish("keyed", json="x", key="a")


def test_none_is_no_limit(loop: ManualLoop, hub: fastws.Hub) -> None:
    start = fill(loop, hub, 20)
    page = Page(loop, site(loop, feed_of(hub, None)))
    for _ in range(10):
        assert len(page.again(since=start)["rest"]) == 21


def test_the_default_is_more_than_an_office_needs(loop: ManualLoop) -> None:
    """200 pages of one address, each of which resumes with 256 KiB, five times in a minute."""
    budget = fastws.Feed(fastws.Hub(), may_subscribe=fastws.anyone)._settings.replays
    assert budget is not None

    async def storm() -> None:
        for _ in range(5 * 200):
            budget.admit(256 * 1024, SimpleNamespace(peer=("192.0.2.1", 1)))

    loop.run(storm())


@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), (True, TypeError), ("1", TypeError), (1.5, TypeError)],
)
def test_what_cannot_be(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="replay_bytes_by_address"):
        feed_of(fastws.Hub(), value)


@pytest.mark.live
@pytest.mark.parametrize("site", SITES)
async def test_in_each_framework(site: Site) -> None:
    hub = fastws.Hub()
    hub.topic("t", history=100)
    async with hub, site(feed_of(hub, 5_000)) as url:
        for _ in range(10):
            hub.publish("t", "x" * 1000)
        async with fastws.connect(f"{url}?topic=t&recent=10") as ws:
            while "live" not in (said := json.loads(await ws.recv())):
                assert "error" not in said
        async with fastws.connect(f"{url}?topic=t&recent=10") as ws:
            await ws.recv()
            error = json.loads(await ws.recv())["error"]
            assert error["code"] == "too_fast" and error["retry_ms"] > 50_000


@pytest.mark.live
async def test_a_follower_comes_back_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = count_refusals(monkeypatch)
    hub = fastws.Hub()
    hub.topic("t", history=100)
    feed = feed_of(hub, 60_000)
    async with hub, fastws.serve(feed, "127.0.0.1", 0, access_log=False) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        start = await hub.position("t")
        for number in range(10):
            hub.publish("t", f"{number}" + "x" * 6_000)
        for attempt in range(2):  # the second one is refused, and let in after a second
            async with fastws.follow(url, "t", since=start) as events:
                got = []
                async for event in events:
                    if isinstance(event, fastws.Message):
                        got.append(event.message[0])
                    if isinstance(event, fastws.Live):
                        break
                assert got == [str(number) for number in range(10)], attempt
    assert len(refused) == 1


@pytest.mark.live
@pytest.mark.parametrize("mode", ["stream", "keyed"])
async def test_topics_of_which_it_is_not_known_yet_how_much_comes(mode: str) -> None:
    """Of workers, where the keeper has not sent its copy: it counts as soon as that is here."""
    kind: dict[str, Any] = {"mode": "keyed", "history": 0, "every": 0.001} if mode == "keyed" else {}
    async with workers(**kind) as found:
        feed = feed_of(found.all[0].hub, 5_000)
        for number in range(10):
            key = str(number) if mode == "keyed" else None
            await found.all[1].hub.publish_confirmed("t", json="x" * 1000, key=key)
        async with fastws.serve(feed, "127.0.0.1", 0, access_log=False) as server:
            url = f"ws://127.0.0.1:{server.port}/?topic=t&recent=10".replace(
                "&recent=10", "" if mode == "keyed" else "&recent=10"
            )
            async with fastws.connect(url) as ws:
                while "live" not in (said := json.loads(await ws.recv())):
                    assert "error" not in said
            budget: Any = feed._settings.replays
            await until(lambda: bool(budget._buckets))
            async with fastws.connect(url) as ws:
                await ws.recv()
                assert json.loads(await ws.recv())["error"]["code"] == "too_fast"
