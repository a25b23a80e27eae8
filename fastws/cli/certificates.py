"""The certificates of a running server: read again when their files change, or when a signal asks for it.

Listeners keep one context for good. Its SNI callback, which OpenSSL calls in each handshake, also of clients
that send no name, hands the handshake to the newest context. So both loops and every way of accepting renew
their certificates, and what a wrong file leaves half-changed is never in use.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Sequence

from fastws.cli.errors import CannotStart

__all__ = ["Certificates"]

log = logging.getLogger("fastws.error")

#: Seconds between two looks at the files.
WATCH_SECONDS = 1.0


class Certificates:
    """The TLS context of a server, whose certificates follow their files.

    Args:
        make: makes a new context of the files. Raises ``CannotStart`` with the reason.
        files: those that it reads.
    """

    def __init__(self, make: Callable[[], ssl.SSLContext], files: Sequence[str]) -> None:
        self._make = make
        self._files = files
        self._seen = self._look()
        self._failure = ""
        #: What listeners are given; and the one that handshakes use which begin now.
        self.context = self.newest = make()
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self.newest

    def reload(self) -> bool:
        """Read the files again; False where they cannot be used: the certificates of before stay.

        Says once why not, and once that they can be used again. Open connections notice nothing.
        """
        self._seen = self._look()
        try:
            self.newest = self._make()
        except CannotStart as error:
            if str(error) != self._failure:
                self._failure = str(error)
                log.error("the certificates stay as they were: %s", error)
            return False
        self._failure = ""
        log.info("the certificates have been read again; new connections get them")
        return True

    def check(self) -> None:
        """Read the files again if one of them has changed."""
        if self._look() != self._seen:
            self.reload()

    async def watch(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Look at the files once a second, until cancelled."""
        while True:
            await sleep(WATCH_SECONDS)
            self.check()

    def _look(self) -> list[tuple[int, ...] | None]:
        return [_mark(path) for path in self._files]


def _mark(path: str) -> tuple[int, ...] | None:
    """Return what changes with a file, also where a link leads to another one; None: there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
