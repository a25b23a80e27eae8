"""Where each key of a TOML document stands: ``tomllib`` does not say it, and an error names the line."""

from __future__ import annotations

import re
import tomllib
from typing import Any

__all__ = ["Places"]

#: A key, or several with dots between them, as TOML writes them.
PART = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')"""
KEY = rf"{PART}(?:\s*\.\s*{PART})*"
TABLE = re.compile(rf"\s*(\[\[?)\s*({KEY})\s*\]")
PAIR = re.compile(rf"\s*({KEY})\s*=")
#: What may begin or end a text of several lines.
QUOTES = re.compile(r'"""' + r"|'''")

Path = tuple[str | int, ...]


class Places:
    """The lines of a document's keys, from 1.

    Args:
        text: a document that ``tomllib`` has read.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        #: How many tables of each list of tables were begun.
        self._counts: dict[Path, int] = {}
        table: Path = ()
        inside = ""
        for number, line in enumerate(text.splitlines(), 1):
            was_inside = inside
            for quotes in QUOTES.findall(line):
                inside = "" if inside == quotes else inside or quotes
            if was_inside:
                continue
            if begins := TABLE.match(line):
                table = self._table(_keys(begins[2]), is_list=begins[1] == "[[")
                for end in range(1, len(table) + 1):
                    self._lines.setdefault(table[:end], number)
            elif pair := PAIR.match(line):
                self._lines.setdefault((*table, *_keys(pair[1])), number)

    def _table(self, keys: Path, *, is_list: bool) -> Path:
        """Return the path of a table that begins; an element of a list has its number in it."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if path in self._counts and path != keys:
                path = (*path, self._counts[path] - 1)
        if not is_list:
            return path
        number = self._counts.get(path, 0)
        self._counts[path] = number + 1
        return (*path, number)

    def line(self, *path: str | int) -> int | None:
        """Return the line of a key; where it stands in a table written in one line, the line of that."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return None


def _keys(text: str) -> tuple[str, ...]:
    """Return the keys of ``a."b c".d``."""
    found: Any = tomllib.loads(f"{text} = 0")
    keys = []
    while isinstance(found, dict):
        key, found = next(iter(found.items()))
        keys.append(key)
    return tuple(keys)
