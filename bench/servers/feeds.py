"""Feeds at /feed: "bench" has a history, "table" has keys. /broadcast is the plain fan-out beside them."""

from __future__ import annotations

import fastws
from fastws.apps.broadcast import Broadcast

hub = fastws.Hub()
hub.topic("bench", history=1000)
hub.topic("table", mode="keyed")
feed = fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone)
routes = [fastws.Route("/feed", feed), fastws.Route("/broadcast", Broadcast())]
