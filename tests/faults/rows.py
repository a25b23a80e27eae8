"""All rows, in their order; importing a file registers its own."""

from __future__ import annotations

import re

from tests.faults import (
    brokers,
    bullets,
    churn,
    clock,
    crowds,
    descriptors,
    documents,
    endings,
    floods,
    half_open,
    handlers,
    keyed,
    latency,
    logs_full,
    metering,
    present,
    scanners,
    slow,
    strangers,
    workers,
)
from tests.faults.harness import ROWS

__all__ = ["ALL", "PARTS"]

FILES = (
    brokers, latency, present, crowds, slow, descriptors, endings, logs_full, clock, half_open, handlers,
    floods, churn, documents, bullets, keyed, strangers, metering, workers, scanners,
)  # fmt: skip


def _order(name: str) -> tuple[bool, int, str]:
    """Numbered rows first, then the tools of others."""
    numbered = re.match(r"F(\d+)", name)
    return numbered is None, int(numbered[1]) if numbered else 0, name


ALL = {name: ROWS[name] for name in sorted(ROWS, key=_order)}
#: The parts of the page, each with its rows.
_of_workers = [name for name, row in ALL.items() if row.run.__module__ == workers.__name__]
_of_brokers = [name for name in ALL if name.startswith("F6-")]
_of_operation = ["F10", "F15", "metrics", "scrape"]
_of_gallery = ["bullets", "documents", "strangers"]
_elsewhere = {*_of_workers, *_of_brokers, *_of_operation, *_of_gallery, "keyed"}
PARTS = {
    "figures": [name for name in ALL if name not in _elsewhere],
    "operation": _of_operation,
    "workers": _of_workers,
    "brokers": _of_brokers,
    "keys": ["keyed"],
    "gallery": _of_gallery,
}
