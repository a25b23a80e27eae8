"""The page of the quotes: what it shows is right, and it says how old that is, also over a slow line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.chromium import expect
from tests.browser.conftest import Site
from tests.browser.slow_line import SlowLine

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.live]

#: Notes when the last move that the page has as a whole was made, whether a checksum was ever wrong, how old
#: the quotes are, and by how much the page was wrong about that at most when it said so; both in seconds.
WATCH = """
Object.assign(window, { at: 0, wrong: 0, truth: 0, off: 0 });
window.WebSocket = class extends WebSocket {
    constructor(...args) {
        super(...args);
        this.addEventListener("message", ({ data }) => {
            const { snap = {}, set = snap } = JSON.parse(data);
            if (Object.keys(set).at(-1) === "#") window.at = set["#"].at;
        });
    }
};
addEventListener("DOMContentLoaded", () => {
    const sum = document.getElementById("sum");
    const look = () => (window.wrong += sum.dataset.state === "bad");
    new MutationObserver(look).observe(sum, { attributes: true });
    const age = document.getElementById("age");
    const compare = () => {
        if (sum.dataset.state === "waiting") return;
        window.truth = (Date.now() - at) / 1000;
        window.off = Math.max(off, Math.abs(parseFloat(age.textContent) - truth));
    };
    new MutationObserver(compare).observe(age, { childList: true });
});
"""


@pytest.fixture(scope="module")
def tls() -> list[object]:
    return []


def watched(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("() => ({ wrong, truth, off })")
    return found


def open_quotes(page: Page, url: str) -> None:
    page.add_init_script(WATCH)
    page.goto(f"{url}/quotes")
    expect(page.locator("#sum")).to_have_attribute("data-state", "good")


def test_all_symbols_move_and_one_is_found_by_the_keyboard(page: Page, site: Site) -> None:
    open_quotes(page, site.url)
    expect(page.get_by_role("status").first).to_have_text("Connected")
    expect(page.locator("tbody tr")).to_have_count(500)
    expect(page.locator("#pace")).to_have_text(re.compile(r"^(9|10)\s?\d{3}/s$"))
    price = page.locator("tbody tr .price").first
    before = price.text_content()
    expect(price).not_to_have_text(before or "")
    page.keyboard.press("Tab")  # to where one skips the rest
    page.keyboard.press("Enter")
    page.keyboard.type("babe")
    expect(page.locator("tbody tr:visible")).to_have_count(1)
    expect(page.get_by_role("row", name="BABE")).to_be_visible()
    page.keyboard.type("xx")
    expect(page.get_by_text("No symbol has this name.")).to_be_visible()
    assert watched(page)["wrong"] == 0


def test_a_pace_of_its_own_is_right_too(page: Page, site: Site) -> None:
    open_quotes(page, site.url)
    page.get_by_label("Updates").select_option("1")
    expect(page.locator("#pace")).to_have_text("500/s")
    expect(page.locator("#sum")).to_have_attribute("data-state", "good")
    assert watched(page)["wrong"] == 0


def test_a_slow_line_is_never_wrong_and_says_how_old_it_is(page: Page, site: Site) -> None:
    with SlowLine(site.url, 20_000) as line:
        open_quotes(page, line.url)
        page.evaluate("() => { off = 0 }")
        page.wait_for_timeout(2000)
        assert watched(page)["off"] < 0.5
        line.rate = None
        line.stalls = True
        page.wait_for_function("() => truth > 4")
        assert watched(page)["off"] < 0.5
        expect(page.get_by_text("The quotes are old.")).to_be_attached()
        line.stalls = False
        page.wait_for_function("() => Date.now() - at < 300")
        expect(page.get_by_text("The quotes are fresh.")).to_be_attached()
        assert watched(page)["wrong"] == 0
        page.close()
