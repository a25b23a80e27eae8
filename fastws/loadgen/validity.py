"""Whether the figures are the server's, or the generator's own limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["SATURATED", "Load", "crowding", "saturation"]

#: Above this share of its core a generator is the bottleneck.
SATURATED = 0.95
#: A wait for a core above this share of the time is worth a word of its own.
CROWDED = 0.05
#: Less than this is no time in which a load could be seen: every client was lost before it began.
LEAST_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Load:
    """What one generator process cost in the measured time, all in seconds.

    ``waited`` is the time in which it could have run and other processes had its core.
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
    """A sentence that begins with ``generator saturated`` where a process had no idle time, else None."""
    loads = [load for load in loads if load.wall >= LEAST_SECONDS]
    if not loads:
        return None
    busiest = max(loads, key=lambda load: load.cpu_share + load.waited_share)
    if busiest.cpu_share + busiest.waited_share < SATURATED:
        return None
    if busiest.waited_share >= CROWDED:
        return (
            f"generator saturated: it ran for {busiest.cpu_share:.0%} of the time and waited for "
            f"{busiest.waited_share:.0%} of it while others had its core; give it a core of its own"
        )
    return (
        f"generator saturated: it used {busiest.cpu_share:.0%} of its core, so these figures are a limit of "
        "the generator and the server may do better; try --processes 2 on a machine with a core for each"
    )


def crowding(loads: Sequence[Load]) -> str | None:
    """A sentence where others took so much of a generator's core that the latencies show it, else None."""
    waited = max((load.waited_share for load in loads if load.wall >= LEAST_SECONDS), default=0.0)
    if waited < CROWDED:
        return None
    return f"the generator waited for its core for {waited:.0%} of the time: the latencies contain that"
