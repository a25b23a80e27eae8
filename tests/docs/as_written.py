"""Runs the programs and commands of a page as a reader would: by an installation, at the page's own ports.

``python -m tests.docs.as_written PAGE FOLDER CLONE`` runs PAGE in FOLDER with the programs of CLONE's
``.venv``. ``story.py`` runs every page in each run of the tests, but with the tests' own Python and free
ports; here the ports are those of the page, so it needs a network of its own (``clone.ALONE``).
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.docs.clone import plain
from tests.docs.pages import blocks_of
from tests.docs.story import Story

__all__ = ["AsWritten", "main"]

#: What a reader types, or saves and starts. Fragments are no commands; the others are run elsewhere.
KINDS = {"file", "server", "program", "shell", "output"}


class AsWritten(Story):
    """A page in the environment of README's first command."""

    def __init__(self, page: Path, folder: Path, clone: Path) -> None:
        self._clone = clone
        super().__init__(page, folder)

    def port(self, number: str) -> str:
        self.ports[number] = number
        return number

    def _environment(self) -> dict[str, str]:
        return {**plain(self._clone), "HOME": str(self.folder)}


def main(page: Path, folder: Path, clone: Path) -> None:
    with AsWritten(page, folder, clone) as story:
        for block in blocks_of(page):
            if block.kind in KINDS:
                try:
                    story.run(block)
                except Exception as error:
                    error.add_note(f"in the block at {block.place}")
                    raise


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
