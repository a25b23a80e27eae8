"""``ws`` of node behind the face of ``foreign.py``: a process that is told what to do by JSON lines."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from tests.live.foreign import SECONDS, Closed, ForeignPeer, Refused, ending
from tests.live.servers import Site

__all__ = ["node_process"]


class NodePeer:
    def __init__(self, node: Node, conn: int) -> None:
        self._node = node
        self._conn = conn
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._early: list[str | bytes] = []
        self.subprotocol: str | None = None

    def happened(self, event: dict[str, Any]) -> None:
        self._events.put_nowait(event)

    async def opened(self) -> None:
        event = await self._next()
        if event["event"] == "refused":
            raise Refused(event["status"], event["headers"])
        assert event["event"] == "open", event
        self.subprotocol = event["protocol"] or None

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(SECONDS):
            return await self._events.get()

    def _say(self, verb: str, **rest: object) -> None:
        self._node.say(conn=self._conn, verb=verb, **rest)

    async def send(self, message: str | bytes) -> None:
        self._say("send", message=_to_json(message), fin=True)
        await self._node.drain()

    async def send_fragments(self, parts: list[str]) -> None:
        last = len(parts) - 1
        for index, part in enumerate(parts):
            self._say("send", message={"text": part}, fin=index == last)

    async def receive(self) -> str | bytes:
        if self._early:
            return self._early.pop(0)
        while True:
            event = await self._next()
            if event["event"] == "message":
                return _from_json(event)
            if event["event"] == "close":
                raise Closed(event["code"], event["reason"])

    async def ping(self, payload: bytes) -> None:
        self._say("ping", base64=base64.b64encode(payload).decode())
        while (event := await self._next())["event"] != "pong":
            assert event["event"] == "message", event
            self._early.append(_from_json(event))
        assert base64.b64decode(event["base64"]) == payload

    async def close(self, code: int, reason: str = "") -> Closed:
        self._say("close", code=code, reason=reason)
        return await ending(self)

    def write_raw(self, data: bytes) -> None:
        self._say("raw", base64=base64.b64encode(data).decode())

    def pause(self) -> None:
        self._say("pause")

    def resume(self) -> None:
        self._say("resume")

    def abort(self) -> None:
        self._say("terminate")


class Node:
    """A node process in which clients of ``ws`` run."""

    name = "ws"

    def __init__(self, process: asyncio.subprocess.Process, ca: Path) -> None:
        self._process = process
        self._ca = ca
        self._peers: dict[int, NodePeer] = {}
        self._numbers = itertools.count()

    async def connect(
        self,
        site: Site,
        path: str,
        *,
        origin: str | None = None,
        subprotocols: Iterable[str] = (),
        deflate: bool = False,
        pongs: bool = True,
    ) -> ForeignPeer:
        number = next(self._numbers)
        peer = self._peers[number] = NodePeer(self, number)
        options: dict[str, Any] = {"perMessageDeflate": deflate, "autoPong": pongs}
        if origin:
            options["origin"] = origin
        if site.secure:
            options["ca"] = self._ca.read_text()
        self.say(conn=number, verb="open", url=site.ws(path), protocols=list(subprotocols), options=options)
        await peer.opened()
        return peer

    def say(self, **command: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def drain(self) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.drain()

    async def listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event = json.loads(line)
            self._peers[event["conn"]].happened(event)


def _to_json(message: str | bytes) -> dict[str, str]:
    if isinstance(message, str):
        return {"text": message}
    return {"base64": base64.b64encode(message).decode()}


def _from_json(message: dict[str, str]) -> str | bytes:
    return message["text"] if "text" in message else base64.b64decode(message["base64"])


@contextlib.asynccontextmanager
async def node_process(folder: Path, ca: Path) -> AsyncIterator[Node]:
    process = await asyncio.create_subprocess_exec(
        "node",
        "client.js",
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * 1024 * 1024,
    )
    node = Node(process, ca)
    listener = asyncio.create_task(node.listen())
    try:
        yield node
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(SECONDS):
            await process.wait()
        await listener
