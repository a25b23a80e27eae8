"""Every page at the width of a phone and of a desk, light and dark: nothing sticks out, nothing complains."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import expect
from tests.browser.conftest import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.live]

#: What is in reach on each page without scrolling it.
PAGES = {"/": "#status", "/rooms/widths": "#text", "/quotes": "#find", "/bullets": "#send"}


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
