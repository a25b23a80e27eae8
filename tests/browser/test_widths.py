"""Every page at the width of a phone and of a desk, light and dark: nothing sticks out, nothing complains."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from fastws.web.static_files import packaged_static
from tests.browser.chromium import expect
from tests.browser.conftest import SERVER_GONE, Site, Troubles

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.live]

#: What is in reach on each page without scrolling it.
PAGES = {
    "/": "#status",
    "/chat": "#status",
    "/rooms/widths": "#text",
    "/quotes": "#find",
    "/bullets": "#send",
}


SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
    for (const { sources } of list.getEntries()) shifts.push(sources.map(({ node }) => node?.nodeName));
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
def tls() -> list[object]:
    return []


def paths() -> list[str]:
    """Every page; the editor where it is built."""
    is_built = (packaged_static() / "vendor" / "editor.js").is_file()
    return [*PAGES, "/editor/shifts"] if is_built else [*PAGES]


def watched(page: Page, url: str) -> None:
    """Open a page that notes what moves in it, as somebody who has a name."""
    page.add_init_script(SHIFTS)
    page.add_init_script("localStorage.setItem('fastws.name', 'Somebody')")
    page.goto(url)
    expect(page.get_by_role("status").first).to_have_text("Connected")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_sticks_out(new_page: Callable[..., Page], site: Site, scheme: str, width: int) -> None:
    page = new_page(color_scheme=scheme, viewport={"width": width, "height": 640})
    # Who has been here before has a name.
    page.add_init_script("localStorage.setItem('fastws.name', 'Somebody of a long name')")
    for path, reached in PAGES.items():
        page.goto(site.url + path)
        expect(page.get_by_role("status").first).to_have_text("Connected")
        wide = page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide == 0, path
        expect(page.locator(reached)).to_be_in_viewport(ratio=1)
        for link in page.locator(".nav a").all():
            expect(link).to_be_in_viewport(ratio=1)


def test_nothing_moves_while_a_page_comes_back(
    new_page: Callable[..., Page], start: Callable[..., Site], troubles: Troubles
) -> None:
    troubles.provoked = SERVER_GONE
    site = start()
    # The start page comes back when one asks it to: see below.
    pages = {path: new_page(viewport={"width": 320, "height": 640}) for path in paths() if path != "/"}
    for path, page in pages.items():
        watched(page, site.url + path)
    expect(pages["/quotes"].locator("#sum")).to_have_attribute("data-state", "good")
    expect(pages["/bullets"].locator("#share")).to_contain_text("%")
    for page in pages.values():
        page.evaluate("() => { shifts.length = 0 }")
    site.child.stop(signal.SIGKILL)
    for page in pages.values():
        expect(page.get_by_role("status").first).not_to_have_text("Connected")
    start(port=urlsplit(site.url).port)
    for path, page in pages.items():
        expect(page.get_by_role("status").first).to_have_text("Connected")
        assert page.evaluate("() => shifts") == [], path


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_moves_while_a_page_loads(new_page: Callable[..., Page], site: Site, width: int) -> None:
    for path in paths():
        page = new_page(viewport={"width": width, "height": 640})
        watched(page, site.url + path)
        page.wait_for_load_state("networkidle" if path == "/" else "load")
        page.evaluate("() => document.fonts.ready.then(() => new Promise(requestAnimationFrame))")
        assert page.evaluate("() => shifts") == [], path


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_moves_while_the_start_page_comes_back(
    new_page: Callable[..., Page], start: Callable[..., Site], troubles: Troubles, width: int
) -> None:
    """By keyboard alone: the button takes the place of the one that sends."""
    troubles.provoked = SERVER_GONE
    site = start()
    page = new_page(viewport={"width": width, "height": 640})
    watched(page, f"{site.url}/")
    expect(page.locator(".in")).to_have_text(["Hello Server!"])
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    field = page.get_by_label("Message", exact=True)
    expect(field).to_be_focused()
    expect(field).to_be_in_viewport(ratio=1)
    page.evaluate("() => { shifts.length = 0 }")
    site.child.stop(signal.SIGKILL)
    expect(page.get_by_role("status")).to_have_text("Closed")
    page.keyboard.press("Tab")
    reconnect = page.get_by_role("button", name="Reconnect")
    expect(reconnect).to_be_focused()
    start(port=urlsplit(site.url).port)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Connected")
    expect(field).to_be_focused()
    assert page.evaluate("() => shifts") == []
