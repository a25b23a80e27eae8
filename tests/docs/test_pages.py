"""Every code block of the README and of the documentation is run, as the comment above it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import PAGES, blocks_of, name_of
from tests.docs.story import KINDS, Story

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]


WITH_BLOCKS = [page for page in PAGES if "```" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
def test_each_block_of_the_page_says_what_is_done_with_it(page: Path) -> None:
    blocks = blocks_of(page)
    for index, block in enumerate(blocks):
        assert block.kind in KINDS, f"{block.place}: there is no kind {block.kind!r}"
        if block.kind == "file":
            used = Path(block.arguments[0]).name.removesuffix(".py")
            others = blocks[:index] + blocks[index + 1 :]
            assert any(used in other.code for other in others), f"{block.place}: nothing uses it"


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
def test_the_blocks_of_the_page_do_what_it_says(page: Path, tmp_path: Path) -> None:
    with Story(page, tmp_path) as story:
        for block in blocks_of(page):
            try:
                story.run(block)
            except Exception as error:
                error.add_note(f"in the block at {block.place}")
                raise


@pytest.mark.parametrize(
    ("page", "error"),
    [
        ("```python\n1\n```\n", "no <!-- block"),
        ("<!-- block: program -->\n\n```python\n1\n```\n", "no <!-- block"),
        ("<!-- block: program -->\n```python\nraise SystemExit(3)\n```\n", "exit code 3"),
        (
            "<!-- block: program -->\n```python\nprint(1)\n```\n<!-- block: output -->\n```text\n2\n```\n",
            "printed",
        ),
        ("<!-- block: fragment -->\n```python\nassert await asyncio.sleep(0), 'nothing'\n```\n", "nothing"),
        ("<!-- block: server -->\n```python\nraise SystemExit('8765')\n```\n", "the server ended"),
        ("<!-- block: checked -->\n```shell\nfastws serve --prot 80\n```\n", "No such option"),
        ("<!-- block: checked -->\n```shell\nfastws serve --port many\n```\n", "not a valid integer"),
        ("<!-- block: checked -->\n```shell\nFASTWS_PROT=80 fastws serve\n```\n", "are no options"),
        ("<!-- block: checked -->\n```shell\nrm -rf /\n```\n", "no rule for the command"),
        ("<!-- block: checked -->\n```shell\npip install '.[sox]'\n```\n", "no extra sox"),
        ("<!-- block: elsewhere tests/pubsub/test_hub.py -->\n```python\n1\n```\n", "does not read"),
    ],
)
def test_a_block_that_is_wrong_is_noticed(
    page: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.docs.pages.ROOT", tmp_path)
    monkeypatch.setattr("tests.docs.story.name_of", lambda path: path.name)
    written = tmp_path / "page.md"
    written.write_text(page)
    with Story(written, tmp_path) as story, pytest.raises((AssertionError, ValueError), match=error):
        for block in blocks_of(written):
            story.run(block)
