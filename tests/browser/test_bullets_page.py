"""The page of the bullet comments, for the eye, for the keyboard, and for who wants no motion."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

import fastws
from tests.browser.chromium import expect
from tests.browser.conftest import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.live]


@pytest.fixture(scope="module")
def tls() -> list[object]:
    return []


def open_bullets(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/bullets")
    expect(page.get_by_role("status").first).to_have_text("Connected")


def test_what_one_says_flies_for_all_and_is_marked_for_oneself(
    new_page: Callable[..., Page], site: Site
) -> None:
    ann, bob = new_page(), new_page()
    for page in (ann, bob):
        open_bullets(page, site)
        page.get_by_label("As a list").check()
    ann.get_by_role("radio", name="pink").check()
    ann.get_by_label("Comment", exact=True).focus()
    ann.keyboard.type("<b>my own</b>")
    ann.keyboard.press("Enter")
    expect(ann.locator(".bullet.own.pink")).to_have_text("<b>my own</b>")
    expect(ann.locator("#words .own")).to_have_text("<b>my own</b>")
    # It may be left out for others, of the robots' flood; not for who said it.
    assert bob.locator(".own").count() == 0
    expect(ann.get_by_label("Comment", exact=True)).to_have_value("")
    ann.evaluate(
        "() => { for (let n = 0; n < 30; n += 1) {"
        " document.getElementById('text').value = `${n}`;"
        " document.getElementById('form').requestSubmit() } }"
    )
    expect(ann.get_by_text("Not sent: five comments a second.")).to_be_visible()
    expect(ann.get_by_role("list", name="Comments").locator("li").first).to_be_visible()


def test_a_flood_is_told_as_a_share(page: Page, site: Site) -> None:
    open_bullets(page, site)
    flood(f"{site.websocket_url}/feeds/bullets", clients=60, rounds=20)
    expect(page.locator("#rate")).to_have_text(re.compile(r"^1?\d\d/s$"))
    expect(page.locator("#share")).to_have_text(re.compile(r"^\d(\.\d)? %$|^[12]\d %$"))
    page.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Pause")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("() => document.getAnimations().every((each) => each.playState === 'paused')")


def test_who_wants_no_motion_reads_a_list(new_page: Callable[..., Page], site: Site) -> None:
    page = new_page(reduced_motion="reduce")
    open_bullets(page, site)
    expect(page.get_by_role("list", name="Comments").locator("li").first).to_be_visible()
    assert page.locator(".bullet").count() == 0


def flood(url: str, clients: int, rounds: int) -> None:
    """Let clients in another thread say a comment each in every round."""

    async def say(number: int) -> None:
        async with fastws.connect(url) as ws:
            for n in range(rounds):
                await ws.send(f'{{"pub":"bullets","d":{{"text":"{number} {n}","colour":1}}}}')
                await asyncio.sleep(0.2)

    async def all_of_them() -> None:
        await asyncio.gather(*map(say, range(clients)))

    thread = threading.Thread(target=lambda: asyncio.run(all_of_them()))
    thread.start()
    thread.join()
