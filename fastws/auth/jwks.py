"""Keys that are fetched from a URL (JSON Web Key Sets, RFC 7517), off the loop, and kept."""

from __future__ import annotations

import asyncio
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from http.client import HTTPException
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


def fetch(url: str) -> bytes:
    """Return what is at a URL; it blocks its thread. Raises ``OSError`` and ``ValueError``."""
    opener = urllib.request.build_opener(_NoRedirect)
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "fastws"})
    with opener.open(request, timeout=FETCH_SECONDS) as response:
        data: bytes = response.read(MAX_BYTES + 1)
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
