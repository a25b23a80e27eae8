"""How much of what topics keep the clients of one address may be sent: a bucket of bytes for each address."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from typing import Any

from fastws.feed.access import FeedError
from fastws.protocol.http.addresses import address_of

__all__ = ["ReplayBudget", "peer_of"]

#: An empty bucket is full again after so many seconds.
PERIOD = 60.0
#: Addresses that are remembered, in some 300 bytes each. Those that were not replayed anything for longest
#: are forgotten, and begin with a full bucket.
MAX_ADDRESSES = 10_000
#: Nobody is asked to come back sooner; and so much later than it would do, since times are rounded.
LEAST_SECONDS = 0.1
MARGIN_SECONDS = 0.002


class Bucket:
    """That of one address, in times of the loop's clock."""

    __slots__ = ("full_at", "turn")

    def __init__(self, now: float) -> None:
        #: When it is full again.
        self.full_at = now
        #: When the next one that is refused may come back: behind those that were refused before.
        self.turn = now


class ReplayBudget:
    """Counts what the clients of an address are replayed. A bucket is full at first.

    Who comes while there is something in the bucket is let in, and what it is sent is taken out, also where
    that is more: the next ones wait until it is made up for. So a history that is larger than the bucket
    can be replayed too. Those that are refused are asked to come back one after the other.

    Args:
        bytes_a_minute: What a full bucket holds, and what comes back within a minute.
    """

    __slots__ = ("_buckets", "_rate")

    def __init__(self, bytes_a_minute: int) -> None:
        self._rate = bytes_a_minute / PERIOD
        #: The one that was used last is the last one.
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def admit(self, size: int | None, *subjects: Any) -> None:
        """Let a client be replayed ``size`` bytes; None: it is not known yet how many, see :meth:`charge`.

        ``subjects`` are the request, and what else may know the client's address. A client without one, as at
        a Unix socket, is not counted.

        Raises:
            FeedError: Too much was replayed to its address. It says when to come back.
        """
        if size == 0:
            return
        address = address_of(peer_of(*subjects))
        if address is None:
            return
        now = asyncio.get_running_loop().time()
        bucket = self._buckets.get(address)
        if bucket is None or bucket.full_at - now < PERIOD:
            self._take(address, size or 0, now)
            return
        clear = bucket.full_at - PERIOD
        turn = max(bucket.turn, clear)
        if turn - now > PERIOD:  # nobody is to wait for long: of those before it some may never come
            turn = clear
        bucket.turn = turn + (size or 0) / self._rate
        wait = math.ceil(1000 * (max(turn - now, LEAST_SECONDS) + MARGIN_SECONDS)) / 1000
        raise FeedError("too_fast", "too much was replayed to your address", wait)

    def charge(self, size: int, *subjects: Any) -> None:
        """Count what an admitted client is replayed, of which it was not known before how much it is."""
        address = address_of(peer_of(*subjects)) if size else None
        if address is not None:
            self._take(address, size, asyncio.get_running_loop().time())

    def _take(self, address: str, size: int, now: float) -> None:
        bucket = self._buckets.pop(address, None)
        if bucket is None:
            bucket = Bucket(now)
            if len(self._buckets) >= MAX_ADDRESSES:
                self._buckets.popitem(last=False)
        self._buckets[address] = bucket
        bucket.full_at = max(bucket.full_at, now) + size / self._rate


def peer_of(*subjects: Any) -> Any:
    """Return the address, as a socket has it, that the first of these has which has one; None where none has.

    They are requests and WebSockets of any framework. Whose word is taken where a proxy stands before it is
    the framework's own matter.
    """
    for subject in subjects:
        peer = getattr(subject, "peer", None)  # fastws
        if peer is None and isinstance(scope := getattr(subject, "scope", None), dict):  # ASGI
            peer = scope.get("client")
        if peer is None and isinstance(remote := getattr(subject, "remote", None), str):  # aiohttp
            peer = (remote, 0)
        if peer is None:  # websockets
            peer = getattr(subject, "remote_address", None)
        if peer is not None:
            return tuple(peer) if isinstance(peer, list) else peer
    return None
