"""Numbers of classes of topics that an operator changes: what the program declares stays its own.

They are set once, before the program declares its topics (:meth:`fastws.Hub.topic`), and hold for this
process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["NUMBERS", "WORDS", "Overrides", "overrides"]

#: What decides how a topic works, as the program declares it; an operator may repeat it.
WORDS = ("mode", "merge", "policy")
#: What an operator may change.
NUMBERS = ("history", "ttl", "history_bytes", "max_keys", "key_ttl", "every", "max_rate", "sample")


class TableRefused(ValueError):
    """A table says what only the program may; the text names its place in the file."""


class Overrides:
    """What tables say of topics, by the pattern of their class.

    A table has ``values``, and ``places``: where each of them stands, for messages.
    """

    def __init__(self) -> None:
        self._tables: dict[str, Mapping[str, Any]] = {}
        #: The patterns that were declared since.
        self._declared: set[str] = set()

    def replace(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        """Change these classes from now on, and no others."""
        self._tables = dict(tables)
        self._declared = set()

    def __bool__(self) -> bool:
        return bool(self._tables)

    @property
    def declared(self) -> set[str]:
        """The patterns that the program has declared, while there were tables."""
        return self._declared

    def missing(self) -> list[tuple[str, str]]:
        """Return each pattern that the program has not declared, and where its table stands."""
        return [
            (pattern, table["places"][""])
            for pattern, table in self._tables.items()
            if pattern not in self._declared
        ]

    def numbers(self, pattern: str, declared: Mapping[str, Any]) -> list[Any]:
        """Return the numbers that a class is declared with, or its table has, in the order of ``NUMBERS``.

        Raises:
            TableRefused: the table says something else than a number that was declared otherwise, or begins
                or ends a history.
        """
        self._declared.add(pattern)
        table = self._tables.get(pattern, {"values": {}, "places": {}})
        values, places = table["values"], table["places"]
        for name, value in values.items():
            ours = declared[name]
            if name in WORDS:
                if value != ours:
                    raise TableRefused(
                        f"{places[name]}: {name} of {pattern!r} is {_shown(ours)} in the program; only "
                        "numbers may be changed"
                    )
            elif name == "history" and bool(value) != bool(ours):
                raise TableRefused(
                    f"{places[name]}: history of {pattern!r} is {ours} in the program; a number may change, "
                    "but not whether there is a history"
                )
        return [values.get(name, declared[name]) for name in NUMBERS]


def _shown(value: object) -> str:
    return "not said" if value is None else repr(str(getattr(value, "value", value)))


#: Those of this process: hubs are made where the program is imported, and know nobody to ask.
overrides = Overrides()
