"""All rows, in their order; importing a file registers its own."""

from __future__ import annotations

from tests.faults import churn, clock, crowds, descriptors, endings, floods, handlers, scanners, slow, workers
from tests.faults.harness import ROWS

__all__ = ["ALL"]

FILES = (crowds, slow, descriptors, endings, clock, handlers, floods, churn, workers, scanners)


def _order(name: str) -> tuple[bool, int, str]:
    """Numbered rows first, then the tools of others."""
    numbered = name[1:].isdigit()
    return not numbered, int(name[1:]) if numbered else 0, name


ALL = {name: ROWS[name] for name in sorted(ROWS, key=_order)}
