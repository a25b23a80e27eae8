"""The pages and their code blocks. Each block says in a comment above it what the tests do with it.

``<!-- block: KIND ARGUMENTS -->`` stands above every fence; ``story.py`` has the kinds. A block that
says nothing, or names no kind, is an error here, and so a failed test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGES", "ROOT", "Block", "blocks_of", "name_of"]

ROOT = Path(__file__).parents[2]
#: Whatever a reader is told to type or to copy.
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "certs" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

_COMMENT = re.compile(r"<!-- block: ([a-z]+)((?: [^ ]+)*) -->")
_FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,})(?P<language>[^`]*)")
#: What Sphinx runs itself; the build fails where it cannot.
_DIRECTIVE = re.compile(r"\{(?:eval-rst|include|py:module|toctree)\}.*")


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    kind: str
    arguments: tuple[str, ...]
    code: str

    @property
    def place(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order. Raises ``ValueError`` for one that no comment explains."""
    blocks = []
    lines = page.read_text(encoding="utf-8").split("\n")
    at = 0
    while at < len(lines):
        fence = _FENCE.fullmatch(lines[at])
        if fence is None:
            at += 1
            continue
        end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == fence["ticks"])
        language = fence["language"].strip()
        if not _DIRECTIVE.fullmatch(language):
            indent = len(fence["indent"])
            code = "".join(f"{line[indent:]}\n" for line in lines[at + 1 : end])
            blocks.append(_block(page, at, language, _comment_above(lines, at), code))
        at = end + 1
    return blocks


def _comment_above(lines: list[str], at: int) -> re.Match[str] | None:
    """The comment of a fence; others may stand between."""
    while at > 0 and lines[at - 1].strip().startswith("<!--"):
        at -= 1
        if found := _COMMENT.fullmatch(lines[at].strip()):
            return found
    return None


def _block(page: Path, at: int, language: str, comment: re.Match[str] | None, code: str) -> Block:
    if comment is None:
        raise ValueError(f"{name_of(page)}:{at + 1}: no <!-- block: KIND --> above this block")
    return Block(page, at + 1, language, comment[1], tuple(comment[2].split()), code)
