"""Makes the pictures of the pages, for README and the start page: ``python -m tests.browser.pictures``.

The browser writes them as WebP: a tenth of the bytes of PNG, and nothing else is needed for it.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.chromium import chromium, missing
from tests.cli.helpers import running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, FloatRect, Locator, Page

ROOT = Path(__file__).parents[2]
#: Those of the start page, and those of README and its neighbours.
CARDS, DOCS = ROOT / "static" / "assets" / "pictures", ROOT / "docs"
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
COMMENTS = ["I was here last night", "what a morning", "is that the ferry?", "turn the sound up"]
#: The pages that README and docs/ show.
IN_DOCS = {"rooms", "quotes", "bullets"}
#: Of the windows, in pixels: those of cards are small, so that words in them can be read.
CARD, LARGE = (660, 600), (1000, 625)
#: Of rooms that nobody has been in.
NUMBERS = itertools.count(1)
WEBP = """async ([png, quality]) => {
    const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    canvas.getContext("2d").drawImage(picture, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/webp", quality });
    const url = await new Promise((done) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result);
        reader.readAsDataURL(blob);
    });
    return url.slice(url.indexOf(",") + 1);
}"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Take pictures of the pages in a real browser.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of these pages only")
    names = parser.parse_args().names or list(PAGES)
    if reason := missing():
        print(reason, file=sys.stderr)
        return 1
    CARDS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), "serve", "--port", 0) as server:
        with chromium() as browser:
            for name in names:
                play = PAGES[name]
                for scheme in ("light", "dark"):
                    dark = "-dark" if scheme == "dark" else ""
                    take(browser, server.address(), play, scheme, CARD, CARDS / f"{name}{dark}.webp")
                if name in IN_DOCS:
                    take(browser, server.address(), play, "light", LARGE, DOCS / f"{name}.webp")
        server.stop()
    return 0


def take(
    browser: Browser,
    url: str,
    play: Callable[[BrowserContext, str], Page],
    scheme: str,
    size: tuple[int, int],
    picture: Path,
) -> None:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,  # type: ignore[arg-type]
        device_scale_factor=1.5,
        locale="en-GB",
        timezone_id="UTC",
    )
    page = play(context, url)
    part = page.locator(".stage" if play is bullets else ".panel")
    png = base64.b64encode(page.screenshot(clip=top_of(part) if size == CARD else None)).decode()
    # In an empty page: the others let nothing in that is not theirs.
    picture.write_bytes(base64.b64decode(context.new_page().evaluate(WEBP, [png, 0.82])))
    context.close()
    print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size} bytes")


def top_of(part: Locator) -> FloatRect:
    """As much as a card shows."""
    box = part.bounding_box()
    assert box is not None
    return {**box, "height": min(box["height"], box["width"] * 300 / 480)}


def chat(context: BrowserContext, url: str) -> Page:
    mine, theirs = context.new_page(), context.new_page()
    for page in (mine, theirs):
        page.goto(f"{url}/chat")
        page.get_by_text("Connected", exact=True).wait_for()
    before = mine.locator(".line").count()
    for line, (own, text) in enumerate(TALK):
        write(mine if own else theirs, "Message", text)
        mine.locator(".line").nth(before + line).wait_for()
    mine.bring_to_front()
    return mine


def rooms(context: BrowserContext, url: str) -> Page:
    place = f"{url}/rooms/harbour-{next(NUMBERS)}"
    mine = enter(context, place, "Ann")
    bob, clara = (elsewhere(context) for _ in range(2))
    theirs = enter(bob, place, "Bob")
    for count, (own, text) in enumerate(TALK):
        write(mine if own else theirs, "Message", text)
        mine.locator(".said").nth(count).wait_for()
    enter(clara, place, "Clara")
    mine.bring_to_front()
    mine.wait_for_timeout(700)
    return mine


def elsewhere(context: BrowserContext) -> BrowserContext:
    """A browser of another person, which ends with the first one's."""
    assert context.browser is not None
    other = context.browser.new_context()
    context.on("close", lambda _: other.close())
    return other


def enter(context: BrowserContext, url: str, name: str) -> Page:
    page = context.new_page()
    page.goto(url)
    write(page, "Your name", name)
    page.get_by_text("Connected", exact=True).wait_for()
    page.wait_for_timeout(300)
    return page


def quotes(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(f"{url}/quotes")
    page.wait_for_timeout(22_000)
    return page


def bullets(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(f"{url}/bullets")
    page.wait_for_timeout(3_500)
    for text in COMMENTS:
        write(page, "Comment", text)
        page.wait_for_timeout(900)
    return page


def editor(context: BrowserContext, url: str) -> Page:
    """It has to be built: see README."""
    place = f"{url}/editor/plan-{next(NUMBERS)}"
    mine = edit(context, place, "Ann", "Saturday\n\nTake the ferry at nine, and be there by ten. ")
    theirs = edit(elsewhere(context), place, "Bob", "\nBring bread, a map and something warm.")
    edit(elsewhere(context), place, "Clara", "\nThe hut is closed until May. Who has a tent?")
    theirs.keyboard.press("ArrowUp")
    theirs.keyboard.press("Shift+Home")
    mine.bring_to_front()
    mine.wait_for_timeout(700)
    return mine


def edit(context: BrowserContext, url: str, name: str, text: str) -> Page:
    page = context.new_page()
    page.goto(url)
    page.get_by_text("Connected", exact=True).wait_for()
    page.get_by_label("You are").fill(name)
    page.get_by_role("textbox", name="Text of the document").click()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text(text)
    page.wait_for_timeout(300)
    return page


def write(page: Page, label: str, text: str) -> None:
    page.get_by_label(label, exact=True).fill(text)
    page.keyboard.press("Enter")


PAGES = {"rooms": rooms, "quotes": quotes, "bullets": bullets, "editor": editor, "chat": chat}


if __name__ == "__main__":
    sys.exit(main())
