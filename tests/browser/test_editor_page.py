"""The editor's page (``/editor/NAME``): pages and stock clients converge, whatever happens to the line."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from fastws.apps import editor
from tests.browser.chromium import expect
from tests.browser.conftest import SERVER_GONE, Site, Troubles
from tests.kit.stock_editors import StockEditors, require_editor

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.live]

#: How far things have moved on the page since it was loaded, without those that a person has caused.
SHIFTS = """() => new Promise((done) => {
    new PerformanceObserver((list) => {
        const shifts = list.getEntries().filter((each) => !each.hadRecentInput);
        done(shifts.reduce((sum, each) => sum + each.value, 0));
    }).observe({ type: "layout-shift", buffered: true });
    setTimeout(() => done(0), 300);
})"""


@pytest.fixture(scope="module", autouse=True)
def editor_is_there(browser_is_there: None) -> None:
    require_editor()


# TLS is the server's affair, not the page's.
@pytest.fixture(scope="module")
def tls() -> list[object]:
    return []


def text_of(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Text of the document")


def open_editor(page: Page, site: Site, name: str) -> Locator:
    page.goto(f"{site.url}/editor/{name}")
    expect(page.locator("#status")).to_have_text("Connected")
    return text_of(page)


def test_two_pages_and_a_stock_client_converge(new_page: Callable[..., Page], site: Site) -> None:
    ann, bob = new_page(), new_page()
    mine, theirs = open_editor(ann, site, "plan%20b"), open_editor(bob, site, "plan%20b")
    expect(ann.get_by_role("heading")).to_have_text("plan b")
    mine.click()
    ann.keyboard.type("Hello, Bob\nHow are you?")
    expect(theirs).to_contain_text("How are you?")
    with StockEditors() as editors:
        editors.open("cid", site.websocket_url + "/editor", "plan%20b")
        assert editors.text("cid") == "Hello, Bob\nHow are you?"
        editors("insert", "cid", 0, "<b>Ann:</b> ")
        expect(mine).to_contain_text("<b>Ann:</b> Hello, Bob")
        editors(
            "say",
            "cid",
            {"user": {"name": "<i>Cid</i>", "color": "red; position: fixed"}, "cursor": {"anchor": 1}},
        )
        expect(ann.get_by_role("list", name="Who is here").get_by_role("listitem")).to_have_count(3)
        expect(ann.get_by_text("<i>Cid</i>")).to_be_visible()
    expect(ann.get_by_role("list", name="Who is here").get_by_role("listitem")).to_have_count(2)
    theirs.click()
    bob.keyboard.press("Control+End")
    bob.keyboard.type(" Fine.")
    bob.keyboard.press("Control+z")
    expect(mine).not_to_contain_text("Fine.")
    expect(mine).to_contain_text("How are you?")
    assert ann.locator("#text b, #text i").count() == 0


def test_others_are_where_they_are(new_page: Callable[..., Page], site: Site) -> None:
    ann, bob = new_page(), new_page()
    mine, theirs = open_editor(ann, site, "carets"), open_editor(bob, site, "carets")
    ann.get_by_label("You are").fill("Ann")
    mine.click()
    ann.keyboard.type("one two")
    ann.keyboard.press("Shift+Home")
    expect(bob.locator(".caret-name")).to_have_text(["Ann"])
    expect(bob.locator(".selected")).to_have_text("one two")
    expect(theirs).to_contain_text("one two")
    ann.close()
    expect(bob.locator(".caret-name")).to_have_count(0)


def test_no_two_have_the_same_colour(new_page: Callable[..., Page], site: Site) -> None:
    """By their numbers five of eight have in four of five cases."""
    pages = [new_page() for _ in range(5)]
    for page in pages:
        open_editor(page, site, "colours")
    colours = "[...document.querySelectorAll('#people li')].map((each) => each.className).sort()"
    found: set[tuple[str, ...]] = set()
    for _ in range(200):
        found = {tuple(page.evaluate(colours)) for page in pages}
        if len(found) == 1 and len(set(min(found))) == len(pages):
            return
        pages[0].wait_for_timeout(25)
    pytest.fail(f"{found}")


def test_the_server_goes_and_comes_back(
    page: Page, start: Callable[..., Site], troubles: Troubles, unused_tcp_port: int
) -> None:
    site = start(port=unused_tcp_port)
    mine = open_editor(page, site, "plan")
    mine.click()
    page.keyboard.type("before ")
    troubles.provoked = SERVER_GONE
    site.child.stop(signal.SIGKILL)
    expect(page.locator("#status")).to_have_text("Reconnecting")
    page.keyboard.type("meanwhile")
    again = start(port=urlsplit(site.url).port)
    expect(page.locator("#status")).to_have_text("Connected")
    assert page.evaluate(SHIFTS) < 0.01
    with StockEditors() as editors:
        editors.open("cid", again.websocket_url + "/editor", "plan")
        assert editors.text("cid") == "before meanwhile"


def test_the_keyboard_alone(page: Page, site: Site) -> None:
    open_editor(page, site, "keyboard")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the document")).to_be_focused()
    page.keyboard.press("Enter")
    expect(text_of(page)).to_be_focused()
    page.keyboard.type("typed")
    expect(text_of(page)).to_have_text("typed")
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_label("You are")).to_be_focused()
    page.keyboard.press("Tab")
    expect(text_of(page)).to_be_focused()


@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (1280, "light")])
def test_it_fits(new_page: Callable[..., Page], site: Site, width: int, scheme: str) -> None:
    page = new_page(viewport={"width": width, "height": 600}, color_scheme=scheme)
    mine = open_editor(page, site, "wide")
    mine.click()
    page.keyboard.insert_text("x" * 300)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#text").bounding_box()
    assert box is not None
    assert box["height"] > 250
    assert box["y"] + box["height"] <= 600


@pytest.mark.parametrize("code", [1009, 4413])
def test_a_document_that_is_full_says_so(page: Page, site: Site, code: int) -> None:
    mine = open_editor(page, site, f"full-{code}")
    mine.click()
    page.keyboard.insert_text("x" * 200)
    page.keyboard.insert_text("y" * (131_000 if code == 4413 else 132_000))
    expect(page.locator("#status")).to_have_text("Closed")
    expect(page.locator("#hint")).to_contain_text(str(code))
    expect(page.get_by_role("button", name="Reconnect")).to_be_visible()


def test_it_says_how_it_is_made(page: Page, site: Site) -> None:
    """Without its script, or without pycrdt, the server has an empty one there: the console stays empty."""
    empty = editor.NOT_BUILT
    page.route(
        "**/vendor/*",
        lambda route: route.fulfill(status=empty.status, content_type="text/javascript", body=empty.body),
    )
    page.goto(f"{site.url}/editor")
    expect(page.locator("#status")).to_have_text("Not built")
    expect(page.get_by_text("npm run build --prefix static-build")).to_be_visible()
    expect(text_of(page)).to_have_count(0)
