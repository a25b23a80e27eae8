"""Whether the generator had time to spare. Without it the figures show its own limit and not the server's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["SATURATED_SHARE", "Load", "contention", "saturation"]

#: Above this share of its core a generator is the bottleneck.
SATURATED_SHARE = 0.95
#: A generator that waited for its core for a larger share of the time than this gets a remark.
CONTENDED_SHARE = 0.05
#: A shorter measured time is ignored: all clients were lost before it began.
MIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Load:
    """The CPU time of one generator process during the measured time. All in seconds.

    ``waited``: how long it could have run while other processes had its core.
    """

    wall: float
    cpu: float
    waited: float

    @property
    def cpu_share(self) -> float:
        return self.cpu / self.wall if self.wall > 0 else 0.0

    @property
    def waited_share(self) -> float:
        return self.waited / self.wall if self.wall > 0 else 0.0


def saturation(loads: Sequence[Load]) -> str | None:
    """A sentence that begins with ``generator saturated`` where a process had no idle time; else None."""
    loads = [load for load in loads if load.wall >= MIN_SECONDS]
    if not loads:
        return None
    busiest = max(loads, key=lambda load: load.cpu_share + load.waited_share)
    if busiest.cpu_share + busiest.waited_share < SATURATED_SHARE:
        return None
    if busiest.waited_share >= CONTENDED_SHARE:
        return (
            f"generator saturated: it ran for {busiest.cpu_share:.0%} of the time and waited for "
            f"{busiest.waited_share:.0%} of it while others had its core; give it a core of its own"
        )
    return (
        f"generator saturated: it used {busiest.cpu_share:.0%} of its core, so these figures are a limit of "
        "the generator and the server may do better; try --processes 2 on a machine with a core for each"
    )


def contention(loads: Sequence[Load]) -> str | None:
    """A sentence where a generator waited so long for its core that latencies show it; else None."""
    waited = max((load.waited_share for load in loads if load.wall >= MIN_SECONDS), default=0.0)
    if waited < CONTENDED_SHARE:
        return None
    return f"the generator waited for its core for {waited:.0%} of the time: the latencies contain that"
