"""The page of the chat rooms: people talk, moderators rule, and a worker that is killed takes nothing."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

import fastws
from tests.browser.chromium import expect
from tests.browser.conftest import SERVER_GONE, Site, Troubles
from tests.workers.processes import pids

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.live]

#: Notes what moves by itself, but for the list of people, which come and go.
SHIFTS = """
window.shifts = [];
const stays = ({ node }) => !(node?.closest ? node : node?.parentElement)?.closest("#people");
new PerformanceObserver((list) => {
    for (const { sources, hadRecentInput } of list.getEntries()) {
        if (!hadRecentInput && sources.some(stays)) shifts.push(sources.map(({ node }) => node?.nodeName));
    }
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
def tls() -> list[object]:
    return []


def enter(page: Page, site: Site, name: str, room: str) -> None:
    page.add_init_script(SHIFTS)
    page.goto(f"{site.url}/rooms/{room}")
    page.get_by_label("Your name", exact=True).fill(name)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_have_text("Connected")
    expect(page.get_by_label("Message", exact=True)).to_be_focused()


def write(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def said(page: Page, *texts: str) -> None:
    expect(page.locator(".said .words")).to_have_text(list(texts))


def test_people_talk(new_page: Callable[..., Page], site: Site) -> None:
    ann, bob = new_page(), new_page()
    enter(ann, site, "Ann", "talk")
    enter(bob, site, "Bob", "talk")
    hostile = "<img src=x onerror=\"document.title = 'taken'\">"
    write(ann, hostile)
    write(bob, "Hello, Ann")
    for page in (ann, bob):
        said(page, hostile, "Hello, Ann")
        expect(page.locator(".said .who")).to_have_text(["Ann", "Bob"])
        assert page.locator("#log img").count() == 0
    for page in (ann, bob):
        expect(page.locator("#members .who")).to_have_text(["Ann", "Bob"])
    bob.get_by_label("Message", exact=True).press_sequentially("and")
    expect(ann.locator("#typing")).to_have_text("Bob is typing")
    expect(ann.locator("#typing")).to_have_text("")
    # Who comes later sees what was said; a name is kept, and may be changed.
    bob.reload()
    said(bob, hostile, "Hello, Ann")
    bob.get_by_role("button", name="Change your name, Bob").click()
    bob.keyboard.type("Robert")
    bob.keyboard.press("Enter")
    expect(bob.get_by_role("status").first).to_have_text("Connected")
    write(bob, "by another name")
    expect(ann.locator(".said .who").last).to_have_text("Robert")


def test_who_opens_a_room_moderates_it_by_the_keyboard(new_page: Callable[..., Page], site: Site) -> None:
    ann, bob = new_page(), new_page()
    enter(ann, site, "Ann", "rules")
    expect(ann.get_by_text("You moderate this room.")).to_be_visible()
    enter(bob, site, "Bob", "rules")
    write(bob, "rude")
    said(ann, "rude")
    assert bob.get_by_role("button", name="Delete this message of Bob").count() == 0
    ann.get_by_role("log").focus()
    ann.keyboard.press("Tab")
    expect(ann.get_by_role("button", name="Delete this message of Bob")).to_be_focused()
    ann.keyboard.press("Enter")
    for page in (ann, bob):
        said(page, "deleted by the moderator")
    ann.get_by_label("Slow mode").select_option("60")
    expect(bob.get_by_label("Slow mode")).to_have_value("60")
    expect(bob.get_by_label("Slow mode")).to_be_disabled()
    write(bob, "one")
    said(ann, "deleted by the moderator", "one")
    write(bob, "two")
    expect(bob.get_by_text("Not sent: one message in 60 s.")).to_be_visible()
    expect(bob.get_by_label("Message", exact=True)).to_have_value("two")
    ann.get_by_role("button", name="Mute Bob for ten minutes").click(force=True)
    write(bob, "three")
    expect(bob.get_by_text("Not sent: you are muted in this room.")).to_be_visible()


def test_a_name_that_cannot_be_is_asked_for_again(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/rooms/names")
    page.get_by_label("Your name", exact=True).fill("An\u202en")
    page.keyboard.press("Enter")
    expect(page.get_by_text("a name has 1 to 24 letters")).to_be_visible()
    page.get_by_label("Your name", exact=True).fill("Ann")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_have_text("Connected")


class Crowd:
    """Plain clients in a thread of their own: each talks, and notes what it hears."""

    def __init__(self, url: str, room: str, count: int, messages: int) -> None:
        self.texts = [[f"{n}: {m}" for m in range(messages)] for n in range(count)]
        self.heard: list[list[str]] = [[] for _ in range(count)]
        self.gaps: list[fastws.Gap] = []
        self._url = url
        self._topic = f"rooms/{room}"
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.talking = threading.Event()

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(self._client(n)) for n in range(len(self.texts))]
            await self._stop.wait()
            for each in clients:
                each.cancel()

    async def _client(self, number: int) -> None:
        token = f"secret-of-nr-{number:>03} nr {number}"
        async with (
            fastws.follow(self._url, self._topic, token=token, recent=100) as events,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._listen(number, events))
            for text in self.texts[number]:
                await events.publish(self._topic, {"text": text}, once=text)
                self.talking.set()
                await asyncio.sleep(0.5)

    async def _listen(self, number: int, events: Any) -> None:
        async for event in events:
            if isinstance(event, fastws.Message):
                self.heard[number].append(event.message["text"])
            elif isinstance(event, fastws.Gap):
                self.gaps.append(event)


def test_a_worker_is_killed_in_the_middle_of_the_talk(
    new_page: Callable[..., Page], start: Callable[..., Site], troubles: Troubles
) -> None:
    """No gap, no double, the same order for all; and nothing on the page moves while it comes back."""
    troubles.provoked = SERVER_GONE
    site = start("--workers", 2, "--log-level", "info")
    ann, bob = new_page(), new_page()
    enter(ann, site, "Ann", "busy")
    enter(bob, site, "Bob", "busy")
    for page in (ann, bob):
        page.evaluate("() => { shifts.length = 0 }")
    with Crowd(f"{site.websocket_url}/feeds/rooms", "busy", 10, 8) as crowd:
        assert crowd.talking.wait(20)
        expected = {text for texts in crowd.texts for text in texts}
        for n in range(4):
            write(ann, f"ann {n}")
            write(bob, f"bob {n}")
            expected |= {f"ann {n}", f"bob {n}"}
            if n == 1:
                os.kill(pids(site.child, 2)[0], signal.SIGKILL)
            ann.wait_for_timeout(600)
        for page in (ann, bob):
            expect(page.locator(".said")).to_have_count(len(expected))
            expect(page.locator("#count")).to_have_text("12", timeout=10_000)
        lists = [page.locator(".said .words").all_text_contents() for page in (ann, bob)]
        for _ in range(200):
            if all(len(heard) >= len(expected) for heard in crowd.heard):
                break
            ann.wait_for_timeout(50)
    assert set(lists[0]) == expected
    assert len(lists[0]) == len(expected)
    assert [*crowd.heard, lists[1]] == [lists[0]] * 11
    assert crowd.gaps == []
    for page in (ann, bob):
        assert page.evaluate("() => shifts") == []
        assert page.locator(".event, .failure").count() == 0


def test_who_takes_the_name_of_another_is_told_apart(new_page: Callable[..., Page], site: Site) -> None:
    ann, other = new_page(), new_page()
    enter(ann, site, "Ann", "names")
    write(ann, "I was here first")
    enter(other, site, "\u00c1nn", "names")
    write(other, "me too")
    for page in (ann, other):
        expect(page.locator(".said .who").first).to_have_text("Ann")
        expect(page.locator(".said .who").last).to_have_text(re.compile("^\u00c1nn#....$"))
        expect(page.locator("#members .tag")).to_have_count(1)


def test_marks_upon_marks_stay_in_their_message(new_page: Callable[..., Page], site: Site) -> None:
    page = new_page()
    enter(page, site, "Ann", "marks")
    write(page, "before")
    write(page, "a" + "\u0301" * 400)
    words = page.locator(".said .words").last
    expect(words).to_have_css("overflow", "clip")
    assert (words.bounding_box() or {"height": 0})["height"] < 60
