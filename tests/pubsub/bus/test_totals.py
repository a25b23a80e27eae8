"""A question to all processes, while who asks is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from fastws.pubsub.bus.totals import Totals


class OnePeer:
    """A bus with a peer that has not answered."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.peers = ["peer"]

    def tell(self, record: bytes) -> None:
        """Nobody hears it."""


async def test_who_is_cancelled_in_the_turn_of_the_answer_ends() -> None:
    totals = Totals(OnePeer())
    asking = asyncio.create_task(totals.ask(b"key", 1, 5))
    await asyncio.sleep(0)
    totals.lost("peer")  # type: ignore[arg-type]
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
