"""Clients of feeds, made of bytes."""

from __future__ import annotations

from typing import Any

import orjson

import fastws
from fastws.testing import ManualLoop, RawClient
from fastws.testing.wire import CLOSE
from tests.kit.served import opened

__all__ = ["Client", "at"]


class Client:
    """A client of the feed at ``/feed``."""

    def __init__(self, loop: ManualLoop, feed: Any, query: str = "", *headers: str, **options: Any) -> None:
        self.loop = loop
        route = fastws.Route("/feed", feed) if isinstance(feed, fastws.Feed) else feed
        self.raw: RawClient = opened(loop, route, *headers, path=f"/feed{query}", **options)

    @property
    def server(self) -> Any:
        """The server, for more clients of it."""
        return self.raw.connection.host

    def say(self, *texts: str) -> list[Any]:
        """Send commands; return what comes."""
        for text in texts:
            self.raw.text(text)
        return self.said()

    def said(self) -> list[Any]:
        """Take what has come: the objects, and the code of a close."""
        self.loop.settle()
        return [
            int.from_bytes(frame.payload[:2], "big") if frame.opcode == CLOSE else orjson.loads(frame.payload)
            for frame in self.raw.frames()
        ]

    def code(self, *texts: str) -> Any:
        """Send commands, of which one error comes; return its code."""
        (answer,) = self.say(*texts)
        return answer["error"]["code"] if isinstance(answer, dict) else answer


def at(said: dict[str, Any], offset: int) -> str:
    """The position of an offset in the epoch of a sync."""
    epoch = said["sync"]["at"].rpartition(":")[0]
    return f"{epoch}:{offset}"
