"""Who may do what on a feed: tokens, users, grants, and hooks that misbehave. The connection stays where it
can."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import fastws
from fastws.testing import ManualLoop
from tests.feed.clients import Client, at


@pytest.fixture
def hub() -> fastws.Hub:
    made = fastws.Hub()
    made.topic("kept/*", history=5)
    return made


USERS = {"a": fastws.User("ann"), "b": fastws.User("bob", public_id="B"), "e": None}


def by_token(request: object, token: str | None) -> fastws.User | None:
    return USERS.get(token or "")


def feed_of(hub: fastws.Hub, **options: Any) -> fastws.Feed:
    return fastws.Feed(hub, **{"may_subscribe": fastws.anyone, "may_publish": fastws.anyone, **options})


class TestTokens:
    def test_a_token_comes_first(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        client = Client(loop, feed_of(hub, authenticate=by_token), "?topic=kept/a")
        assert client.said() == []
        assert client.code('{"sub":"kept/b"}') == "unauthorized"
        hello, sync, _ = client.say('{"auth":"a"}')
        assert hello["hello"]["user"] == "ann"
        assert sync["t"] == "kept/a"

    def test_none_comes(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        client = Client(loop, feed_of(hub, authenticate=by_token))
        loop.advance(9)
        assert client.said() == []
        loop.advance(2)
        assert client.said() == [4401]

    def test_a_wrong_one(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        assert Client(loop, feed_of(hub, authenticate=by_token)).say('{"auth":"x"}') == [4401]

    def test_the_log_can_name_the_user(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        requests: list[fastws.Request] = []

        def may_subscribe(client: fastws.FeedClient, topic: str) -> bool:
            requests.append(client.request)
            return True

        feed = feed_of(hub, authenticate=by_token, may_subscribe=may_subscribe)
        Client(loop, feed).say('{"auth":"b"}', '{"sub":"kept/a"}')
        assert [request.user for request in requests] == [USERS["b"]]

    def test_a_token_where_none_is_wanted(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        client = Client(loop, feed_of(hub))
        client.said()
        assert client.code('{"auth":"a"}') == "bad_request"

    def test_the_request_says_who_it_is(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        def by_cookie(request: fastws.Request, token: str | None) -> fastws.User | None:
            name = request.cookies.get("user")
            return None if name is None else fastws.User(name, topics=("kept/mine",))

        feed = feed_of(hub, authenticate=by_cookie, may_subscribe=lambda client, topic: False)
        client = Client(loop, feed, "", "Cookie: user=ann")
        hello, sync, live = client.said()
        assert hello["hello"]["user"] == "ann"
        assert sync["t"] == live["t"] == "kept/mine"
        client.say('{"unsub":"kept/mine"}')
        assert client.say(f'{{"sub":"kept/mine","since":"{live["live"]}"}}')[0]["sync"]["resumed"] is True

    def test_authors_are_stamped(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        bob = Client(loop, feed_of(hub, authenticate=by_token), "?topic=kept/a")
        sync = bob.say('{"auth":"b"}')[1]
        assert bob.say('{"pub":"kept/a","d":1,"u":"ann"}') == [
            {"t": "kept/a", "at": at(sync, 1), "u": "B", "d": 1}
        ]
        assert bob.say('{"pub":"kept/a","b":"AA=="}')[0]["u"] == "B"
        _, _, *rest = Client(loop, bob.server, f"?topic=kept/a&since={at(sync, 0)}").say('{"auth":"a"}')
        assert [(each.get("u"), each.get("d"), each.get("b")) for each in rest[:2]] == [
            ("B", 1, None), ("B", None, "AA==")
        ]  # fmt: skip

    def test_a_token_is_renewed(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        allowed = {"kept/a", "kept/b"}
        feed = feed_of(hub, authenticate=by_token, may_subscribe=lambda client, topic: topic in allowed)
        client = Client(loop, feed, "?topic=kept/a&topic=kept/b")
        client.say('{"auth":"a"}')
        allowed.remove("kept/b")
        hello, end = client.say('{"auth":"a"}')
        assert "hello" in hello and end == {"t": "kept/b", "end": "revoked"}
        assert (hub.count("kept/a"), hub.count("kept/b")) == (1, 0)
        assert client.say('{"auth":"b"}') == [4403]

    def test_a_renewed_token_may_have_more_topics(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        topics = ["kept/a"]

        def named(request: object, token: str | None) -> fastws.User | None:
            return None if token is None else fastws.User("ann", topics=tuple(topics))

        client = Client(loop, feed_of(hub, authenticate=named, may_subscribe=lambda client, topic: False))
        assert [each["t"] for each in client.say('{"auth":"a"}') if "sync" in each] == ["kept/a"]
        topics[:] = ["kept/b", "kept/c"]
        said = client.say('{"auth":"a"}')
        assert [each["t"] for each in said if "end" in each] == ["kept/a"]
        assert [each["t"] for each in said if "sync" in each] == ["kept/b", "kept/c"]
        client.say('{"unsub":"kept/c"}')
        assert [each for each in client.say('{"auth":"a"}') if "hello" not in each] == []

    def test_a_token_expires(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        def lasting(request: object, token: str | None) -> fastws.User | None:
            return None if token is None else fastws.User("ann", expires_at=time.time() + float(token))

        client = Client(loop, feed_of(hub, authenticate=lasting), "?topic=kept/a")
        assert client.say('{"auth":"60"}')[0]["hello"]["expires"] == 60
        loop.advance(50)
        assert client.say('{"auth":"60"}')[-1]["hello"]["expires"] == 60
        loop.advance(50)
        hub.publish("kept/a", "x")
        assert client.said()[-1]["d"] == "x"
        loop.advance(11)
        assert client.said()[-1] == 4401
        assert Client(loop, feed_of(hub, authenticate=lasting)).say('{"auth":"-1"}') == [4401]

    def test_a_renewed_token_renews_what_was_granted(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        grants = {name: fastws.Grant(expires_at=time.time() + 20) for name in ("kept/a", "kept/b")}
        feed = feed_of(hub, authenticate=by_token, may_subscribe=lambda client, topic: grants[topic])
        client = Client(loop, feed, "?topic=kept/a&topic=kept/b")
        client.say('{"auth":"a"}')
        grants["kept/a"] = fastws.Grant(expires_at=time.time() + 60)
        client.say('{"auth":"a"}')
        loop.advance(30)
        assert [each for each in client.said() if each] == [{"t": "kept/b", "end": "expired"}]

    def test_a_topic_that_ends_while_it_is_asked_for_again_ends_once(
        self, loop: ManualLoop, hub: fastws.Hub
    ) -> None:
        asked: list[str] = []

        async def slowly(client: fastws.FeedClient, topic: str) -> bool | fastws.Grant:
            asked.append(topic)
            if len(asked) == 1:
                return fastws.Grant(expires_at=time.time() + 2)
            await asyncio.sleep(5)
            return False

        client = Client(loop, feed_of(hub, authenticate=by_token, may_subscribe=slowly), "?topic=kept/a")
        client.say('{"auth":"a"}')
        client.say('{"auth":"a"}')
        loop.advance(6)
        assert client.said() == [{"t": "kept/a", "end": "expired"}]


class TestGrants:
    def test_no(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        feed = fastws.Feed(hub, may_subscribe=lambda client, topic: False)
        client = Client(loop, feed, "?topic=kept/a")
        first = client.said()[1]
        second = client.say('{"sub":"no such topic","id":5}')[0]
        assert (first.pop("t"), second.pop("t"), second.pop("id")) == ("kept/a", "no such topic", 5)
        assert first == second == {"error": {"code": "forbidden", "reason": first["error"]["reason"]}}
        assert client.code('{"pub":"kept/a","d":1}') == "forbidden"
        assert client.code('{"pub":"no such topic","d":1}') == "forbidden"

    def test_a_grant_ends(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        feed = feed_of(hub, may_subscribe=lambda client, topic: fastws.Grant(expires_at=time.time() + 20))
        client = Client(loop, feed, "?topic=kept/a")
        client.said()
        loop.advance(21)
        assert client.said()[-1] == {"t": "kept/a", "end": "expired"}
        assert hub.count("kept/a") == 0
        past = feed_of(hub, may_subscribe=lambda client, topic: fastws.Grant(expires_at=1))
        assert Client(loop, past, "?topic=kept/a").said()[1]["error"]["code"] == "forbidden"

    def test_another_publication(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        def shouted(client: fastws.FeedClient, publication: fastws.Publication) -> fastws.Publication:
            return publication.with_value(publication.value.upper())

        client = Client(loop, feed_of(hub, may_publish=shouted), "?topic=kept/a")
        client.said()
        assert client.say('{"pub":"kept/a","d":"hi"}')[0]["d"] == "HI"

    @pytest.mark.parametrize("depth", [10, 200])
    def test_a_value_of_the_application_is_not_too_deep_for_receivers(
        self, loop: ManualLoop, hub: fastws.Hub, depth: int
    ) -> None:
        deep: list[Any] = []
        for _ in range(depth):
            deep = [deep]
        client = Client(
            loop, feed_of(hub, may_publish=lambda client, said: said.with_value(deep)), "?topic=kept/a"
        )
        client.said()
        (answer,) = client.say('{"pub":"kept/a","d":1}')
        if depth == 10:
            assert answer["d"] == deep
        else:
            assert answer["error"]["code"] == "internal"

    def test_once(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        ann = Client(loop, feed_of(hub, authenticate=by_token))
        bob = Client(loop, ann.server)
        ann.say('{"auth":"a"}')
        bob.say('{"auth":"b"}')
        text = '{"pub":"kept/a","d":1,"once":"x","id":1}'
        first, second, other = ann.say(text)[0], ann.say(text)[0], bob.say(text)[0]
        assert (first["ack"]["dup"], second["ack"]["dup"], other["ack"]["dup"]) == (False, True, False)
        assert first["ack"]["at"] == second["ack"]["at"] != other["ack"]["at"]
        assert ann.code('{"pub":"plain","d":1,"once":"x"}') == "bad_request"

    def test_once_of_nobody_in_particular(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        ann = Client(loop, feed_of(hub, authenticate=by_token))
        ann.say('{"auth":"a"}')
        assert ann.say('{"pub":"kept/a","d":1,"once":"x","id":1}')[0]["ack"]["dup"] is False
        nobody = Client(loop, feed_of(hub))
        nobody.said()
        for once in ("x", "ann\\nx", "annx"):
            (answer,) = nobody.say(f'{{"pub":"kept/a","d":1,"once":"{once}","id":1}}')
            assert answer["ack"]["dup"] is False
        assert nobody.say('{"pub":"kept/a","d":1,"once":"x","id":1}')[0]["ack"]["dup"] is True


class Panic(BaseException):
    """As that of pyo3, which is no ``Exception``."""


class TestMisbehaviour:
    @pytest.mark.parametrize("hook", ["may_subscribe", "may_publish", "authenticate"])
    @pytest.mark.parametrize(
        "kind", ["raises", "raises later", "panics", "panics later", "hangs", "is cancelled", "nonsense"]
    )
    def test_the_client_stays_or_comes_back(
        self, loop: ManualLoop, hub: fastws.Hub, hook: str, kind: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        is_broken = True

        async def later() -> object:
            if kind == "raises later":
                raise LookupError("later")
            if kind == "panics later":
                raise Panic("later")
            if kind == "is cancelled":
                raise asyncio.CancelledError
            await asyncio.sleep(1000)
            return True

        def broken(one: object, two: object) -> object:
            if not is_broken:
                return True if hook != "authenticate" else USERS["a"]
            if hook == "authenticate" and two is None:
                return None
            if kind == "raises":
                raise LookupError("now")
            if kind == "panics":
                raise Panic("now")
            return 5 if kind == "nonsense" else later()

        client = Client(loop, feed_of(hub, **{hook: broken}))
        client.said()
        text = {
            "may_subscribe": '{"sub":"t"}',
            "may_publish": '{"pub":"t","d":1}',
            "authenticate": '{"auth":"x"}',
        }
        client.raw.text(text[hook])
        client.raw.text('{"unsub":"other"}')
        said = client.said()
        if kind == "hangs":
            assert said == []
            for _ in range(5):
                loop.advance(2.1)
                said += client.said()
        said = [each for each in said if each]
        is_broken = False
        if hook == "authenticate":
            assert said == [4408]  # a client could not go on, and comes back after this code
            client = Client(loop, client.server)
        else:
            assert said[0]["error"]["code"] == "internal"
            assert "now" not in str(said) and "later" not in str(said)
            assert len(said) == 2
        assert "error" not in str(client.say(text[hook]))
        assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1

    def test_a_timeout_of_its_own(
        self, loop: ManualLoop, hub: fastws.Hub, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def asks(client: object, topic: str) -> bool:
            raise TimeoutError("the database")

        client = Client(loop, feed_of(hub, may_subscribe=asks))
        client.said()
        assert client.code('{"sub":"t"}') == "internal"
        assert caplog.messages == ["the hook asks failed"]

    def test_a_token_that_cannot_be_renewed_now(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        def broken(request: object, token: str | None) -> fastws.User | None:
            if token == "x":
                raise LookupError("now")
            return USERS.get(token or "")

        client = Client(loop, feed_of(hub, authenticate=broken), "?topic=kept/a")
        client.say('{"auth":"a"}')
        assert client.code('{"auth":"x"}') == "internal"
        hub.publish("kept/a", "x")
        assert client.said()[-1]["d"] == "x"

    def test_a_hook_that_says_why(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        def slow_mode(client: object, publication: object) -> bool:
            raise fastws.FeedError("too_fast", "one a minute", 2.5)

        client = Client(loop, feed_of(hub, may_publish=slow_mode))
        client.said()
        assert client.say('{"pub":"kept/a","d":1,"id":"x"}') == [
            {
                "id": "x",
                "t": "kept/a",
                "error": {"code": "too_fast", "reason": "one a minute", "retry_ms": 2500},
            }
        ]

    @pytest.mark.parametrize(
        ("code", "close"),
        [("unauthorized", 4401), ("forbidden", 4403), ("too_fast", 4429), ("bad_request", 4400)],
    )
    def test_authenticate_says_why(self, loop: ManualLoop, hub: fastws.Hub, code: str, close: int) -> None:
        def refuse(request: object, token: str | None) -> fastws.User | None:
            if token is None:
                return None
            raise fastws.FeedError(code, "no")

        assert Client(loop, feed_of(hub, authenticate=refuse)).say('{"auth":"x"}') == [close]

    def test_at_once(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        def refuse(request: object, token: str | None) -> fastws.User | None:
            raise fastws.FeedError("unavailable", "no database")

        assert Client(loop, feed_of(hub, authenticate=refuse)).said() == [4408]

    def test_what_waits_for_a_hook_comes_in_order(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        go_on: list[asyncio.Future[bool]] = []

        def later(client: object, topic: str) -> asyncio.Future[bool]:
            go_on.append(asyncio.get_running_loop().create_future())
            return go_on[-1]

        client = Client(loop, feed_of(hub, may_subscribe=later), "?topic=kept/a")
        client.raw.text('{"pub":"kept/a","d":1,"id":1}')
        assert [*client.said()[0]] == ["hello"]
        go_on.pop().set_result(True)
        assert [next(name for name in each if name != "t") for each in client.said()] == [
            "sync",
            "live",
            "at",
            "id",
        ]

    def test_the_client_goes_meanwhile(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        seen: list[str] = []

        async def later(client: object, topic: str) -> bool:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
            return True

        client = Client(loop, feed_of(hub, may_subscribe=later), "?topic=kept/a")
        client.said()
        client.raw.close()
        client.said()
        assert seen == ["cancelled"]
        assert hub.count("kept/a") == 0

    @pytest.mark.parametrize(
        "changed",
        [
            fastws.Publication("a//b", "1"),
            fastws.Publication("t", "no JSON"),
            fastws.Publication("t", '1},{"d":2'),
            fastws.Publication("t", '1,"u":"somebody else"'),
            fastws.Publication("t", '{"a":1,"a":2}'),
            fastws.Publication("t"),
            fastws.Publication("t", "1", b"1"),
            fastws.Publication("t", remove=True),
        ],
    )
    def test_a_publication_that_nobody_could_read(
        self, loop: ManualLoop, hub: fastws.Hub, changed: fastws.Publication
    ) -> None:
        client = Client(loop, feed_of(hub, may_publish=lambda client, publication: changed), "?topic=t")
        client.said()
        assert client.code('{"pub":"t","d":1}') == "internal"

    def test_a_long_reason(self, loop: ManualLoop, hub: fastws.Hub) -> None:
        def refuse(request: object, token: str | None) -> fastws.User | None:
            raise fastws.FeedError("forbidden", "é" * 100)

        assert Client(loop, feed_of(hub, authenticate=refuse)).said() == [4403]


class TestArguments:
    def test_what_cannot_be(self, hub: fastws.Hub) -> None:
        make: Any = fastws.Feed
        with pytest.raises(TypeError, match="fastws.Hub"):
            make(None, may_subscribe=fastws.anyone)
        with pytest.raises(TypeError, match="may_subscribe= is called with"):
            make(hub, may_subscribe=lambda topic: True)
        with pytest.raises(TypeError, match="may_publish= is called with"):
            make(hub, may_subscribe=fastws.anyone, may_publish=lambda: True)
        with pytest.raises(TypeError, match="authenticate= is called with"):
            make(hub, may_subscribe=fastws.anyone, authenticate=lambda token: None)
        with pytest.raises(ValueError, match="max_topics"):
            make(hub, may_subscribe=fastws.anyone, max_topics=0)
        with pytest.raises(ValueError, match="ping"):
            make(hub, may_subscribe=fastws.anyone, ping=0)
        with pytest.raises(TypeError, match="ping"):
            make(hub, may_subscribe=fastws.anyone, ping="5")

    def test_users(self) -> None:
        assert fastws.User("ann").public_id == "ann"
        make: Any = fastws.User
        for bad in ({"id": ""}, {"id": "a", "public_id": "x" * 126}):
            with pytest.raises(ValueError, match="1 to 125 bytes"):
                make(**bad)
        with pytest.raises(TypeError, match="text"):
            make(5)
        with pytest.raises(TypeError, match="list of names"):
            make("ann", topics="news")
        with pytest.raises(ValueError, match="small letters"):
            fastws.FeedError("Too Fast")
        with pytest.raises(TypeError, match="5 is none"):
            make("ann", topics=("news", 5))
        with pytest.raises(ValueError, match="has a \\*"):
            make("ann", topics=("news", "rooms/*"))

    def test_refusals(self) -> None:
        error: Any = fastws.FeedError
        for bad in ({"reason": 5}, {"retry_after": "1"}, {"retry_after": True}):
            with pytest.raises(TypeError, match="not (5|'1'|True)"):
                error("internal", **bad)
        for seconds in (float("nan"), float("inf"), -1, 1e300, 10**400):
            with pytest.raises(ValueError, match="retry_after is"):
                error("internal", retry_after=seconds)
        with pytest.raises(ValueError, match="surrogates"):
            error("internal", "\ud800")

    def test_numbers_that_cannot_be(self) -> None:
        """A grant until NaN would never end, and one of -1 a second would be of any number."""
        user: Any = fastws.User
        grant: Any = fastws.Grant
        for make in (lambda **options: user("ann", **options), grant):
            for when in ("soon", True):
                with pytest.raises(TypeError, match="expires_at is a number"):
                    make(expires_at=when)
            for when in (float("nan"), float("inf"), 10**400):
                with pytest.raises(ValueError, match="expires_at is a finite number"):
                    make(expires_at=when)
        for rate in (0, -1, float("nan"), float("inf"), 10**400):
            with pytest.raises(ValueError, match="max_rate is"):
                grant(max_rate=rate)
        with pytest.raises(TypeError, match="max_rate is a number"):
            grant(max_rate="5")


class Elsewhere(fastws.Hub):
    """A hub whose messages are numbered by another process, in a second or never."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error
        self.published = 0

    async def _publish_noted(self, *given: object) -> None:
        if self.error is not None:
            raise self.error
        await asyncio.get_running_loop().create_task(self._number())

    async def _number(self) -> None:
        await asyncio.sleep(1)
        self.published += 1


class TestPublishingThatWaits:
    def test_it_goes_on_without_its_client(self, loop: ManualLoop) -> None:
        hub = Elsewhere()
        client = Client(loop, feed_of(hub))
        client.said()
        client.raw.text('{"pub":"kept/a","d":1,"id":1}')
        client.raw.close()
        client.said()
        loop.advance(2)
        assert hub.published == 1

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (TimeoutError(), "unavailable"),
            (fastws.BrokerUnavailable("x"), "unavailable"),
            (KeyError(), "internal"),
        ],
    )
    def test_it_fails(self, loop: ManualLoop, error: Exception, code: str) -> None:
        client = Client(loop, feed_of(Elsewhere(error)))
        client.said()
        assert client.code('{"pub":"kept/a","d":1,"id":1}') == code
        assert client.say('{"unsub":"t"}') == [{"t": "t", "end": "unsub"}]
