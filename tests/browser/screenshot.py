"""Makes the README's picture of the chat: ``python -m tests.browser.screenshot docs/chat.png``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.chromium import chromium, missing
from tests.cli.helpers import running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Who speaks (True: whose window is shown) and what they say.
TALK = [
    (False, "Good morning! Is anybody here?"),
    (True, "Yes, two windows of the same browser so far."),
    (False, "So this tab and yours both hang on one hub?"),
    (True, "They do. What I write goes to everybody, and to me as well."),
    (False, "<b>And HTML?</b>"),
    (False, "I see, it stays text."),
    (True, "On my phone it looks just the same, in the dark too."),
]
WIDTH, HEIGHT = 880, 600


def main() -> int:
    parser = argparse.ArgumentParser(description="Take a picture of the chat page in a real browser.")
    parser.add_argument("picture", type=Path, metavar="PNG")
    parser.add_argument("--dark", action="store_true", help="as a browser set to dark shows it")
    options = parser.parse_args()
    if reason := missing():
        print(reason, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), "serve", "--port", 0) as server:
        with chromium() as browser:
            talk(browser, f"{server.address()}/chat", options.picture, dark=options.dark)
        server.stop()
    return 0


def talk(browser: Browser, url: str, picture: Path, *, dark: bool) -> None:
    context = browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT},
        color_scheme="dark" if dark else "light",
        device_scale_factor=2,
        locale="en-GB",
        timezone_id="UTC",
    )
    mine, theirs = context.new_page(), context.new_page()
    for page in (mine, theirs):
        page.goto(url)
        page.get_by_text("Connected", exact=True).wait_for()
    for line, (own, text) in enumerate(TALK):
        write(mine if own else theirs, text)
        mine.locator(".line").nth(line).wait_for()
    mine.bring_to_front()
    mine.get_by_label("Message", exact=True).fill("Try it: open this page twice")
    mine.screenshot(path=picture)


def write(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


if __name__ == "__main__":
    sys.exit(main())
