# cython: annotation_typing=False
"""How often: at most so many messages in any second, and of a flood so many a second."""

from __future__ import annotations

import math
from collections import deque

__all__ = ["Pace", "Sampler", "checked_rate", "least", "rest_seconds"]

#: So many of the last times are remembered: with more the distance between two is exact enough.
MAX_TIMES = 100
#: At the beginning of a flood so large a part of a second's messages is let through at once.
BURST_PART = 10
#: Seconds by which a sender of a flood is read later, at most; less than the second number is not worth it.
MAX_REST_SECONDS = 0.016
MIN_REST_SECONDS = 0.002
#: From this rate on, the burst makes up for what came late.
BURST_RATE = 20


def checked_rate(name: str, rate: float | None) -> float | None:
    """Return a number of messages a second. Raises ``TypeError`` and ``ValueError``."""
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, (int, float)):
        raise TypeError(f"{name} is a number of messages a second, not {rate!r}")
    if not 0 < rate < math.inf:
        raise ValueError(f"{name} is more than 0 messages a second, not {rate}")
    return float(rate)


def least(*rates: float | None) -> float | None:
    """Return the least of several rates, None where there is none."""
    return min((rate for rate in rates if rate is not None), default=None)


def rest_seconds(rate: float) -> float:
    """Return how much later a sender is read of whose messages ``rate`` a second are let through.

    It is half of the time from one to the next: what is let through is as many, and not much older.
    """
    seconds = min(MAX_REST_SECONDS if rate >= BURST_RATE else MAX_REST_SECONDS / 2, 0.5 / rate)
    return seconds if seconds >= MIN_REST_SECONDS else 0.0


class Pace:
    """When one subscription may be sent its next message: ``rate`` in any second at most, evenly spread.

    A rate below 1 is one message in that many seconds more; any other is rounded down.
    """

    __slots__ = ("_times", "_window", "interval")

    def __init__(self, rate: float) -> None:
        most = max(math.floor(rate), 1)
        #: Seconds between two messages.
        self.interval = 1 / most if rate >= 1 else 1 / rate
        kept = min(most, MAX_TIMES)
        self._window = kept / most if rate >= 1 else self.interval
        self._times: deque[float] = deque(maxlen=kept)

    def change(self, rate: float) -> None:
        """Let it be another rate, from the last message on."""
        times = self._times
        Pace.__init__(self, rate)
        self._times.extend(times)

    def due(self) -> float:
        """Return the time from which on the next one may be sent."""
        times = self._times
        if not times:
            return -math.inf
        due = times[-1] + self.interval
        # Ten times a tenth of a second may be less than a second.
        return max(due, times[0] + self._window) if len(times) == times.maxlen else due

    def sent(self, now: float, messages: int) -> None:
        """Count what was sent."""
        self._times.extend([now] * messages)


class Sampler:
    """Lets so many messages a second through, evenly spread; a few more where a flood begins."""

    __slots__ = ("_ahead", "_burst", "_interval")

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._burst = max(rate / BURST_PART, 1.0) * self._interval
        #: The time for which all that was let through is enough.
        self._ahead = -math.inf

    def lets_through(self, now: float) -> bool:
        """True for a message that goes on."""
        ahead = self._ahead
        if ahead < now:
            ahead = now
        # The smallest part of an interval is not missing: ten tenths may be less than one.
        if ahead + self._interval > now + self._burst + 1e-9:
            return False
        self._ahead = ahead + self._interval
        return True
