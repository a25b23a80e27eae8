"""How often somebody may do something: token buckets by key, for handlers, feeds and pages."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Hashable
from typing import Any

from fastws.config import check_number
from fastws.protocol.http.addresses import address_of
from fastws.protocol.http.messages import Request, Response, error_response

__all__ = ["RateLimit"]

UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}

_RATE = re.compile(r"([1-9][0-9]{0,8})/([smh])")

#: Of a wait that is shorter than this, in seconds, the fault is the clock's: its numbers are rounded.
ROUNDING_SECONDS = 1e-6


class RateLimit:
    """Lets each key do something so often, by a token bucket on the clock of the running loop.

    A bucket holds ``burst`` tokens and is full at first. Each :meth:`allow` takes one, and they come back one
    by one at the rate. So ``"5/s"`` lets five pass at once, and from then on one each 0.2 s. A process counts
    for itself: of several workers each has its own buckets.

    As ``authorize=`` of a route, or called in a page, it answers 429 with ``Retry-After`` where the limit is
    reached, and None where it is not. Its methods belong on the thread of the loop, in any number of tasks.

    Args:
        rate: A whole number, a slash, and ``s``, ``m`` or ``h``: ``"5/s"``, ``"100/m"``, ``"1000/h"``.
        key: Who a subject counts as: called with what :meth:`allow` is given; what it returns is hashed.
            Default: the address of what has a ``peer``, such as a request or a WebSocket (of IPv6 its first
            64 bits; all clients of a Unix socket are one); any other subject counts as itself.
        burst: How many may pass at once. Default: the number in ``rate``.
        max_keys: How many keys are remembered, in some 100 bytes each. Beyond that those which were not used
            for longest are forgotten, and begin with a full bucket. Default 10,000.

    Raises:
        ValueError: ``rate`` is written in another way, or ``burst`` or ``max_keys`` is below 1.
        TypeError: ``rate`` is no text, ``key`` cannot be called, or a number is no integer.
    """

    __slots__ = ("_burst_seconds", "_fresh", "_interval", "_key", "_max_fresh", "_rotates_at", "_stale")

    def __init__(
        self,
        rate: str,
        key: Callable[[Any], Hashable] | None = None,
        *,
        burst: int | None = None,
        max_keys: int = 10_000,
    ) -> None:
        number, seconds = _parsed(rate)
        if key is not None and not callable(key):
            raise TypeError(f"key= is a function of what is counted, not {key!r}")
        if burst is not None:
            check_number("burst", burst, 1)
        check_number("max_keys", max_keys, 1)
        self._key = _address_or_self if key is None else key
        #: Seconds in which one token comes back, and all of them.
        self._interval = seconds / number
        self._burst_seconds = self._interval * (number if burst is None else burst)
        # Of each key, when its bucket is full again. What is written into the newer mapping is full at the
        # latest when that mapping has been the older one for as long: then it is thrown away as a whole.
        self._fresh: dict[Hashable, float] = {}
        self._stale: dict[Hashable, float] = {}
        self._max_fresh = (max_keys + 1) // 2
        self._rotates_at = -math.inf

    def allow(self, subject: Any, count: int = 1) -> bool:
        """Take ``count`` tokens of the subject's bucket; False, and none is taken, where it has fewer.

        Raises:
            ValueError: ``count`` is below 1, or more than a full bucket holds.
            RuntimeError: no event loop runs.
        """
        key = self._key(subject)
        now, full_at, wait = self._look(key, count)
        if wait > 0.0:
            return False
        if key not in self._fresh and len(self._fresh) >= self._max_fresh:
            self._rotate(now)
        self._fresh[key] = full_at + count * self._interval
        return True

    def retry_after(self, subject: Any, count: int = 1) -> float:
        """Return in how many seconds :meth:`allow` returns True; 0.0: now. It takes no token.

        Raises:
            As :meth:`allow`.
        """
        return self._look(self._key(subject), count)[2]

    def __call__(self, request: Request) -> Response | None:
        """Count a request; the response that refuses it, or None.

        429 is RFC 6585, section 4; Retry-After is in whole seconds (RFC 9110, section 10.2.3).
        """
        if self.allow(request):
            return None
        seconds = max(1, math.ceil(self.retry_after(request)))
        return error_response(429, headers=[("Retry-After", str(seconds))])

    def _look(self, key: Hashable, count: int) -> tuple[float, float, float]:
        """Return now, when the bucket is full, and the seconds until it has ``count`` tokens."""
        needed = count * self._interval
        if not 0.0 < needed <= self._burst_seconds + ROUNDING_SECONDS:
            most = round(self._burst_seconds / self._interval)
            raise ValueError(f"count is from 1 to {most}, what a full bucket holds, not {count}")
        now = asyncio.get_running_loop().time()
        if now >= self._rotates_at:
            self._rotate(now)
        full_at = self._fresh.get(key)
        if full_at is None:
            full_at = self._stale.get(key, now)
        full_at = max(full_at, now)
        wait = full_at + needed - self._burst_seconds - now
        return now, full_at, wait if wait > ROUNDING_SECONDS else 0.0

    def _rotate(self, now: float) -> None:
        is_recent = now < self._rotates_at + self._burst_seconds
        self._stale, self._fresh = (self._fresh if is_recent else {}), {}
        self._rotates_at = now + self._burst_seconds


def _parsed(rate: str) -> tuple[int, float]:
    if not isinstance(rate, str):
        raise TypeError(f"a rate is a text such as '5/s', not {rate!r}")
    match = _RATE.fullmatch(rate)
    if match is None:
        raise ValueError(
            f"a rate is a whole number, a slash, and s, m or h, such as '5/s' or '1000/h': not {rate!r}"
        )
    return int(match[1]), UNIT_SECONDS[match[2]]


def _address_or_self(subject: Any) -> Hashable:
    if hasattr(subject, "peer"):
        return address_of(subject.peer)
    counted: Hashable = subject
    return counted
