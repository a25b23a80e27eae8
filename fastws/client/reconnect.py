"""When a client connects again, how long it waits, and which failures it does not retry."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from fastws.errors import ConnectionClosed, HandshakeInterrupted, HandshakeRefused, ProxyError
from fastws.protocol.http.messages import Response

__all__ = ["Backoff", "Retry", "retry_after", "is_retryable"]

Retry = Callable[[Exception], bool]

#: Statuses that may pass: a request too early or one of too many (RFC 9110, section 15.5.9; RFC 8470,
#: section 5.2; RFC 6585, section 4), and what a proxy answers while its server restarts.
PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))


def is_retryable(exc: Exception) -> bool:
    """Return whether another attempt may succeed: the default ``retry`` of :class:`connect`.

    Args:
        exc: What an attempt raised, or the :class:`ConnectionClosed` of a WebSocket that was open.

    Returns:
        True for a network that fails (``OSError``), a handshake that is cut off or takes too long
        (``TimeoutError``), the statuses 408, 425, 429, 500, 502, 503 and 504 of a server or an HTTP proxy,
        and every :class:`ConnectionClosed`, whatever its code. False for what does not pass by itself: a
        certificate that does not verify, another status, an answer that breaks RFC 6455, a URL that is none.
    """
    if isinstance(exc, (HandshakeRefused, ProxyError)) and exc.response is not None:
        return exc.response.status in PASSING
    if isinstance(exc, ssl.SSLError):
        # The peer may end TCP in the middle of TLS; every other TLS error is about keys and settings.
        return isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
    if isinstance(exc, PermissionError):
        return False
    return isinstance(exc, (OSError, ConnectionClosed, HandshakeInterrupted, ProxyError))


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long ``async for ws in connect(url)`` waits between two attempts.

    The wait is random, between 0 and a bound that grows with each failure in a row: the clients of a server
    that restarts lose it in the same moment, and must not come back in the same moment.

    Args:
        first: Seconds, the bound of the first wait. Default 1.
        factor: What the bound is multiplied by with each further failure. Default 2.
        limit: Seconds that the bound never exceeds, nor what a ``Retry-After`` adds. Default 60.
        reset: Seconds. A WebSocket that was open for so long makes the bound ``first`` again. Default 10.

    Raises:
        ValueError: ``first`` or ``reset`` is negative, ``factor`` below 1, or ``limit`` below ``first``.
    """

    first: float = 1.0
    factor: float = 2.0
    limit: float = 60.0
    reset: float = 10.0

    def __post_init__(self) -> None:
        if self.first < 0 or self.factor < 1 or self.limit < self.first or self.reset < 0:
            raise ValueError("a back-off grows from first (0 or more) to limit, by a factor of 1 or more")

    def bound(self, failures: int) -> float:
        """Return the longest wait, in seconds, after ``failures`` (0 or more) in a row."""
        bound = self.first
        for _ in range(failures):
            bound *= self.factor
            if bound >= self.limit:
                return self.limit
            if bound == self.first:
                break
        return bound

    def delay(self, failures: int, asked: float = 0.0) -> float:
        """Return how many seconds to wait now.

        Args:
            failures: How many attempts in a row failed before, 0 or more.
            asked: Seconds that the server asked for by ``Retry-After``; counted up to ``limit``. Default 0.

        Returns:
            ``asked``, and a random part between 0 and ``bound(failures)``.
        """
        asked = min(asked, self.limit)
        return asked + random.uniform(0.0, self.bound(failures))


def retry_after(exc: Exception) -> float:
    """Return the seconds of a refusal's Retry-After (RFC 9110, section 10.2.3); 0 without such a field.

    A date counts as 0: clocks differ, and the back-off suffices.
    """
    response: Response | None = getattr(exc, "response", None)
    value = response.headers.get("retry-after", "") if response is not None else ""
    return float(value) if value and value.isascii() and value.isdigit() and len(value) < 7 else 0.0
