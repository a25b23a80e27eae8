"""Writes what changes a document: one write at a time, and what came meanwhile in the next one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from fastws.yjs.stores import StoredDocument, StoreError

__all__ = ["Writer"]

log = logging.getLogger("fastws.error")

#: Seconds between two attempts to get the lock, and the first and the longest pause after a failure.
LOCK_SECONDS, RETRY_SECONDS, LONGEST_RETRY = 1.0, 0.5, 30.0
#: A snapshot takes the place of the log when that has so many bytes, and as many as the document; or so many
#: updates.
LOG_BYTES, LOG_UPDATES = 64 * 1024, 2_000
#: And so many when the document is closed.
CLOSED_LOG_UPDATES = 50


class Writer:
    """Keeps one document in its store, once it has the lock.

    Args:
        stored: The document in its store.
        snapshot: Returns the whole document as one update.
    """

    def __init__(self, stored: StoredDocument, snapshot: Callable[[], bytes]) -> None:
        self._stored = stored
        self._snapshot = snapshot
        self.has_lock = False
        #: Changes that are not written yet.
        self._waiting: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        #: What is in the log, about.
        self._log_bytes = self._log_updates = 0
        self._document_bytes = 0
        #: True while the store does not have what another process has written, or was to write.
        self._owes_all = False
        self._closing = False

    async def open(self) -> list[bytes]:
        """Return what is kept; take the lock where no other process has it.

        Raises:
            StoreError: It cannot be read.
        """
        self.has_lock = await self._stored.lock()
        kept = list(await self._stored.load())
        self._log_updates = max(0, len(kept) - 1)
        self._log_bytes = sum(map(len, kept[1:]))
        self._document_bytes = len(kept[0]) if kept else 0
        return kept

    def add(self, changes: list[bytes]) -> None:
        """Keep changes. Who has no lock waits for it: the process that has it writes them as well."""
        if self.has_lock:
            self._waiting += changes
            self._begin()

    def want_lock(self) -> None:
        """Try once a second to become the one that writes."""
        if not self.has_lock:
            self._begin()

    async def close(self) -> None:
        """Write all that waits, and give the lock back. What cannot be written is told in the log."""
        self._closing = True
        if self._task is not None and not self.has_lock:
            self._task.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])
        try:
            if self.has_lock and (self._waiting or self._log_updates > CLOSED_LOG_UPDATES):
                await self._write(is_last=True)
        except StoreError as error:
            log.error("%s; %d changes are lost", error, len(self._waiting))
        finally:
            try:
                await self._stored.close()
            except StoreError as error:
                log.error("%s", error)

    # -- the task -------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._task is None and not self._closing:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a document cannot be written", exc_info=error)

    async def _run(self) -> None:
        pause = RETRY_SECONDS
        while not self.has_lock or self._waiting or self._owes_all:
            try:
                if not self.has_lock:
                    await self._try_lock()
                else:
                    await self._write(is_last=False)
                pause = RETRY_SECONDS
            except StoreError as error:
                log.error("%s; tried again in %g s", error, pause)
                if self._closing:
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_RETRY)

    async def _try_lock(self) -> None:
        if await self._stored.lock():
            self.has_lock = self._owes_all = True
        else:
            await asyncio.sleep(LOCK_SECONDS)

    async def _write(self, *, is_last: bool) -> None:
        waiting, self._waiting = self._waiting, []
        bytes_then = self._log_bytes + sum(map(len, waiting))
        updates_then = self._log_updates + len(waiting)
        is_long = updates_then > (CLOSED_LOG_UPDATES if is_last else LOG_UPDATES)
        try:
            if self._owes_all or is_long or bytes_then > max(LOG_BYTES, self._document_bytes):
                snapshot = self._snapshot()
                await self._stored.replace(snapshot)
                self._owes_all = False
                self._document_bytes, self._log_bytes, self._log_updates = len(snapshot), 0, 0
            else:
                await self._stored.append(waiting)
                self._log_bytes, self._log_updates = bytes_then, updates_then
        except BaseException:
            self._waiting[:0] = waiting
            raise
