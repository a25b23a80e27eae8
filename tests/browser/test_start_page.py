"""The start page: an echo in the browser (``/`` and ``/wsecho``)."""

from __future__ import annotations

import re
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


def open_start(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/")
    expect(page.get_by_role("status")).to_have_text("Connected")


def test_hello_server_comes_back(page: Page, site: Site) -> None:
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    open_start(page, site)
    log = page.get_by_role("log")
    expect(log.locator(".line")).to_have_text(
        [f"Connected to {site.websocket_url}/wsecho", "Hello Server!", "Hello Server!"]
    )
    expect(log.locator(".out")).to_have_text(["Hello Server!"])
    expect(log.locator(".in")).to_have_text(["Hello Server!"])
    expect(page.locator("#address")).to_have_text(f"{site.websocket_url}/wsecho")
    assert sockets == [f"{site.websocket_url}/wsecho"]


def test_a_person_types_and_the_server_answers(page: Page, site: Site) -> None:
    open_start(page, site)
    field = page.get_by_label("Message", exact=True)
    # Nobody needs a mouse: the first link leads to the field.
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.type("with the keyboard")
    page.keyboard.press("Enter")
    expect(field).to_have_value("")
    field.fill("with the mouse: 你好, мир, 🎉")
    page.get_by_role("button", name="Send").click()
    expect(field).to_have_value("")
    spoken = ["Hello Server!", "with the keyboard", "with the mouse: 你好, мир, 🎉"]
    expect(page.locator(".out")).to_have_text(spoken)
    expect(page.locator(".in")).to_have_text(spoken)


def test_an_empty_field_sends_nothing(page: Page, site: Site) -> None:
    sent: list[object] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    open_start(page, site)
    page.get_by_role("button", name="Send").click()
    page.keyboard.press("Enter")
    page.get_by_label("Message", exact=True).fill("after it")
    page.keyboard.press("Enter")
    expect(page.locator(".in")).to_have_text(["Hello Server!", "after it"])
    assert sent == ["Hello Server!", "after it"]


def test_html_is_shown_as_text(page: Page, site: Site) -> None:
    open_start(page, site)
    hostile = "<img src=x onerror=alert(1)><b>bold</b> &amp;"
    page.get_by_label("Message", exact=True).fill(hostile)
    page.keyboard.press("Enter")
    expect(page.locator(".in").last).to_have_text(hostile)
    assert page.locator("#log img, #log b").count() == 0


def test_it_leads_to_each_page_by_a_picture(page: Page, site: Site, troubles: Troubles) -> None:
    troubles.provoked = "404"  # the editor's scripts need not be built
    open_start(page, site)
    cards = page.locator(".card")
    for card in cards.all():
        card.scroll_into_view_if_needed()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.card img')].every((img) => img.complete && img.naturalWidth)"
    )
    for path in [card.get_attribute("href") for card in cards.all()]:
        page.locator(f".card[href='{path}']").click()
        expect(page).to_have_url(f"{site.url}{path}")
        expect(page.locator(".nav [aria-current]")).to_have_attribute("href", path or "")
        page.get_by_role("link", name="Start").click()
        expect(page).to_have_url(f"{site.url}/")


def test_the_close_and_an_error_are_shown_and_one_can_come_back(
    page: Page, start: Callable[..., Site], troubles: Troubles
) -> None:
    troubles.provoked = SERVER_GONE
    first = start()
    open_start(page, first)
    assert first.child.stop(signal.SIGTERM) == 0
    closed = page.locator(".event").last
    expect(closed).to_have_text("Connection closed.")
    expect(closed).to_have_attribute("data-aside", re.compile("1001"))
    expect(page.get_by_role("status")).to_have_text("Closed")
    expect(page.get_by_role("button", name="Send")).to_be_hidden()

    reconnect = page.get_by_role("button", name="Reconnect")
    reconnect.click()
    expect(page.locator(".failure")).to_have_text(
        [f"Error: the connection to {first.websocket_url}/wsecho failed."]
    )
    expect(page.locator(".event").last).to_have_attribute("data-aside", re.compile("1006"))

    start(port=urlsplit(first.url).port)
    reconnect.click()
    expect(page.get_by_role("status")).to_have_text("Connected")
    expect(page.locator(".in")).to_have_text(["Hello Server!", "Hello Server!"])


def test_a_browser_without_websocket_is_told(page: Page, site: Site) -> None:
    page.add_init_script("delete window.WebSocket")
    page.goto(f"{site.url}/")
    expect(page.locator(".line")).to_have_text(["Your browser does not support WebSockets."])
    expect(page.get_by_role("status")).to_have_text("Unsupported")


def test_a_server_whose_static_files_are_others_still_has_its_pages(
    page: Page, start: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory
) -> None:
    site = start("--static", tmp_path_factory.mktemp("others"))
    open_start(page, site)
    expect(page.locator(".in")).to_have_text(["Hello Server!"])
