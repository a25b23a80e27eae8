"""The page at the end of the tutorial, in two windows of a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.chromium import chromium, require
from tests.docs.pages import ROOT, blocks_of
from tests.docs.story import Story

pytestmark = [pytest.mark.browser, pytest.mark.live]


def test_two_windows_of_the_chat_of_the_tutorial_hear_each_other(tmp_path: Path) -> None:
    require()
    page = ROOT / "docs" / "tutorial-3.md"
    with Story(page, tmp_path) as story:
        blocks = iter(blocks_of(page))
        while story.server is None:
            story.run(next(blocks))
        with chromium() as browser:
            ann, bob = browser.new_page(), browser.new_page()
            for window in (ann, bob):
                window.goto(f"http://127.0.0.1:{story.port('8080')}/")
                window.get_by_text("connected", exact=True).wait_for()
            ann.locator("#input").fill("<b>hello</b>")
            ann.keyboard.press("Enter")
            for window in (ann, bob):
                window.get_by_text("<b>hello</b>", exact=True).wait_for()
