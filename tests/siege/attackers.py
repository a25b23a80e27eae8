"""Runs attacks, as many at a time as told, in random order."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

__all__ = ["Attack", "Target", "attack_for"]

#: An attack ends by itself or is cut after this many seconds.
LONGEST = 15.0


@dataclass(frozen=True)
class Target:
    """A port of this machine; with ``tls`` the attacks go over TLS."""

    port: int
    tls: bool = False


Attack = Callable[[Target, random.Random], Awaitable[None]]


async def attack_for(
    target: Target, attacks: Sequence[Attack], count: int, seconds: float, random_: random.Random
) -> Counter[str]:
    """Keep ``count`` attackers busy for ``seconds``; return how often each attack was made."""
    made: Counter[str] = Counter()
    until = time.monotonic() + seconds

    async def attacker() -> None:
        while time.monotonic() < until:
            attack = random_.choice(attacks)
            made[getattr(attack, "__name__", str(attack))] += 1
            try:
                async with asyncio.timeout(min(LONGEST, max(0.1, until - time.monotonic()))):
                    await attack(target, random_)
            except (OSError, EOFError, TimeoutError):
                pass  # refused or cut, as it must be
            await asyncio.sleep(random_.uniform(0, 0.2))

    await asyncio.gather(*[attacker() for _ in range(count)])
    return made
