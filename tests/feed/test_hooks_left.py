"""Hooks of a feed whose client leaves before they begin."""

from __future__ import annotations

import gc
import warnings

import fastws
from fastws.testing import ManualLoop
from tests.feed.clients import Client


def test_the_client_goes_before_the_hook_begins(loop: ManualLoop) -> None:
    begun: list[str] = []

    async def later(client: object, topic: str) -> bool:
        begun.append(topic)
        return True

    feed = fastws.Feed(fastws.Hub(), may_subscribe=later)
    # Recorded: what is collected here may be what another test has left behind.
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        client = Client(loop, feed)
        client.said()
        client.raw.text('{"sub":"a"}')
        client.raw.close()
        client.said()
        gc.collect()
    assert begun == []
    name = f"coroutine '{later.__qualname__}' was never awaited"
    assert [str(warning.message) for warning in said if name in str(warning.message)] == []
