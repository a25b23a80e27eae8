"""The two files of one document: a snapshot, and a log of what came since. Everything here blocks.

The lock (flock) is that of the log, which stays the same file as long as the document is open; the snapshot
is replaced whole. What is in both is applied twice, which changes nothing.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fastws.yjs.records import MAGIC, Contents, encode_record, file_name, read_contents
from fastws.yjs.stores import StoreError

__all__ = ["DocumentFiles", "sync_folder"]

log = logging.getLogger("fastws.error")

PRIVATE = 0o600


class DocumentFiles:
    """The files of one document in a folder."""

    def __init__(self, folder: Path, name: str, *, most: int | None, is_synced: bool) -> None:
        base = file_name(name)
        self._folder = folder
        self._name = name.encode()
        self._log = folder / f"{base}.log"
        self._snapshot = folder / f"{base}.snapshot"
        #: What was cut off the log since it was not whole.
        self._cut = folder / f"{base}.cut"
        self._most = most
        #: What :meth:`replace` leaves is to survive the machine.
        self._is_synced = is_synced
        #: The log, while its lock is held.
        self._fd = -1
        #: Bytes of the log.
        self._length = 0
        #: True while the log has what a crash of the machine would lose.
        self.is_dirty = False

    @property
    def is_locked(self) -> bool:
        return self._fd >= 0

    def lock(self) -> bool:
        """Take the lock and mend what a crash has left; False while another process has it."""
        if self.is_locked:
            return True
        with self._failures("lock"):
            self._check_number()
            fd = os.open(self._log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_there = os.fstat(fd).st_ino == os.stat(self._log).st_ino
            except (BlockingIOError, FileNotFoundError):
                is_there = False
            except BaseException:
                os.close(fd)
                raise
            if not is_there:  # or the one who had it has just removed the file
                os.close(fd)
                return False
            self._fd = fd
            try:
                self._mend()
            except BaseException:
                self._let_go()
                raise
        return True

    def load(self) -> list[bytes]:
        """Return the updates that are kept."""
        with self._failures("read"):
            # The log first: it is cut only when its updates are in the snapshot.
            updates = self._contents(self._log).records[1:]
            snapshot = self._contents(self._snapshot)
        if self._snapshot_is_damaged(snapshot):
            raise StoreError(f"{self._snapshot}: the snapshot is damaged")
        return snapshot.records[1:] + updates

    def append(self, updates: Sequence[bytes]) -> None:
        """Write more updates; :meth:`sync` makes them safe."""
        data = b"".join(map(encode_record, updates))
        if not self._length:
            data = MAGIC + encode_record(self._name) + data
        with self._failures("write"):
            try:
                _write(self._fd, data)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._fd, self._length)
                raise
        self._length += len(data)
        self.is_dirty = True

    def sync(self) -> None:
        """Wait until the disk has what was written."""
        if self.is_dirty:
            with self._failures("write"):
                os.fsync(self._fd)
            self.is_dirty = False

    def replace(self, snapshot: bytes) -> None:
        """Write a snapshot in place of all."""
        new = self._snapshot.with_suffix(".new")
        with self._failures("write"):
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE)
            try:
                _write(fd, MAGIC + encode_record(self._name) + encode_record(snapshot))
                if self._is_synced:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(new, self._snapshot)
            if self._is_synced:
                sync_folder(self._folder)
            os.ftruncate(self._fd, 0)
        self._length = 0
        self.is_dirty = False

    def close(self) -> None:
        """Give the lock back. A document that nobody has written leaves no file."""
        if not self.is_locked:
            return
        try:
            if self._is_synced:
                self.sync()
            if not self._length and not self._snapshot.exists():
                with suppress(OSError):
                    self._log.unlink()
        finally:
            self._let_go()

    # -- parts ----------------------------------------------------------------------------------

    def _let_go(self) -> None:
        os.close(self._fd)
        self._fd = -1

    def _check_number(self) -> None:
        if self._most is None or self._log.exists():
            return
        if sum(entry.name.endswith(".log") for entry in os.scandir(self._folder)) >= self._most:
            raise StoreError(f"{self._folder} has {self._most} documents, and takes no more")

    def _contents(self, path: Path) -> Contents:
        try:
            contents = read_contents(path.read_bytes())
        except FileNotFoundError:
            return Contents([], 0)
        if contents is None or contents.records[:1] not in ([], [self._name]):
            raise StoreError(f"{path} is no file of this document")
        return contents

    def _snapshot_is_damaged(self, contents: Contents) -> bool:
        return len(contents.records) != 2 and self._snapshot.exists()

    def _mend(self) -> None:
        """Cut off the end of the log that is not whole: a crash has come between."""
        contents = self._contents(self._log)
        # Without a name there is nothing before the damage either.
        good = contents.good_bytes if contents.records else 0
        size = os.fstat(self._fd).st_size
        if size > good:
            with self._log.open("rb") as file, self._cut.open("ab") as cut:
                file.seek(good)
                cut.write(file.read())
                cut.flush()
                os.fsync(cut.fileno())
            os.ftruncate(self._fd, good)
            log.error(
                "%s: the last %d bytes were not whole, as a crash leaves them; they are in %s now",
                self._log,
                size - good,
                self._cut.name,
            )
        self._length = good

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            path = self._log.with_suffix("")
            raise StoreError(f"cannot {what} {path}.*: {error.strerror or error}") from None


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names of a folder."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
