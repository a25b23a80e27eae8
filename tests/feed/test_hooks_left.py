"""Hooks of a feed whose client leaves before they begin."""

from __future__ import annotations

import gc

import fastws
from fastws.testing import ManualLoop
from tests.feed.clients import Client


def test_the_client_goes_before_the_hook_begins(loop: ManualLoop) -> None:
    begun: list[str] = []

    async def later(client: object, topic: str) -> bool:
        begun.append(topic)
        return True

    feed = fastws.Feed(fastws.Hub(), may_subscribe=later)
    client = Client(loop, feed)
    client.said()
    client.raw.text('{"sub":"a"}')
    client.raw.close()
    client.said()
    gc.collect()  # a coroutine that nobody has awaited is a warning here, and so an error
    assert begun == []
