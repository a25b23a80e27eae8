"""Which bus a hub joins: the one that its process was given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from fastws.pubsub.bus.bus import Bus
from fastws.pubsub.bus.group import Group

__all__ = ["bus_of", "group_of", "install", "installed"]

_installed: Bus | None = None
#: By their paths.
_groups: dict[str, Group] = {}


def install(worker_id: int) -> Bus:
    """Give this process a bus, which every hub made from now on joins by its name.

    Args:
        worker_id: A number of this process, different from every other member's.

    Raises:
        RuntimeError: The process has one already.
    """
    global _installed
    if _installed is not None:
        raise RuntimeError("this process has a bus already")
    _installed = Bus(worker_id)
    return _installed


@contextmanager
def installed(bus: Bus | None) -> Iterator[None]:
    """Let the hubs that are made meanwhile join ``bus``: several members of a bus in one process."""
    global _installed
    before, _installed = _installed, bus
    try:
        yield
    finally:
        _installed = before


def bus_of(broker: str | None) -> Bus | None:
    """Return the bus for a hub's ``broker=``; None for a hub that shares nothing.

    Raises ``ValueError`` for a broker that is none.
    """
    if broker is None:
        broker = os.environ.get("FASTWS_BROKER") or None
    if broker is None:
        return _installed
    if broker == "memory":
        return None
    if not broker.startswith("bus:/"):
        raise ValueError(f"broker= is 'memory' or 'bus:/PATH' with an absolute path, not {broker!r}")
    return _group_at(os.path.normpath(broker.removeprefix("bus:"))).bus


def group_of(bus: Bus) -> Group | None:
    """Return the group that a bus is the member of; None for the bus of a worker."""
    return next((group for group in _groups.values() if group.bus is bus), None)


def _group_at(path: str) -> Group:
    if path not in _groups:
        _groups[path] = Group(path)
    return _groups[path]


def _after_fork() -> None:
    """In a child process: the sockets are its parent's. It may join a bus at a path itself."""
    if _installed is not None:
        _installed.reset(forked=True)
        _installed.outgoing.stop()
        _installed.is_closed = True
    for group in _groups.values():
        group.after_fork()


os.register_at_fork(after_in_child=_after_fork)
