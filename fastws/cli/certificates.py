"""The certificates of a running server: read again when their files change, or when a signal asks for it.

Listeners keep one context for good. Its SNI callback, which OpenSSL calls in each handshake, also of clients
that send no name, hands the handshake to the newest context for this name. So both loops and every way of
accepting renew their certificates, and what a wrong file leaves half-changed is never in use.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import sys
from collections.abc import Awaitable, Callable, Sequence

from fastws.cli.errors import CannotStart
from fastws.cli.server_names import NamedContext, ServerNames, conflicts

__all__ = ["Certificate", "Certificates", "silence_bad_server_names"]

log = logging.getLogger("fastws.error")

#: Seconds between two looks at the files.
WATCH_SECONDS = 0.5


class Certificate:
    """One certificate with its key, as its files were when they could be used last.

    Args:
        make: makes a new context of the files, with the names in it. Raises ``CannotStart`` with the reason.
        files: those that it reads, the certificate first.
    """

    def __init__(self, make: Callable[[], NamedContext], files: Sequence[str]) -> None:
        self._make = make
        self.files = files
        self._last = self._seen = self._look()
        #: Why the files cannot be used now.
        self.failure = ""
        self.loaded = make()

    def has_changed(self) -> bool:
        """True where the files are not as :meth:`reload` has found them, but as they were at the last look.

        A certificate and its key are written one after the other: meanwhile they do not belong together.
        """
        before, self._last = self._last, self._look()
        return before == self._last != self._seen

    def reload(self) -> bool:
        """Read the files; False where they cannot be used, and then ``failure`` says why."""
        self._seen = self._look()
        try:
            self.loaded = self._make()
        except CannotStart as error:
            self.failure = str(error)
            return False
        self.failure = ""
        return True

    def _look(self) -> list[tuple[int, ...] | None]:
        return [_mark(path) for path in self.files]


class Certificates:
    """The TLS context of a server, whose certificates follow their files.

    Args:
        all_of_them: at least one. A client that sends no server name, or one that is in no certificate, gets
            the first.
    """

    def __init__(self, all_of_them: Sequence[Certificate]) -> None:
        self._all = all_of_them
        #: Whether this process says what is wrong with the files: of several workers one does.
        self.speaks: Callable[[], bool] = lambda: True
        self._told: set[str] = set()
        #: What listeners are given.
        self.context = all_of_them[0].loaded.context
        self._index()
        self.context.sni_callback = self._choose

    def _index(self) -> None:
        self._names = ServerNames([each.loaded for each in self._all])

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._names.find(name)

    def files(self) -> list[str]:
        """Return the file of each certificate."""
        return [each.files[0] for each in self._all]

    def conflicts(self) -> list[str]:
        """Return a line for each certificate that clients cannot get by a name in it."""
        return conflicts(self.files(), [each.loaded for each in self._all])

    def reload(self) -> bool:
        """Read the files again; False where some cannot be used: their certificate stays as it was.

        Says once why not, and once that they can be used again. Open connections notice nothing.
        """
        return self._reload(self._all)

    def check(self) -> None:
        """Look at the files, and read those again that have changed and not changed further since."""
        if changed := [each for each in self._all if each.has_changed()]:
            self._reload(changed)
        elif self._failures():
            self._tell()

    def _reload(self, certificates: Sequence[Certificate]) -> bool:
        read = [each.reload() for each in certificates]
        self._tell()
        if any(read):
            self._index()
            log.info("the certificates have been read again; new connections get them")
        return all(read)

    def _failures(self) -> list[str]:
        return list(dict.fromkeys(each.failure for each in self._all if each.failure))

    def _tell(self) -> None:
        """Say once what is wrong with the files now."""
        if not self.speaks():
            return
        failures = self._failures()
        for failure in failures:
            if failure not in self._told:
                log.error("the certificates stay as they were: %s", failure)
        self._told = set(failures)

    async def watched(self, serving: Awaitable[int]) -> int:
        """Look at the files while ``serving`` runs, and return its result."""
        watching = asyncio.create_task(self.watch())
        try:
            return await serving
        finally:
            watching.cancel()

    async def watch(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Look at the files twice a second, until cancelled."""
        while True:
            await sleep(WATCH_SECONDS)
            self.check()


def silence_bad_server_names() -> None:
    """Keep tracebacks about clients out of the log, for a process that is all ours.

    A server name is ASCII (RFC 6066, section 3). Python refuses the handshake of a client that sends another
    one, and calls ``sys.unraisablehook``, which would write five lines for each.
    """
    before = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if not (isinstance(unraisable.exc_value, UnicodeDecodeError) and type(unraisable.object) is bytes):
            before(unraisable)

    sys.unraisablehook = hook


def _mark(path: str) -> tuple[int, ...] | None:
    """Return what changes with a file, also where a link leads to another one; None: there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
