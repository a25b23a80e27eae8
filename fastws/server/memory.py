"""Memory of the whole process: for a program of its own, never for a library's host.

Messages of some hundred kilobytes come and go. glibc maps and unmaps each such block by default, and
the page faults cost a quarter of an echo of 1 MiB; told to keep them, it keeps them for good. So both:
blocks are kept while there is traffic, and given back when it has calmed down.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

__all__ = ["keep_blocks", "trim_when_calm"]

# mallopt(3)
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3

#: Blocks below this size come from the heap, and this much may lie unused at its end.
MMAP_THRESHOLD = 4 * 1024 * 1024
TRIM_THRESHOLD = 64 * 1024 * 1024

#: Seconds between two looks at the process.
PERIOD = 2.0
#: Seconds of CPU in a period up to which it is calm.
CALM = 0.1
#: Seconds of CPU since the last time from which on there is something to give back, and how many times
#: what that took: a thousand TLS handshakes that end in nothing leave 50 MB and take hardly more.
WORTH, TIMES = 0.02, 20


def _libc() -> ctypes.CDLL | None:
    """The C library, if it is one with glibc's malloc."""
    import ctypes  # here, for it takes its time, and only a program of its own comes here

    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
    except (OSError, TypeError):
        return None


def keep_blocks() -> bool:
    """Let malloc keep blocks up to 4 MiB for the next message; False where that cannot be said."""
    libc = _libc()
    if libc is None:
        return False
    return bool(
        libc.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD) and libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
    )


async def trim_when_calm() -> None:
    """Give unused memory back to the system in calm times after work; runs until cancelled."""
    libc = _libc()
    if libc is None:
        return
    before = trimmed = time.process_time()
    worth = WORTH
    while True:
        await asyncio.sleep(PERIOD)
        now = time.process_time()
        if now - before <= CALM and now - trimmed > worth:
            libc.malloc_trim(0)
            trimmed = time.process_time()
            worth = max(WORTH, TIMES * (trimmed - now))
            now = trimmed
        before = now
