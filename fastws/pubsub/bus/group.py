"""A bus of processes that somebody else started: they meet in a directory.

Each process listens on a socket in it and connects to those of the others that are there. Under a lock one
joins at a time, so that two processes have one connection between them. Only processes of the same user get
in: the directory is theirs alone, and the kernel is asked who is at the other end of each socket.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
import socket
import stat
import struct
from contextlib import suppress
from pathlib import Path

from fastws.errors import BrokerUnavailable
from fastws.pubsub.bus.bus import Bus

__all__ = ["Group"]

log = logging.getLogger("fastws.error")

LOCK = "lock"
SUFFIX = ".sock"
#: Seconds between two looks at a lock, and seconds of the first and the longest pause after a failure.
LOCK_PAUSE = 0.01
RETRY, LONGEST_RETRY = 1.0, 30.0
#: Linux's longest path of a socket.
PATH_BYTES = 107
BACKLOG = 128


class Group:
    """This process's membership of the bus at a path. It starts at its first use, or by :meth:`start`."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.bus = Bus(0)
        self.bus.on_first_use = self._start_later
        self._starting: asyncio.Task[None] | None = None
        self._joining = asyncio.Lock()
        self._listener: socket.socket | None = None
        self._own: Path | None = None

    async def start(self, timeout: float) -> None:
        """Join. Raises :class:`BrokerUnavailable` where that cannot be, or not in ``timeout`` seconds."""
        async with self._joining:
            if self.bus.loop is None:
                try:
                    await asyncio.wait_for(self._join(), timeout)
                except TimeoutError:
                    self._let_go()
                    raise BrokerUnavailable(f"bus:{self.path}: not joined within {timeout:g} s") from None
                except (BrokerUnavailable, asyncio.CancelledError):
                    self._let_go()
                    raise

    async def close(self) -> None:
        """Leave the bus."""
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None
        if self._listener is not None and self.bus.loop is not None:
            self.bus.loop.remove_reader(self._listener.fileno())
        await self.bus.close()
        self._let_go()

    def _start_later(self) -> None:
        """Begin to join in the background, on the loop that runs here; without one a later use does."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._starting is None or self._starting.done():
            self._starting = loop.create_task(self._keep_trying())

    async def _keep_trying(self) -> None:
        pause, told = RETRY, ""
        while True:
            try:
                await self.start(LONGEST_RETRY)
            except BrokerUnavailable as error:
                if str(error) != told:
                    told = str(error)
                    log.error("%s; what is published stays in this process", told)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_RETRY)
            else:
                return

    async def _join(self) -> None:
        try:
            self._check_directory()
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                await self._take(lock)
                identity = secrets.randbits(63)
                self.bus.identity = identity
                self._listen(f"{identity:016x}{SUFFIX}")
                for other in sorted(self.path.glob(f"*{SUFFIX}")):
                    if other != self._own:
                        await self._connect(other)
                await self.bus.start()
                assert self._listener is not None
                asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)
            finally:
                os.close(lock)
        except OSError as error:
            raise BrokerUnavailable(f"bus:{self.path}: {error.strerror or error}") from None

    def _check_directory(self) -> None:
        with suppress(FileExistsError):
            self.path.mkdir(mode=0o700)
        found = self.path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise BrokerUnavailable(f"bus:{self.path} is no directory")
        if found.st_uid != os.geteuid():
            raise BrokerUnavailable(f"bus:{self.path} belongs to user {found.st_uid}, not to {os.geteuid()}")
        if found.st_mode & 0o077:
            raise BrokerUnavailable(f"bus:{self.path} is open to others: its mode has to be 0700")

    async def _take(self, lock: int) -> None:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(LOCK_PAUSE)
            else:
                return

    def _listen(self, name: str) -> None:
        own = self.path / name
        if len(os.fsencode(own)) > PATH_BYTES:
            raise BrokerUnavailable(f"bus:{self.path}: the path is too long for a socket in it")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.settimeout(0)
        self._listener.bind(os.fspath(own))
        self._own = own
        self._listener.listen(BACKLOG)

    async def _connect(self, other: Path) -> None:
        """Connect to another member; remove its socket where it is there no more."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(0)
        try:
            while True:
                try:
                    sock.connect(os.fspath(other))
                except BlockingIOError:  # so many wait to be accepted there
                    await asyncio.sleep(LOCK_PAUSE)
                else:
                    break
        except (ConnectionRefusedError, FileNotFoundError):
            sock.close()
            other.unlink(missing_ok=True)
            return
        except BaseException:
            sock.close()
            raise
        self._add(sock)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        self._add(sock)

    def _add(self, sock: socket.socket) -> None:
        """Take a member in, where it is a process of our own user."""
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, user, _ = struct.unpack("3i", credentials)
        if user != os.geteuid():
            log.error("bus:%s: process %d of user %d is refused", self.path, pid, user)
            sock.close()
            return
        self.bus.add_peer(sock)

    def _let_go(self) -> None:
        for peer in self.bus.peers if self.bus.loop is None else ():
            self.bus.drop(peer)
        if self._own is not None:
            self._own.unlink(missing_ok=True)
            self._own = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
