"""A store of files: for each document a snapshot, and a log of what came since."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

from fastws.config import check_number
from fastws.yjs.document_files import DocumentFiles
from fastws.yjs.stores import Store, StoredDocument, StoreError

__all__ = ["FileStore", "Fsync"]

log = logging.getLogger("fastws.error")

#: When the disk is waited for: after each write, every so many seconds, or never.
Fsync = Literal["always", "never"] | float
T = TypeVar("T")


class FileStore(Store):
    """Keeps each document in two files of a folder: a snapshot, and a log of what came since.

    Any number of processes of one machine may share the folder; the one that holds a document's lock
    (flock) writes it, and loses it with its end. The snapshot is replaced whole. A log whose end is not
    whole, as a crash leaves it, loses that end: it goes to a file ``….cut``, and the log says so.
    All reading and writing is done in one thread, which the event loop does not wait for.

    Args:
        directory: The folder; it is made where it is missing, for this user alone.
        fsync: When the disk is waited for. ``"always"``: after each write; writes of the meantime are done
            together. A number: so many seconds after a write. ``"never"``: the system decides, which on
            Linux takes up to 30 s. Until then a crash of the *machine* may lose what was written; the end of
            the *process*, by ``SIGKILL`` too, loses what has come in the last milliseconds. Default: 1 s.
        max_documents: How many documents the folder may have; a further one is not opened. Default: any
            number.

    Raises:
        StoreError: The folder cannot be made, or is none.
        TypeError: ``max_documents`` is no integer.
        ValueError: ``fsync`` is none of these, or a number is out of range.
    """

    def __init__(
        self, directory: str | os.PathLike[str], *, fsync: Fsync = 1.0, max_documents: int | None = None
    ) -> None:
        self._fsync = _checked_fsync(fsync)
        if max_documents is not None:
            check_number("max_documents", max_documents, 1)
        self._most = max_documents
        self.directory = Path(directory)
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {self.directory}: {error.strerror}") from None
        self._thread: ThreadPoolExecutor | None = None
        #: Files that have to be synced at the next time.
        self._dirty: dict[DocumentFiles, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def open(self, name: str) -> StoredDocument:
        is_synced = self._fsync != "never"
        return _InFiles(self, DocumentFiles(self.directory, name, most=self._most, is_synced=is_synced))

    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="fastws-yjs-files")
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    def _write(self, files: DocumentFiles, updates: Sequence[bytes]) -> None:
        """Write, in the store's thread."""
        files.append(updates)
        if self._fsync == "always":
            files.sync()

    def _wrote(self, files: DocumentFiles) -> None:
        if isinstance(self._fsync, float):
            self._dirty[files] = None
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(self._fsync, self._sync_soon)

    def _sync_soon(self) -> None:
        self._timer = None
        dirty, self._dirty = self._dirty, {}
        assert self._thread is not None
        self._thread.submit(_sync, list(dirty))


class _InFiles(StoredDocument):
    """A document in a :class:`FileStore`."""

    def __init__(self, store: FileStore, files: DocumentFiles) -> None:
        self._store = store
        self._files = files

    async def lock(self) -> bool:
        return await self._store._run(self._files.lock)

    async def load(self) -> Sequence[bytes]:
        return await self._store._run(self._files.load)

    async def append(self, updates: Sequence[bytes]) -> None:
        await self._store._run(self._store._write, self._files, updates)
        self._store._wrote(self._files)

    async def replace(self, snapshot: bytes) -> None:
        await self._store._run(self._files.replace, snapshot)

    async def close(self) -> None:
        self._store._dirty.pop(self._files, None)
        await self._store._run(self._files.close)


def _sync(dirty: list[DocumentFiles]) -> None:
    for files in dirty:
        if files.is_locked:
            try:
                files.sync()
            except StoreError as error:
                log.error("%s", error)


def _checked_fsync(fsync: Any) -> Fsync:
    if fsync in ("always", "never"):
        found: Fsync = fsync
        return found
    if isinstance(fsync, bool) or not isinstance(fsync, (int, float)):
        raise ValueError(f"fsync is 'always', 'never' or a number of seconds, not {fsync!r}")
    if not (fsync > 0 and math.isfinite(fsync)):
        raise ValueError(f"fsync is more than 0 seconds, not {fsync}")
    return float(fsync)
