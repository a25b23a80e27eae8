"""What both publishers have: where they publish, as whom, and what they say of failures. No I/O."""

from __future__ import annotations

import random
import ssl as ssl_module
from collections.abc import Iterator

from fastws.publish.batches import Batch
from fastws.publish.exchange import Exchange, Target, checked_token

__all__ = ["IDLE_SECONDS", "MAX_IDLE", "READ_BYTES", "Door", "pauses"]

#: Connections that are kept for the next message.
MAX_IDLE = 8
#: A connection that nobody used for so long is not used again: the server closes it after 75 s.
IDLE_SECONDS = 30.0
#: Seconds before the second attempt, and between later ones at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
READ_BYTES = 65536


class Door:
    """Where a publisher publishes. The arguments, and what they raise, are those of ``Publisher``."""

    def __init__(
        self, url: str, token: str | None, timeout: float, ssl: ssl_module.SSLContext | None
    ) -> None:
        self.target = Target.parse(url)
        self.timeout = checked_timeout(timeout)
        self.context = ssl
        if self.target.is_tls and ssl is None:
            self.context = ssl_module.create_default_context()
        self._token = checked_token(token)

    def request(self, exchange: Exchange, batch: Batch) -> bytes:
        """Return the request that sends what is open of a batch."""
        return exchange.request(self.target, self._token, batch.body())

    def unreachable(self, batch: Batch, error: Exception) -> None:
        """Note that there is no connection. Raises ``PublishError`` where it is not tried again."""
        batch.lost("connection", f"{self.target} cannot be reached: {words(error)}")

    def unanswered(self, batch: Batch, error: Exception) -> None:
        """Note that it is not known what was published. Raises as :meth:`unreachable`."""
        batch.lost("uncertain", f"{self.target} has not answered: {words(error)}")


def checked_timeout(timeout: float) -> float:
    """Return seconds. Raises ``TypeError`` and ``ValueError``."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout= is a number of seconds, not {timeout!r}")
    if not timeout > 0:
        raise ValueError(f"timeout= is more than 0 seconds, not {timeout}")
    return float(timeout)


def pauses() -> Iterator[float]:
    """Return the seconds to wait before each further attempt: they grow, and no two programs wait alike."""
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.5)
        pause = min(pause * 2, LONGEST_PAUSE)


def words(error: Exception) -> str:
    """Return what is wrong with a connection, without numbers."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
