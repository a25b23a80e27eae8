"""Every page at the width of a phone and of a desk, light and dark: nothing sticks out, nothing complains."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.browser.chromium import expect
from tests.browser.conftest import SERVER_GONE, Site, Troubles

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.live]

#: What is in reach on each page without scrolling it.
PAGES = {"/": "#status", "/rooms/widths": "#text", "/quotes": "#find", "/bullets": "#send"}


SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
    for (const { sources } of list.getEntries()) shifts.push(sources.map(({ node }) => node?.nodeName));
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
def tls() -> list[object]:
    return []


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
        expect(page.locator(".nav [aria-current]")).to_be_in_viewport(ratio=1)


def test_nothing_moves_while_a_page_comes_back(
    new_page: Callable[..., Page], start: Callable[..., Site], troubles: Troubles
) -> None:
    troubles.provoked = SERVER_GONE
    site = start()
    pages = [new_page(viewport={"width": 320, "height": 640}) for _ in range(2)]
    for page, path in zip(pages, ("/quotes", "/bullets"), strict=True):
        page.add_init_script(SHIFTS)
        page.goto(site.url + path)
        expect(page.get_by_role("status").first).to_have_text("Connected")
    expect(pages[0].locator("#sum")).to_have_attribute("data-state", "good")
    expect(pages[1].locator("#share")).to_contain_text("%")
    for page in pages:
        page.evaluate("() => { shifts.length = 0 }")
    site.child.stop(signal.SIGKILL)
    for page in pages:
        expect(page.get_by_role("status").first).to_have_text("Reconnecting")
    start(port=urlsplit(site.url).port)
    for page in pages:
        expect(page.get_by_role("status").first).to_have_text("Connected")
        assert page.evaluate("() => shifts") == []
