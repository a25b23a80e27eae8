"""Whether something keeps memory each time it is done."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

from tests.selection import must_be_alone


def blocks_kept(work: Callable[[], object], rounds: int, *, flat: int = 10) -> int:
    """Blocks that ``rounds`` of it leave behind, at the end.

    Caches and free lists fill for a while; what leaks never becomes flat.
    """
    must_be_alone()
    kept = 0
    for _ in range(20):
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(rounds):
            work()
        gc.collect()
        kept = sys.getallocatedblocks() - before
        if kept < flat:
            break
    return kept
