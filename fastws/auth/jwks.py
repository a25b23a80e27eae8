"""Keys that are fetched from a URL (JSON Web Key Sets, RFC 7517), off the loop, and kept."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from fastws.auth.keys import GivenKeys, keys_of_text
from fastws.auth.refusals import NotNow

__all__ = ["FetchedKeys", "fetch"]

log = logging.getLogger("fastws.error")

MAX_BYTES = 2**18
#: Seconds for one fetch, of the fetching thread.
FETCH_SECONDS = 5.0
#: Keys that are older are fetched again when a token comes, and serve meanwhile...
FRESH_SECONDS = 300.0
#: ...until they are so old.
STALE_SECONDS = 3600.0
#: A token with an unknown key does not fetch again sooner.
UNKNOWN_SECONDS = 30.0
#: Nor does anything after a fetch that failed.
FAILED_SECONDS = 5.0
#: Clients that may wait for one fetch.
MAX_WAITING = 1000


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> Any:
        return None  # an error with the status: the keys come from where the operator said


class _Limit(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Ends a fetch that takes too long.

    The timeout of a socket is for one read, and a site may send byte by byte.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.is_over = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection(HTTPConnection), req)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection(HTTPSConnection), req)

    def _connection(self, kind: type[HTTPConnection]) -> Any:
        def connect(host: str, **options: Any) -> HTTPConnection:
            made = kind(host, **options)
            opens = made.connect

            def open_and_note() -> None:
                opens()
                self._sockets.append(made.sock)

            made.connect = open_and_note  # type: ignore[method-assign]
            return made

        return connect

    def _end(self) -> None:
        self.is_over = True
        for each in self._sockets:
            with suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)  # below TLS: the other thread reads there


def fetch(url: str, seconds: float = FETCH_SECONDS) -> bytes:
    """Return what is at a URL; it blocks its thread.

    Raises ``OSError``, ``ValueError`` and ``HTTPException``.
    """
    limit = _Limit(seconds)
    opener = urllib.request.build_opener(_NoRedirect, limit)
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "fastws"})
    try:
        with limit, opener.open(request, timeout=seconds) as response:
            data: bytes = response.read(MAX_BYTES + 1)
    except (OSError, HTTPException):
        if not limit.is_over:
            raise
    if limit.is_over:
        raise TimeoutError(f"it took more than {seconds:g} s")
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    return data


class FetchedKeys:
    """The keys at a URL. All methods belong to one event loop.

    At most one fetch runs at a time, whatever tokens say: no client can make this server fetch more than
    once in half a minute, and nothing is kept of a name that is not known.

    Args:
        url: ``https://``; plain HTTP from this machine only.
        algorithms: Those of the tokens.

    Raises:
        ValueError: The URL is none of these.
    """

    def __init__(
        self,
        url: str,
        algorithms: Sequence[str],
        *,
        get: Callable[[str], bytes] = fetch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url)
        is_local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
        if not parts.hostname or not (parts.scheme == "https" or is_local):
            raise ValueError(f"keys are fetched by https:// (or from this machine), not from {url!r}")
        self._url = url
        self._algorithms = algorithms
        self._get = get
        self._clock = clock
        self._keys: GivenKeys | None = None
        #: When they came, and before when nothing is fetched.
        self._came_at = 0.0
        self._not_before = 0.0
        self._fetching: asyncio.Task[None] | None = None
        self._waiting = 0
        self._failure = "nothing was fetched yet"

    def find(self, kid: str | None, algorithm: str) -> Any | Awaitable[Any]:
        """Return the key that a token names. Raises :class:`Refused` and :class:`NotNow`."""
        now = self._clock()
        keys = self._keys
        if keys is not None and now - self._came_at >= STALE_SECONDS:
            keys = None
        if keys is not None and now - self._came_at >= FRESH_SECONDS and now >= self._not_before:
            self._begin()
        if keys is not None and (keys.has(kid) or now < self._not_before):
            return keys.find(kid, algorithm)
        if keys is None and now < self._not_before and self._fetching is None:
            raise NotNow(self._failure)
        return self._fetched(kid, algorithm)

    def _begin(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._fetch(), name="fetch of keys")
        return self._fetching

    async def _fetched(self, kid: str | None, algorithm: str) -> Any:
        """Return a key after a fetch. Raises :class:`Refused` and :class:`NotNow`."""
        if self._waiting >= MAX_WAITING:
            raise NotNow(f"{MAX_WAITING} clients wait for its key")
        self._waiting += 1
        try:
            # Cancelled with its client, it leaves the fetch to the others.
            await asyncio.shield(self._begin())
        finally:
            self._waiting -= 1
        if self._keys is None or self._clock() - self._came_at >= STALE_SECONDS:
            raise NotNow(self._failure)
        return self._keys.find(kid, algorithm)

    async def _fetch(self) -> None:
        try:
            data = await asyncio.to_thread(self._get, self._url)
            self._keys = keys_of_text(data, self._algorithms)
            self._came_at = self._clock()
            self._not_before = self._came_at + UNKNOWN_SECONDS
        except (OSError, ValueError, TypeError, HTTPException) as error:
            self._failure = f"the keys of {self._url} cannot be fetched: {_words(error)}"
            self._not_before = self._clock() + FAILED_SECONDS
            log.error("%s", self._failure)
        finally:
            self._fetching = None


def _words(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"status {error.code}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
