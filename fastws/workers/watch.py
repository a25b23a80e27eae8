"""What others may know of the workers while the supervisor runs: another thread may ask."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter

from fastws.server.shared_page import SharedPage
from fastws.workers.keeping import Keeping
from fastws.workers.notify import Watchdog
from fastws.workers.pool import Pool
from fastws.workers.states import Phase, State, Worker

__all__ = ["Watch"]

log = logging.getLogger("fastws.error")


class Watch:
    """Reads, and changes nothing.

    Args:
        pool: the workers.
        page: what they count.
        keeping: the keeper of histories.
    """

    def __init__(self, pool: Pool, page: SharedPage, keeping: Keeping) -> None:
        self.page = page
        self._pool = pool
        self._keeping = keeping
        #: When the supervisor last looked at everything, on the monotonic clock.
        self.turned = time.monotonic()
        self._watchdog = Watchdog()

    def turn(self) -> None:
        """The supervisor looks at everything."""
        self.turned = time.monotonic()
        if self._pool.phase is not Phase.STARTING:
            self._watchdog.beat(self.turned)

    def states(self) -> dict[str, int]:
        """Return how many workers there are in each state."""
        found = Counter(each.state.name.lower() for each in list(self._pool.workers))
        return {state.name.lower(): found[state.name.lower()] for state in State}

    def answering(self) -> list[Worker]:
        """Return the workers that run a loop and can be asked."""
        return [each for each in self._pool.workers if each.state is not State.STARTING]

    def pids(self) -> list[int]:
        """Return the processes that run."""
        keeper = self._keeping.pid
        workers = [each.pid for each in list(self._pool.workers) if each.pid]
        return [os.getpid(), *workers, *([] if keeper is None else [keeper])]

    def say_totals(self) -> None:
        """Log what all workers have done."""
        totals = self.page.totals()
        log.info(
            "served %d connections, %d messages in and %d out",
            totals["connections"],
            totals["messages_received"],
            totals["messages_sent"],
        )

    def why_not_ready(self) -> str | None:
        """Return why clients are better sent elsewhere; None where they are not."""
        if self._pool.phase is Phase.STARTING:
            return "it starts"
        if self._pool.phase is not Phase.RUNNING:
            return "it drains"
        return None if self.states()["ready"] else "no worker serves"
