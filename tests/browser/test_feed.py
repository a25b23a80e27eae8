"""``feed.js`` in Chromium: a feed of ours, and lines that end, die in silence, and come back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

import fastws
from tests.browser.chromium import chromium
from tests.browser.conftest import SERVER_GONE, Troubles
from tests.browser.feed_site import PING, FeedSite
from tests.feed.test_replay_budget import count_refusals

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.live]


def user(request: object, token: str | None) -> fastws.User | None:
    return fastws.User("1", public_id="ann") if token == "s3cret" else None


def declare(hub: fastws.Hub) -> None:
    hub.topic("rooms/*", history=10_000)
    hub.topic("quotes", mode="keyed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def start() -> None:
    """No server of the command line is needed here."""


@pytest.fixture
def feed_site() -> Iterator[FeedSite]:
    with FeedSite(declare) as site:
        yield site


def follow(page: Page, site: FeedSite, topic: str) -> None:
    """Open the page, and let it follow a topic until it is live."""
    page.goto(site.url)
    page.wait_for_function("() => window.open_feed")
    page.evaluate(
        """(topic) => {
            open_feed();
            window.sub = feed.subscribe(topic, {
              onmessage: ({ data, at }) => heard.push(data),
              ongap: (gap) => heard.push(["gap", gap.missed, gap.reason]),
            });
        }""",
        topic,
    )
    page.wait_for_function("() => sub.state === 'live'")


def wait_for_messages(page: Page, count: int) -> list[Any]:
    page.wait_for_function("(count) => heard.length >= count", arg=count)
    heard: list[Any] = page.evaluate("() => heard")
    return heard


def test_messages_come_and_go(page: Page) -> None:
    with FeedSite(declare, authenticate=user) as site:
        page.goto(site.url)
        page.wait_for_function("() => window.open_feed")
        said = page.evaluate(
            """async () => {
                open_feed({ token: async () => "s3cret" });
                const sub = feed.subscribe("rooms/1", {
                  onmessage: (message) => heard.push([message.data, message.user]),
                });
                const first = await feed.publish("rooms/1", { text: "hi" }, { once: "1" });
                const again = await feed.publish("rooms/1", { text: "hi" }, { once: "1" });
                return [feed.user, first.dup, again.dup, first.at === again.at];
            }"""
        )
        assert said == ["ann", False, True, True]
        site.call(site.hub.publish, "rooms/1", b"\0\xff")
        page.wait_for_function("() => heard.length === 2")
        heard = page.evaluate("() => [heard[0], [...heard[1][0]]]")
        assert heard == [[{"text": "hi"}, "ann"], [0, 255]]


def test_who_was_replayed_too_much_comes_back(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = count_refusals(monkeypatch)
    with FeedSite(declare, replay_bytes_by_address=60_000) as site:
        page.goto(site.url)
        page.wait_for_function("() => window.open_feed")
        start = str(site.await_(site.hub.position("rooms/1")))
        for number in range(10):
            site.call(site.hub.publish, "rooms/1", f"{number}" + "x" * 6_000)
        # The second one finds the budget spent, and waits for its turn.
        for times in (1, 2):
            page.evaluate(
                """(since) => {
                    open_feed();
                    feed.subscribe("rooms/1", {
                      since,
                      onmessage: ({ data }) => heard.push(data[0]),
                      onend: (reason) => heard.push(reason),
                    });
                }""",
                start,
            )
            heard = wait_for_messages(page, 10 * times)
            assert heard == [str(number) for number in range(10)] * times
    assert len(refused) == 1


def test_a_wrong_token_closes_for_good(page: Page, troubles: Troubles) -> None:
    with FeedSite(declare, authenticate=user) as site:
        page.goto(site.url)
        page.wait_for_function("() => window.open_feed")
        page.evaluate("() => { open_feed({ token: 'wrong' }) }")
        page.wait_for_function("() => feed.state === 'closed'")
        assert page.evaluate("() => [feed.error.code, feed.error instanceof FeedError]") == [4401, True]


def test_a_cut_line_comes_back_and_each_message_once(
    page: Page, feed_site: FeedSite, troubles: Troubles
) -> None:
    troubles.provoked = SERVER_GONE
    follow(page, feed_site, "rooms/1")
    for number in range(30):
        feed_site.call(feed_site.hub.publish, "rooms/1", str(number))
        if number == 10:
            feed_site.call(feed_site.cutter.cut)
    assert wait_for_messages(page, 30) == [str(number) for number in range(30)]


def test_a_line_that_dies_in_silence_is_noticed_and_left(page: Page, feed_site: FeedSite) -> None:
    follow(page, feed_site, "rooms/1")
    feed_site.call(feed_site.hub.publish, "rooms/1", "before")
    wait_for_messages(page, 1)
    page.evaluate("() => { window.died = performance.now() }")
    feed_site.call(feed_site.cutter.silence)
    for number in range(5):
        feed_site.call(feed_site.hub.publish, "rooms/1", f"meanwhile {number}")
    heard = wait_for_messages(page, 6)
    assert heard == ["before", *(f"meanwhile {number}" for number in range(5))]
    noticed, back = page.evaluate(
        "() => ['waiting', 'open'].map((wanted) => states.findLast(([state]) => state === wanted)[1] - died)"
    )
    print(f"ping {PING} s: noticed after {noticed:.0f} ms, back after {back:.0f} ms")
    assert page.evaluate("() => states.map(([state]) => state)") == ["open", "waiting", "connecting", "open"]


def test_a_network_that_is_back_means_a_connection_at_once(
    page: Page, feed_site: FeedSite, troubles: Troubles
) -> None:
    troubles.provoked = SERVER_GONE
    follow(page, feed_site, "rooms/1")
    page.context.set_offline(True)
    page.wait_for_function("() => feed.state === 'waiting'")
    feed_site.call(feed_site.hub.publish, "rooms/1", "meanwhile")
    # Without the event it would be back when this test has long failed.
    page.evaluate("() => window.dispatchEvent(new Event('offline'))")
    page.context.set_offline(False)
    assert wait_for_messages(page, 1) == ["meanwhile"]


KEYS = 500
ROUNDS = 60
#: Times that a tab of a slow machine takes for the same.
THROTTLE = 10

KEYED = """
    () => {
      open_feed();
      window.ages = [];
      window.wrong = 0;
      const newest = new Map();
      window.sub = feed.subscribe("quotes", {
        onchange: ({ set }) => {
          for (const [key, [number]] of Object.entries(set)) {
            if (number < (newest.get(key) ?? -1)) wrong += 1;
            newest.set(key, number);
          }
          document.title = `${sub.values.size} values`;
          const last = Object.values(set).at(-1);
          if (last) ages.push(Date.now() - last[1]);
        },
      });
    }
"""


async def move_quotes(hub: fastws.Hub) -> None:
    """Publish each key 20 times a second."""
    for number in range(ROUNDS):
        for key in range(KEYS):
            hub.publish("quotes", json=[number, time.time() * 1000], key=f"key {key}")
        await asyncio.sleep(0.05)


def test_a_slow_tab_sees_the_newest_values(page: Page) -> None:
    """At 10,000 changes a second. How old they are is printed, and no matter of this test."""
    with FeedSite(lambda hub: hub.topic("quotes", mode="keyed")) as site:
        page.goto(site.url)
        page.wait_for_function("() => window.open_feed")
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": THROTTLE})
        moving = asyncio.run_coroutine_threadsafe(move_quotes(site.hub), site.loop)
        page.wait_for_timeout(100)
        page.evaluate(KEYED)
        moving.result(30)
        page.wait_for_function(
            "([keys, last]) => sub.values.size === keys"
            " && [...sub.values.values()].every(([number]) => number === last)",
            arg=[KEYS, ROUNDS - 1],
        )
        ages, wrong = page.evaluate("() => [ages.slice(5), wrong]")
        assert wrong == 0, "an older value came after a newer one"
        ages.sort()
        median, p99 = ages[len(ages) // 2], ages[len(ages) * 99 // 100]
        print(f"{THROTTLE} times slower: values were {median:.0f} ms old, 99 of 100 at most {p99:.0f} ms")


def test_keyed_values_after_a_cut_are_those_of_the_server(
    page: Page, feed_site: FeedSite, troubles: Troubles
) -> None:
    troubles.provoked = SERVER_GONE
    follow(page, feed_site, "quotes")
    for number in range(40):
        feed_site.call(feed_site.hub.publish, "quotes", json=number, key=f"key {number % 7}")
        if number % 10 == 3:
            feed_site.call(feed_site.hub.remove, "quotes", f"key {number % 7}")
        if number == 20:
            feed_site.call(feed_site.cutter.cut)
    snapshot = feed_site.await_(feed_site.hub.snapshot("quotes"))
    wanted = {key: json.loads(text) for key, text in snapshot.items()}
    page.wait_for_function(
        "(wanted) => sub.values.size === Object.keys(wanted).length"
        " && Object.entries(wanted).every(([key, value]) => sub.values.get(key) === value)",
        arg=wanted,
    )


def test_what_was_forgotten_meanwhile_is_told(page: Page, troubles: Troubles) -> None:
    troubles.provoked = SERVER_GONE
    with FeedSite(lambda hub: hub.topic("rooms/*", history=5)) as site:
        follow(page, site, "rooms/1")
        site.call(site.cutter.cut)
        for number in range(8):
            site.call(site.hub.publish, "rooms/1", str(number))
        heard = wait_for_messages(page, 6)
        assert heard in (
            [["gap", 3, "limit"], "3", "4", "5", "6", "7"],
            # It was quick, and saw all.
            [str(number) for number in range(8)],
        )
