"""The pages of docs/missed-messages.md and docs/feed-js.md in a real browser, while their lines are cut."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fastws
from tests.browser.chromium import chromium, require
from tests.docs.pages import ROOT, blocks_of
from tests.docs.story import Story

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: So that a test can end them.
KEEP_SOCKETS = """
    const Plain = WebSocket;
    window.sockets = [];
    window.WebSocket = class extends Plain {
      constructor(...given) {
        super(...given);
        sockets.push(this);
      }
    };
"""

pytestmark = [pytest.mark.browser, pytest.mark.live]


def blocks_of_the_site(page: Path, story: Story) -> None:
    """Write the site's files, and serve it."""
    for block in blocks_of(page):
        if block.kind == "file" or (block.kind == "shell" and block.arguments == ("server",)):
            story.run(block)


def publish(port: str, message: object) -> None:
    """In a thread of its own: playwright has the loop of this one."""

    async def run() -> None:
        async with fastws.follow(f"ws://127.0.0.1:{port}/feed") as feed:
            await feed.publish("rooms/blue", message)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: asyncio.run(run())).result()


def line(window: Page, text: str) -> None:
    window.locator("#log li", has_text=re.compile(f"^{re.escape(text)}$")).wait_for()


def test_twelve_lines(tmp_path: Path) -> None:
    require()
    page = ROOT / "docs" / "missed-messages.md"
    (script,) = [block.code for block in blocks_of(page) if block.language == "javascript"]
    assert len(script.splitlines()) == 12
    with Story(page, tmp_path) as story, chromium() as browser:
        blocks_of_the_site(page, story)
        port = story.port("8080")
        window = browser.new_page()
        window.add_init_script(KEEP_SOCKETS)
        window.goto(f"http://127.0.0.1:{port}/site/room.html")
        publish(port, "first")
        line(window, "first")
        window.evaluate("() => sockets.at(-1).close()")
        publish(port, "second")
        line(window, "second")
        publish(port, "third")
        line(window, "third")
        assert window.evaluate("() => sockets.length") == 2
        assert window.locator("#log li").all_inner_texts() == ["first", "second", "third"]


@pytest.mark.system
def test_feed_js(tmp_path: Path) -> None:
    require()
    page = ROOT / "docs" / "feed-js.md"
    with Story(page, tmp_path) as story, chromium() as browser:
        blocks_of_the_site(page, story)
        port = story.port("8080")
        one, two = browser.new_page(), browser.new_page()
        for window in (one, two):
            window.goto(f"http://127.0.0.1:{port}/site/room.html")
            window.get_by_text("open", exact=True).wait_for()
        one.get_by_label("Message").fill("hello")
        one.keyboard.press("Enter")
        for window in (one, two):
            line(window, "hello")
        (serving,) = [block for block in blocks_of(page) if block.kind == "shell"]
        story.stop()
        one.get_by_text("waiting", exact=True).wait_for()
        story.run(serving)
        for window in (one, two):
            window.get_by_text("open", exact=True).wait_for()
            # The history was in the memory of the process that has ended.
            line(window, "(some messages were missed)")
        two.get_by_label("Message").fill("again")
        two.keyboard.press("Enter")
        for window in (one, two):
            line(window, "again")
