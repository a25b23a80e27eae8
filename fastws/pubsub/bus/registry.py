"""Which bus a hub joins: the one that its process was given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from fastws.pubsub.brokers.urls import broker_at, broker_in_environment, check_broker, is_broker_url
from fastws.pubsub.bus.bus import Bus
from fastws.pubsub.bus.group import Group

__all__ = [
    "Membership",
    "broker_urls",
    "bus_of",
    "group_of",
    "install",
    "install_broker",
    "installed",
    "start_all",
    "use_broker",
]


class Membership(Protocol):
    """What gives this process a bus: a directory in which processes meet, or a broker."""

    @property
    def bus(self) -> Bus: ...
    async def start(self, timeout: float) -> None: ...
    async def close(self) -> None: ...
    def after_fork(self) -> None: ...


_installed: Bus | None = None
#: By path, or URL, or by the broker itself.
_groups: dict[Any, Membership] = {}
#: Whether the environment says what hubs without a ``broker=`` use; and what they use where it does not.
_asks_environment = True
_default: str | None = None


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


def install_broker(url: str) -> Membership:
    """Let every hub made from now on be joined with others by a broker; return what starts that.

    Raises as :func:`bus_of`.
    """
    global _installed
    node = _node(url, lambda: broker_at(url))
    _installed = node.bus
    return node


@contextmanager
def installed(bus: Bus | None) -> Iterator[None]:
    """Let the hubs that are made meanwhile join ``bus``: several members of a bus in one process."""
    global _installed
    before, _installed = _installed, bus
    try:
        yield
    finally:
        _installed = before


def use_broker(broker: str | None) -> None:
    """Let hubs without a ``broker=`` use this one, whatever the environment says; None: the bus installed."""
    global _asks_environment, _default
    _asks_environment, _default = False, broker


def bus_of(broker: Any) -> Bus | None:
    """Return the bus for a hub's ``broker=``; None for a hub that shares nothing.

    Raises ``ValueError`` for a broker that is none, and ``ImportError`` where its library is missing.
    """
    if broker is None:
        broker = broker_in_environment() if _asks_environment else _default
    if broker is None:
        return _installed
    if not isinstance(broker, str):
        return _node(broker, lambda: broker).bus
    check_broker(broker)
    if broker == "memory":
        return None
    if is_broker_url(broker):
        broker_at(broker)  # so that a mistake is told where the hub is made
        return _node(broker, lambda: broker_at(broker)).bus
    path = os.path.normpath(broker.removeprefix("bus:"))
    if path not in _groups:
        _groups[path] = Group(path)
    return _groups[path].bus


def broker_urls() -> list[str]:
    """Return the URLs of brokers that hubs of this process have asked for."""
    return [key for key in _groups if isinstance(key, str) and is_broker_url(key)]


async def start_all(timeout: float) -> None:
    """Start what joins the hubs that were made so far. Raises :class:`fastws.BrokerUnavailable`."""
    for group in list(_groups.values()):
        await group.start(timeout)


def group_of(bus: Bus) -> Membership | None:
    """Return what gave this process a bus; None for the bus of a worker."""
    return next((group for group in _groups.values() if group.bus is bus), None)


def _node(key: Any, make: Any) -> Membership:
    """Return the node of this process at a broker, whose modules are imported when there is one."""
    if key not in _groups:
        from fastws.pubsub.gateway.node import Node

        _groups[key] = Node(make)
    return _groups[key]


def _after_fork() -> None:
    """In a child process: the sockets are its parent's. It may join a bus at a path itself."""
    if _installed is not None:
        _installed.reset(forked=True)
        _installed.outgoing.stop()
        _installed.is_closed = True
    for group in _groups.values():
        group.after_fork()


os.register_at_fork(after_in_child=_after_fork)
