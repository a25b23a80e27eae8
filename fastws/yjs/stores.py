"""Where documents are kept: the seam that each store fills, and the one in memory."""

from __future__ import annotations

from collections.abc import Sequence

from fastws.errors import FastWSError

__all__ = ["MemoryStore", "Store", "StoreError", "StoredDocument"]


class StoreError(FastWSError):
    """A store cannot read or write a document: the text says why."""


class StoredDocument:
    """What a store has of one document that is open in this process: subclass it with :class:`Store`.

    :class:`fastws.yjs.Documents` makes one call at a time. An update is a byte string of Yjs (version 1).
    Updates may come twice and in any order: a document is the sum of them.
    """

    async def lock(self) -> bool:
        """Become the one process that writes the document, until :meth:`close`; False while another one is.

        A process that ends, however that happens, has to lose the lock. Asked again once a second while it
        is False and clients are here.

        Raises:
            StoreError: It cannot be done. The client is closed with 4500, and comes back.
        """
        raise NotImplementedError

    async def load(self) -> Sequence[bytes]:
        """Return the updates that are kept; none for a document that is new. Called with and without lock.

        Raises:
            StoreError: They cannot be read. The client is closed with 4500, and comes back.
        """
        raise NotImplementedError

    async def append(self, updates: Sequence[bytes]) -> None:
        """Keep more updates. Called with the lock only.

        Raises:
            StoreError: It cannot be done. It is tried again, with these updates and those that came since.
        """
        raise NotImplementedError

    async def replace(self, snapshot: bytes) -> None:
        """Keep one update in place of all that are kept. Called with the lock only.

        Raises:
            StoreError: It cannot be done. What was kept has to be there still.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Give the lock back, if it was held. What was kept has to be as safe as this store ever makes it."""
        raise NotImplementedError


class Store:
    """Keeps documents for :class:`fastws.yjs.Documents`: subclass it for a database of your own."""

    #: True where processes that share a hub do not share what is kept: then they ask each other for it.
    is_private = False

    def keeps(self, name: str) -> bool:
        """Return whether a document is kept. Asked of a private store only, when another process opens it."""
        return False

    async def open(self, name: str) -> StoredDocument:
        """Return what is kept of a document, without its lock.

        Args:
            name: At most 200 bytes of UTF-8, without control characters.

        Raises:
            StoreError: It cannot be opened. The client is closed with 4500, and comes back.
        """
        raise NotImplementedError


class MemoryStore(Store):
    """Keeps documents in the memory of this process, for as long as that lasts.

    Workers ask each other for what they have: a document is there as long as one of those that had it lives.

    Args:
        max_bytes: How many bytes all documents may have. Those that were used longest ago are forgotten.
            Default: 64 MiB.
    """

    is_private = True

    def __init__(self, *, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        #: By name, the least recently used first.
        self._kept: dict[str, list[bytes]] = {}
        self._open: set[str] = set()
        self._bytes = 0

    def keeps(self, name: str) -> bool:
        return name in self._kept

    async def open(self, name: str) -> StoredDocument:
        return _InMemory(self, name)

    def _take(self, name: str) -> list[bytes]:
        updates = self._kept.pop(name, [])
        self._bytes -= sum(map(len, updates))
        return updates

    def _keep(self, name: str, updates: list[bytes]) -> None:
        self._kept[name] = updates
        self._bytes += sum(map(len, updates))
        for other in list(self._kept):
            if self._bytes <= self._max_bytes:
                break
            if other not in self._open:
                self._take(other)


class _InMemory(StoredDocument):
    """A document in a :class:`MemoryStore`."""

    def __init__(self, store: MemoryStore, name: str) -> None:
        self._store = store
        self._name = name
        self._is_locked = False

    async def lock(self) -> bool:
        if not self._is_locked and self._name in self._store._open:
            return False
        self._store._open.add(self._name)
        self._is_locked = True
        return True

    async def load(self) -> Sequence[bytes]:
        return list(self._store._kept.get(self._name, ()))

    async def append(self, updates: Sequence[bytes]) -> None:
        kept = self._store._take(self._name)
        kept.extend(updates)
        self._store._keep(self._name, kept)

    async def replace(self, snapshot: bytes) -> None:
        self._store._take(self._name)
        self._store._keep(self._name, [snapshot])

    async def close(self) -> None:
        if self._is_locked:
            self._store._open.discard(self._name)
            self._is_locked = False
