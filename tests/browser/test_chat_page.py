"""The chat page (``/chat`` and ``/ws``): item 12 of the behaviour, and what the server owes it."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.browser.burst import say
from tests.browser.chromium import expect
from tests.browser.conftest import SERVER_GONE, Site, Troubles

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.live]


def open_chat(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/chat")
    expect(page.get_by_role("status")).to_have_text("Connected")


def write(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def scrolled(page: Page) -> tuple[float, bool]:
    """How far the log is scrolled, and whether that is its end."""
    top, at_end = page.get_by_role("log").evaluate(
        "log => [log.scrollTop, log.scrollHeight - log.scrollTop - log.clientHeight <= 4]"
    )
    return top, at_end


def test_two_tabs_chat(new_page: Callable[..., Page], site: Site) -> None:
    ann, bob = new_page(), new_page()
    open_chat(ann, site)
    open_chat(bob, site)
    write(ann, "Hello, Bob")
    expect(bob.locator(".line")).to_have_text(["Hello, Bob"])
    write(bob, "  Hello, Ann  ")
    expect(ann.locator(".line")).to_have_text(["Hello, Bob", "Hello, Ann"])
    expect(bob.locator(".line")).to_have_text(["Hello, Bob", "Hello, Ann"])
    # Everybody sees at a glance what is their own.
    expect(ann.locator(".out")).to_have_text(["Hello, Bob"])
    expect(bob.locator(".out")).to_have_text(["Hello, Ann"])


def test_what_the_server_joined_is_a_line_each(page: Page, site: Site, certificates: Path) -> None:
    frames: list[str | bytes] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame)))
    open_chat(page, site)
    say(f"{site.websocket_url}/ws", ["first", "", "third"], certificates / "ca.pem")
    expect(page.locator(".line")).to_have_text(["first", "", "third"])
    assert frames == ["first\n\nthird"]


def test_html_is_shown_as_text(page: Page, site: Site) -> None:
    open_chat(page, site)
    hostile = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    write(page, hostile)
    expect(page.locator(".line")).to_have_text([hostile])
    assert page.locator("#log script, #log img").count() == 0
    assert page.title() == "fastws: chat"


def test_the_field_is_cleared_and_an_empty_one_sends_nothing(page: Page, site: Site) -> None:
    sent: list[object] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    open_chat(page, site)
    page.get_by_role("button", name="Send").click()
    page.keyboard.press("Enter")
    write(page, "something")
    expect(page.get_by_label("Message", exact=True)).to_have_value("")
    page.keyboard.press("Enter")
    write(page, "again")
    expect(page.locator(".line")).to_have_text(["something", "again"])
    assert sent == ["something", "again"]


def test_the_log_stays_at_its_end_only_if_it_was_there(page: Page, site: Site, certificates: Path) -> None:
    def lines(count: int) -> None:
        before = page.locator(".line").count()
        say(f"{site.websocket_url}/ws", [f"line {n}" for n in range(count)], certificates / "ca.pem")
        expect(page.locator(".line")).to_have_count(before + count)

    newer = page.get_by_role("button", name="New messages")
    open_chat(page, site)
    lines(60)
    assert scrolled(page)[1]
    expect(newer).to_be_hidden()

    page.get_by_role("log").evaluate("log => { log.scrollTop = 100 }")
    lines(20)
    assert scrolled(page) == (100, False)
    newer.click()
    assert scrolled(page)[1]
    expect(newer).to_be_hidden()
    lines(20)
    assert scrolled(page)[1]

    # Going back by hand is as good as the button.
    page.get_by_role("log").evaluate("log => { log.scrollTop = 100 }")
    lines(1)
    expect(newer).to_be_visible()
    page.get_by_role("log").focus()
    page.keyboard.press("End")
    expect(newer).to_be_hidden()
    # Nor does a phone's keyboard, which takes half of the height, hide the last line.
    page.set_viewport_size({"width": 390, "height": 400})
    page.wait_for_function(
        "() => { const log = document.getElementById('log');"
        " return log.scrollHeight - log.scrollTop - log.clientHeight <= 4 }"
    )


def test_old_lines_go_when_there_are_too_many(page: Page, site: Site, certificates: Path) -> None:
    open_chat(page, site)
    for start in range(0, 6000, 500):
        say(f"{site.websocket_url}/ws", [f"line {start + n}" for n in range(500)], certificates / "ca.pem")
    expect(page.locator(".line").last).to_have_text("line 5999")
    expect(page.locator(".line").first).to_have_text("line 1000")


def test_a_message_of_512_bytes_passes_and_the_page_warns_of_more(page: Page, site: Site) -> None:
    open_chat(page, site)
    hint = page.locator("#hint")
    field = page.get_by_label("Message", exact=True)
    field.fill("x" * 409)
    expect(hint).to_be_hidden()
    field.fill("é" * 256)
    expect(hint).to_have_text("512 of 512 bytes")
    page.keyboard.press("Enter")
    expect(page.locator(".line")).to_have_text(["é" * 256])
    expect(hint).to_be_hidden()
    field.fill("é" * 256 + "x")
    expect(hint).to_have_text("513 bytes: too long to send, the server takes 512.")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Send").click()
    expect(field).to_have_value("é" * 256 + "x")
    # Nothing was sent: the next message comes over the same connection, right behind the first.
    write(page, "short")
    expect(page.locator(".line")).to_have_text(["é" * 256, "short"])


def test_the_close_is_shown_when_the_server_ends(
    page: Page, start: Callable[..., Site], troubles: Troubles
) -> None:
    troubles.provoked = SERVER_GONE
    site = start()
    open_chat(page, site)
    write(page, "before it ends")
    expect(page.locator(".line")).to_have_text(["before it ends"])
    assert site.child.stop(signal.SIGTERM) == 0
    expect(page.locator(".line")).to_have_text(["before it ends", "Connection closed."])
    expect(page.locator(".line").last).to_have_attribute("data-aside", re.compile("1001"))
    expect(page.get_by_role("status")).to_have_text("Closed")
    expect(page.get_by_role("button", name="Reconnect")).to_be_visible()
    # Submitting now must not throw, nor lose what was written.
    write(page, "after it ended")
    expect(page.get_by_label("Message", exact=True)).to_have_value("after it ended")

    start(port=urlsplit(site.url).port)
    expect(page.get_by_role("status")).to_have_text("Connected")
    expect(page.get_by_label("Message", exact=True)).to_have_value("after it ended")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".line").last).to_have_text("after it ended")
    expect(page.locator(".event")).to_have_count(1)


def test_the_pauses_before_it_connects_again_grow_and_are_random(
    page: Page, start: Callable[..., Site], troubles: Troubles
) -> None:
    troubles.provoked = SERVER_GONE
    page.add_init_script(
        "const later = window.setTimeout; window.pauses = [];"
        " window.setTimeout = (call, pause) => { pauses.push(pause); return later(call, 0) }"
    )
    site = start()
    open_chat(page, site)
    assert site.child.stop(signal.SIGTERM) == 0
    page.wait_for_function("() => pauses.length >= 8")
    pauses = page.evaluate("() => pauses.slice(0, 8)")
    longest = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))
    assert len({pause / most for pause, most in zip(pauses, longest, strict=True)}) == 8
    # One line for the end, none for each attempt.
    expect(page.locator(".line")).to_have_text(["Connection closed."])


def test_the_close_is_shown_when_the_server_is_killed(
    page: Page, start: Callable[..., Site], troubles: Troubles
) -> None:
    troubles.provoked = SERVER_GONE
    site = start()
    open_chat(page, site)
    site.child.stop(signal.SIGKILL)
    expect(page.locator(".line")).to_have_text(["Connection closed."])
    expect(page.locator(".line")).to_have_attribute("data-aside", re.compile("1006 the connection was lost"))


def test_a_browser_without_websocket_is_told(page: Page, site: Site) -> None:
    page.add_init_script("delete window.WebSocket")
    page.goto(f"{site.url}/chat")
    expect(page.locator(".line")).to_have_text(["Your browser does not support WebSockets."])
    expect(page.get_by_role("status")).to_have_text("Unsupported")


def test_a_browser_too_old_for_modules_is_told(page: Page, site: Site) -> None:
    # No such browser is at hand: the others never run this script, so the test does.
    page.route("**/assets/chat.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.goto(f"{site.url}/chat")
    page.add_script_tag(url="assets/unsupported.js")
    expect(page.locator(".line")).to_have_text(["Your browser does not support WebSockets."])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_sticks_out_and_everything_is_in_reach(
    new_page: Callable[..., Page], site: Site, scheme: str, width: int
) -> None:
    page = new_page(color_scheme=scheme, viewport={"width": width, "height": 640})
    open_chat(page, site)
    write(page, "w" * 300)
    expect(page.locator(".out").last).to_have_text("w" * 300)
    wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0
    expect(page.get_by_role("button", name="Send")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("status")).to_be_in_viewport(ratio=1)
