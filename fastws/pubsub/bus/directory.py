"""The directory in which processes meet: who may use it, its lock, and the sockets of the members in it."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastws.errors import BrokerUnavailable

__all__ = ["Directory"]

log = logging.getLogger("fastws.error")

LOCK = "lock"
#: The name of a member's socket: its identity. What has another name is not touched.
NAME = re.compile(r"([0-9a-f]{16})\.sock")
#: Linux's longest path of a socket.
PATH_BYTES = 107
BACKLOG = 128


class Directory:
    """A directory of mode 0700 of our own user. Nothing here waits."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def check(self) -> None:
        """Make it where it is missing. Raises :class:`BrokerUnavailable` where others could get in."""
        with suppress(FileExistsError):
            self.path.mkdir(mode=0o700)
        found = self.path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise BrokerUnavailable(f"bus:{self.path} is no directory")
        if found.st_uid != os.geteuid():
            raise BrokerUnavailable(f"bus:{self.path} belongs to user {found.st_uid}, not to {os.geteuid()}")
        if found.st_mode & 0o077:
            raise BrokerUnavailable(f"bus:{self.path} is open to others: its mode has to be 0700")

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock, under which one process at a time joins; False where another one has it."""
        lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(lock)

    def socket_of(self, identity: int) -> Path:
        """Return where the socket of a member stands."""
        return self.path / f"{identity:016x}.sock"

    def members(self) -> set[int]:
        """Return the identities of those whose sockets are there, also of processes that have ended."""
        return {int(found[1], 16) for found in map(NAME.fullmatch, os.listdir(self.path)) if found}

    def listen(self, identity: int) -> socket.socket:
        """Return a socket that listens here for other members."""
        own = self.socket_of(identity)
        if len(os.fsencode(own)) > PATH_BYTES:
            raise BrokerUnavailable(f"bus:{self.path}: the path is too long for a socket in it")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.settimeout(0)
            listener.bind(os.fspath(own))
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener

    def connect(self, identity: int) -> socket.socket | None:
        """Connect to a member. None where it is there no more, and then its socket is removed.

        Raises ``BlockingIOError`` where so many wait already that the kernel takes no more.
        """
        other = self.socket_of(identity)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(0)
        try:
            sock.connect(os.fspath(other))
        except (ConnectionRefusedError, FileNotFoundError):
            sock.close()
            other.unlink(missing_ok=True)
            return None
        except BaseException:
            sock.close()
            raise
        return self.checked(sock)

    def checked(self, sock: socket.socket) -> socket.socket | None:
        """Return ``sock`` where a process of our own user is at its other end; else close it."""
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, user, _ = struct.unpack("3i", credentials)
        if user != os.geteuid():
            log.error("bus:%s: process %d of user %d is refused", self.path, pid, user)
            sock.close()
            return None
        return sock
