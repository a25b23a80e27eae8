"""What nobody tells: how late the loop is, and how long the bus takes. Asked now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from fastws.meters.meters import Meters

if TYPE_CHECKING:
    from fastws.pubsub.bus import Bus

__all__ = ["sampling"]

#: Seconds between two looks at the loop, and after how many of them one at the bus follows.
LOOK_SECONDS = 0.25
LOOKS_A_QUESTION = 20
#: Seconds after which an answer of the bus is not waited for any more.
ANSWER_SECONDS = 5.0
#: A topic that no hub has.
NOBODYS_TOPIC = b"\0lag"


@asynccontextmanager
async def sampling(meters: Meters, bus: Bus | None = None) -> AsyncIterator[None]:
    """Sample on the running loop while the block runs."""
    task = asyncio.create_task(sample(meters, bus))
    try:
        yield
    finally:
        task.cancel()


async def sample(meters: Meters, bus: Bus | None) -> None:
    """Sample until cancelled."""
    looks = 0
    while True:
        due = time.monotonic() + LOOK_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
        meters.loop_lag.observe(max(time.monotonic() - due, 0.0))
        looks += 1
        if bus is not None and bus.peers and looks % LOOKS_A_QUESTION == 0:
            began = time.monotonic()
            with suppress(TimeoutError):
                await bus.total(NOBODYS_TOPIC, 0, ANSWER_SECONDS)
            meters.bus_lag.observe(time.monotonic() - began)
