"""Memory that processes share, by a descriptor, and a lock on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

try:
    import fcntl
except ImportError:  # Windows: nothing is shared there
    fcntl = None  # type: ignore[assignment]

__all__ = ["locked", "memory_file"]


def memory_file(name: str, size: int) -> int:
    """Return a descriptor of so many zeros in memory (``memfd_create``).

    Where the system has no such thing, they are in a file without a name.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
    else:
        import tempfile  # not above: only systems without memfd_create need it

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size)
    return fd


@contextmanager
def locked(fd: int) -> Iterator[None]:
    """Keep other processes out of such a block; -1: there are none. Who is killed lets go of it."""
    if fd < 0 or fcntl is None:
        yield
        return
    fcntl.lockf(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(fd, fcntl.LOCK_UN)
