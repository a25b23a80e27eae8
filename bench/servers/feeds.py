"""Feeds at /feed: "bench" has a history, "table" has keys. /broadcast is the plain fan-out beside them.

A message to "moves" tells it to change the keys of a topic itself, as ``fastws bench … keyed --moved-by``
asks it to: a feed takes only 50 commands a second from each client.
"""

from __future__ import annotations

import asyncio
import time

import fastws
from fastws.apps.broadcast import Broadcast

#: Seconds from one look at what is due to the next.
TICK = 0.005

hub = fastws.Hub()
hub.topic("bench", history=1000)
hub.topic("table", mode="keyed")
moving: set[asyncio.Task[None]] = set()


def may_publish(client: fastws.FeedClient, publication: fastws.Publication) -> bool:
    if publication.topic == "moves":
        task = asyncio.get_running_loop().create_task(move(**publication.value))
        moving.add(task)
        task.add_done_callback(moving.discard)
    return True


async def move(topic: str, keys: int, rate: float, seconds: float) -> None:
    """Change each key in its turn; at last "end" has the number of values, and when the first was due."""
    hub.remove(topic, "end")
    begin, number = time.monotonic(), 0
    while (passed := time.monotonic() - begin) < seconds:
        while number < passed * rate:
            hub.publish(topic, json=[number, begin + number / rate], key=f"key {number % keys}")
            number += 1
        await asyncio.sleep(TICK)
    hub.publish(topic, json=[number, begin], key="end")


# All clients of a measurement are of one address.
feed = fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=may_publish, replay_bytes_by_address=None)
routes = [fastws.Route("/feed", feed), fastws.Route("/broadcast", Broadcast())]
