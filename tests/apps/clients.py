"""Clients of the applications' feeds, joined to a server in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import fastws
from fastws.testing import Clock, pair

__all__ = ["PAGES", "Client", "site"]

PAGES = fastws.Static("/", fastws.Static.packaged().directory.parent)


class Client:
    """Says commands, and takes what comes in its order."""

    def __init__(self, ws: fastws.WebSocket) -> None:
        self.ws = ws

    async def say(self, **command: Any) -> None:
        await self.ws.send(json.dumps(command))

    async def next(self) -> dict[str, Any]:
        message: dict[str, Any] = await self.ws.recv_json()
        return message

    async def until(self, name: str) -> dict[str, Any]:
        """Take what comes until an object has this member, and return that."""
        while name not in (message := await self.next()):
            pass
        return message

    async def error(self, **command: Any) -> Any:
        """Say a command that is refused; return the code."""
        await self.say(**command, id="refused")
        while (message := await self.next()).get("id") != "refused":
            pass
        return message["error"]["code"]


class Site:
    """A server of an application, and its clients."""

    def __init__(self, link: Any, first: Client, path: str) -> None:
        self._link = link
        self._path = path
        #: The client that came first.
        self.first = first
        self.ends = link

    async def client(self, query: str = "") -> Client:
        return Client(await self._link.connect(self._path + query))


@asynccontextmanager
async def site(app: Any, path: str, clock: Clock | None = None) -> AsyncIterator[Site]:
    # A clock that moves by minutes would let pings fail.
    quiet = {"ping_interval": None}
    link = pair(app, path, clock=clock, timeouts=quiet, client={"timeouts": quiet})
    async with link as ws:
        yield Site(link, Client(ws), path)
