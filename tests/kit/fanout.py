"""The kernel's part of direct writes: descriptors that lead to transports in memory."""

from __future__ import annotations

from typing import Any

import fastws.connection.writer
import fastws.loop.native
import fastws.pubsub.fanout
from fastws.connection.writer import frame_of
from fastws.loop.native import Item
from fastws.testing import MemoryTransport

__all__ = ["Kernel"]


class _Socket:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor


class Kernel:
    """Stands in for the C module that writes to sockets past their transports.

    ``open`` gives a transport a descriptor; the ``send_...`` have the contract of ``fastws.loop._send``.
    ``errors`` maps a descriptor to the errno of its next send.
    """

    def __init__(self) -> None:
        self._transports: dict[int, MemoryTransport] = {}
        self.errors: dict[int, int] = {}
        #: How many sockets each call wrote to.
        self.calls: list[int] = []

    def open(self) -> _Socket:
        """Return a socket for the ``socket=`` of a transport; ``attach`` says which one it was."""
        return _Socket(100 + len(self._transports))

    def attach(self, transport: MemoryTransport) -> MemoryTransport:
        sock: Any = transport.get_extra_info("socket")
        self._transports[sock.fileno()] = transport
        return transport

    def patch(self, monkeypatch: Any) -> None:
        """Put this in the place of the C functions; pytest's ``monkeypatch`` takes it out again."""
        for module in (fastws.loop.native, fastws.connection.writer, fastws.pubsub.fanout):
            for name in ("send_items", "send_many"):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, getattr(self, name))

    def send_items(self, fd: int, items: Item | list[Item]) -> int | tuple[int, int, bytes]:
        self.calls.append(1)
        data = b"".join(map(frame_of, items if isinstance(items, list) else [items]))
        taken = self._send(fd, data)
        rest = data[taken:] if taken >= 0 else b""
        return (len(data), taken, rest) if rest or taken < 0 else taken

    def send_many(self, fds: list[int], data: bytes) -> list[tuple[int, int]] | None:
        self.calls.append(len(fds))
        taken = [(index, self._send(fd, data)) for index, fd in enumerate(fds)]
        return [one for one in taken if one[1] != len(data)] or None

    def _send(self, fd: int, data: bytes) -> int:
        if fd in self.errors:
            return -self.errors.pop(fd)
        return self._transports[fd].send_directly(data)
