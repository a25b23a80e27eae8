"""All rows, in their order; importing a file registers its own."""

from __future__ import annotations

from tests.faults import churn, clock, crowds, descriptors, endings, floods, handlers, slow
from tests.faults.harness import ROWS

__all__ = ["ALL"]

FILES = (crowds, slow, descriptors, endings, clock, handlers, floods, churn)
ALL = dict(sorted(ROWS.items(), key=lambda item: int(item[0][1:])))
