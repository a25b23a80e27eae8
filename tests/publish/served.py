"""A server of a page in a thread of its own, for publishers that wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fastws

__all__ = ["ALL", "PageServer", "page_served"]

ALL = "token-of-everything"


class PageServer:
    """The hub of a page, and where that is."""

    def __init__(self) -> None:
        self.hub: Any = None
        self.port = 0
        self.server: Any = None
        self.loop: Any = None
        self._ready = threading.Event()
        self._end: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, make: Callable[[Any], Any], **listen: Any) -> None:
        async def serve() -> None:
            self.loop = asyncio.get_running_loop()
            self._end = self.loop.create_future()
            self.hub = fastws.Hub(broker="memory")
            self.hub.topic("rooms/*", history=5000)
            self.hub.topic("quotes", mode="keyed", max_keys=3)
            async with self.hub:
                self.server = await fastws.serve(make(self.hub), access_log=False, **listen)
                if "unix" not in listen:
                    self.port = self.server.port
                self._ready.set()
                await self._end
                await self.server.shutdown(0.1)

        asyncio.run(serve())

    def wait(self) -> None:
        assert self._ready.wait(20)

    def do(self, task: Any) -> Any:
        """Run a coroutine on the loop of the server."""
        return asyncio.run_coroutine_threadsafe(task, self.loop).result(20)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._end.set_result, None)


def routes(hub: Any) -> Any:
    return [fastws.publish_page(hub, tokens={ALL: "**"}).route()]


@contextmanager
def page_served(make: Callable[[Any], Any] = routes, **listen: Any) -> Iterator[PageServer]:
    served = PageServer()
    thread = threading.Thread(target=served.run, args=(make,), kwargs={"host": "127.0.0.1", **listen})
    thread.start()
    try:
        served.wait()
        yield served
        served.stop()
    finally:
        thread.join(20)
