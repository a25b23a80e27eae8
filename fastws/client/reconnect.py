"""When a client tries again, and what is not worth another try."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from fastws.errors import ConnectionClosed, HandshakeInterrupted, HandshakeRefused, ProxyError
from fastws.protocol.http.messages import Response

__all__ = ["Backoff", "Retry", "retry_after", "is_retryable"]

Retry = Callable[[Exception], bool]

#: Answers that say "not now": too early, too many, and what a proxy says while its server restarts.
PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))


def is_retryable(exc: Exception) -> bool:
    """Return whether another try may have a better end: the default of ``retry``.

    True for a network that fails, for a handshake that is cut off or takes too long, for the
    statuses 408, 425, 429, 500, 502, 503 and 504, and for every WebSocket that was open. False for
    what stays as it is: a certificate that does not verify, another status, an answer that is no
    WebSocket's, an address that is none.
    """
    if isinstance(exc, (HandshakeRefused, ProxyError)) and exc.response is not None:
        return exc.response.status in PASSING
    if isinstance(exc, ssl.SSLError):
        # The peer may end TCP in the middle of TLS; all else is about keys and settings.
        return isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
    if isinstance(exc, PermissionError):
        return False
    return isinstance(exc, (OSError, ConnectionClosed, HandshakeInterrupted, ProxyError))


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between tries: random from 0 to a bound that grows from ``first`` to ``limit``.

    By default 1 s that becomes twice as much (``factor``) with each failure, up to 60 s.

    Random from 0 because the clients of a server that restarts lose it in the same moment, and must
    not come back in the same moment. A WebSocket that stayed open for ``reset`` seconds makes the
    bound ``first`` again (10 s). Raises ``ValueError`` for numbers that do not grow.
    """

    first: float = 1.0
    factor: float = 2.0
    limit: float = 60.0
    reset: float = 10.0

    def __post_init__(self) -> None:
        if self.first < 0 or self.factor < 1 or self.limit < self.first or self.reset < 0:
            raise ValueError("a back-off grows from first (0 or more) to limit, by a factor of 1 or more")

    def bound(self, failures: int) -> float:
        """The longest wait after so many failures in a row."""
        bound = self.first
        for _ in range(failures):
            bound *= self.factor
            if bound >= self.limit:
                return self.limit
            if bound == self.first:
                break
        return bound

    def delay(self, failures: int, asked: float = 0.0) -> float:
        """How long to wait; at least what the server asked for, as far as the limit goes."""
        asked = min(asked, self.limit)
        return asked + random.uniform(0.0, self.bound(failures))


def retry_after(exc: Exception) -> float:
    """Seconds that a refusal asks for (RFC 9110, section 10.2.3); 0 without such a field.

    A date counts as nothing: clocks differ, and the back-off will do.
    """
    response: Response | None = getattr(exc, "response", None)
    value = response.headers.get("retry-after", "") if response is not None else ""
    return float(value) if value and value.isascii() and value.isdigit() and len(value) < 7 else 0.0
