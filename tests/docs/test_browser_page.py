"""The page of docs/browser.md, in a real browser, while its server goes away and comes back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.browser.chromium import chromium, require
from tests.docs.pages import ROOT, blocks_of
from tests.docs.story import Story

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.system]


def test_the_page_comes_back_by_itself(tmp_path: Path) -> None:
    require()
    page = ROOT / "docs" / "browser.md"
    with Story(page, tmp_path) as story:
        blocks = blocks_of(page)
        (serving,) = [block for block in blocks if block.kind == "shell"]
        for block in blocks:
            if block.kind == "file":
                story.run(block)
        story.run(serving)
        with chromium() as browser:
            window = browser.new_page()
            window.goto(f"http://127.0.0.1:{story.port('8080')}/site/")
            window.get_by_text(re.compile(r"\d\d:\d\d:\d\d")).wait_for()
            story.stop()
            window.evaluate("document.getElementById('last').textContent = 'gone'")
            story.run(serving)
            window.get_by_text(re.compile(r"\d\d:\d\d:\d\d")).wait_for()
