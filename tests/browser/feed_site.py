"""A feed, a page that uses ``feed.js``, and a proxy between both that cuts lines or lets them go silent.

All of it runs in a thread: the synchronous playwright has the loop of the other one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

import fastws
from tests.feed.cutter import Cutter

__all__ = ["PING", "FeedSite"]

T = TypeVar("T")

#: Seconds of silence after which the server says something: the least that a feed takes.
PING = 1

#: What the page has heard is in ``window.heard``.
PAGE = """<!doctype html>
<meta charset="utf-8">
<title>feed</title>
<link rel="icon" href="data:,">
<script type="module">
  import { Feed, FeedError } from "/fastws/feed.js";
  Object.assign(window, { Feed, FeedError, heard: [], states: [] });
  window.open_feed = (options) => {
    const onstate = (state) => states.push([state, performance.now()]);
    return (window.feed = new Feed("/feed", { onstate, ...options }));
  };
</script>
"""


class FeedSite:
    """``url`` is that of the page; it leads through the proxy, and so does the page's feed."""

    def __init__(self, declare: Callable[[fastws.Hub], object], **options: Any) -> None:
        self._declare = declare
        self._options = options
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._failure: BaseException | None = None
        self.hub = fastws.Hub()

    def __enter__(self) -> FeedSite:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._failure is None:
            self.call(self._ended.set)
        self._thread.join()

    def call(self, function: Callable[..., T], *args: Any, **options: Any) -> T:
        """Call a function on the loop of the server, and return what it returns."""

        async def run() -> T:
            return function(*args, **options)

        return self.await_(run())

    def await_(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on that loop, and return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        try:
            self._declare(self.hub)
            feed = fastws.Feed(
                self.hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone, ping=PING, **self._options
            )
            routes = [
                fastws.Route("/feed", feed),
                fastws.Route("/", http=lambda request: fastws.Response(200, PAGE, content_type="text/html")),
                fastws.Static.packaged(),
            ]
            async with (
                self.hub,
                fastws.serve(routes, "127.0.0.1") as server,
                Cutter(f"http://127.0.0.1:{server.port}/") as self.cutter,
            ):
                self.url = self.cutter.url
                self._ready.set()
                await self._ended.wait()
        except BaseException as failure:
            self._failure = failure
            raise
        finally:
            self._ready.set()
