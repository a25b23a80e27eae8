"""Memory of the whole process: for a program of its own, never for a program that embeds a server.

Messages of some hundred kilobytes come and go. glibc maps and unmaps each such block by default, and the
page faults cost a quarter of an echo of 1 MiB. Told to keep blocks, glibc keeps them for good. So it is told
to keep them, and what is unused is given back when the traffic has calmed down.
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
CHECK_INTERVAL = 2.0
#: Seconds of CPU between two looks up to which the process is calm.
CALM_CPU_SECONDS = 0.1
#: Seconds of CPU since memory was last given back before it is given back again. A thousand TLS handshakes
#: that end in nothing leave 50 MB and take hardly more.
MIN_CPU_SECONDS = 0.02
#: And at least so many times the CPU that giving back took the last time.
TRIM_COST_FACTOR = 20


def _libc() -> ctypes.CDLL | None:
    """Return the C library where it has glibc's malloc, else None."""
    import ctypes  # not above: the import takes long, and only a program of its own needs it

    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
    except (OSError, TypeError):
        return None


def keep_blocks() -> bool:
    """Let malloc keep blocks up to 4 MiB for the next message; False where the C library cannot do that."""
    libc = _libc()
    if libc is None:
        return False
    return bool(
        libc.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD) and libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
    )


async def trim_when_calm() -> None:
    """Give unused memory back to the system whenever the process is calm after work; runs until cancelled."""
    libc = _libc()
    if libc is None:
        return
    before = trimmed = time.process_time()
    worth = MIN_CPU_SECONDS
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        now = time.process_time()
        if now - before <= CALM_CPU_SECONDS and now - trimmed > worth:
            libc.malloc_trim(0)
            trimmed = time.process_time()
            worth = max(MIN_CPU_SECONDS, TRIM_COST_FACTOR * (trimmed - now))
            now = trimmed
        before = now
