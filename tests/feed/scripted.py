"""A server that says of a feed what a test tells it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import fastws

__all__ = ["Peer", "ScriptedFeed", "scripted_feed"]


class Peer:
    """One connection of a client, from the server's side."""

    def __init__(self, ws: fastws.WebSocket) -> None:
        self.ws = ws

    async def heard(self, *verbs: str) -> list[dict[str, Any]]:
        """Receive a command for each of the verbs; return them without their ids."""
        commands = [await self.ws.recv_json() for _ in verbs]
        for verb, command in zip(verbs, commands, strict=True):
            assert verb in command, command
            self.id = command.pop("id", None)
        return commands

    def says(self, *objects: dict[str, Any]) -> None:
        for each in objects:
            self.ws.send_nowait(json.dumps(each))

    def hello(self, **fields: Any) -> None:
        self.says({"hello": {"v": 1, "id": "c1", "user": None, "ping": 10, "expires": None, **fields}})

    def sync(self, topic: str, at: str | None = "e:0", **fields: Any) -> None:
        self.says({"t": topic, "sync": {"at": at, "resumed": None, "missed": 0, "reason": None, **fields}})

    def data(self, topic: str, at: str | None, value: Any) -> None:
        self.says({"t": topic, "d": value, **({} if at is None else {"at": at})})

    def ack(self, at: str | None = "e:1", *, dup: bool = False) -> None:
        self.says({"id": self.id, "ack": {"at": at, "dup": dup}})

    async def end(self, code: int = 1012, reason: str = "") -> None:
        await self.ws.close(code, reason)


class ScriptedFeed:
    """Connections as they come, and how a client finds here."""

    def __init__(self) -> None:
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/feed"

    async def next(self) -> Peer:
        return await self.peers.get()

    async def greeted(self, *verbs: str) -> Peer:
        """Take the next connection, its first commands, and say hello."""
        peer = await self.next()
        await peer.heard(*verbs)
        peer.hello()
        return peer


@asynccontextmanager
async def scripted_feed() -> AsyncIterator[ScriptedFeed]:
    feed = ScriptedFeed()

    async def handler(ws: fastws.WebSocket) -> None:
        feed.peers.put_nowait(Peer(ws))
        await ws.wait_closed()

    async with fastws.serve(handler, "127.0.0.1") as server:
        feed.port = server.port
        yield feed
