"""Clients over real sockets that are cut again and again: each message exactly once, or told."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from typing import Any

import pytest
import uvloop

import fastws

MESSAGES = 3000
CLIENTS = 20


class Room(fastws.Handler):
    def __init__(self, hub: fastws.Hub) -> None:
        self.hub = hub

    def on_open(self, ws: fastws.WebSocket) -> None:
        assert ws.request is not None
        asked = ws.request.query_params
        since = None
        if "since" in asked:
            since = fastws.Position.parse(asked["since"][0]).after(int(asked["got"][0]))
        synced = self.hub.subscribe(ws, "t", since=since)
        assert synced is not None
        ws.send_json_nowait({"at": str(synced.at), "missed": synced.missed, "resumed": synced.resumed})

    def on_gap(self, ws: fastws.WebSocket, topic: str, missed: int, reason: str) -> None:
        ws.send_json_nowait({"gap": missed})


class Client:
    """Counts what it gets, and what it is told that it does not get."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self.port = port
        self.url = f"ws://127.0.0.1:{port}/"
        self.chance = chance
        self.at: str | None = None
        self.got = self.last = self.missed = self.returns = 0
        self.synced = asyncio.Event()

    async def run(self, *, pauses: bool) -> None:
        while self.last < MESSAGES:
            query = "" if self.at is None else f"?since={self.at}&got={self.got}"
            sock = socket.create_connection(("127.0.0.1", self.port))
            options: dict[str, Any] = {"sock": sock, "compression": None, "open_timeout": 60}
            with sock.dup() as line:
                async with fastws.connect(self.url + query, **options) as ws:
                    self.synced_to(json.loads(await ws.recv()))
                    await self.listen(ws, self.chance.randrange(5, 400), pauses=pauses)
                    line.shutdown(socket.SHUT_RDWR)

    def synced_to(self, said: dict[str, Any]) -> None:
        if self.at is None:
            self.last = int(said["at"].rpartition(":")[2])
        else:
            assert (said["missed"] == 0) is said["resumed"]
            self.skip(said["missed"])
            self.returns += 1
        self.at, self.got = said["at"], 0
        assert self.last == int(self.at.rpartition(":")[2])
        self.synced.set()

    async def listen(self, ws: fastws.WebSocket, count: int, *, pauses: bool) -> None:
        for number in range(count):
            if pauses and number % 50 == 49:
                ws.pause_reading()
                for _ in range(self.chance.randrange(200)):
                    await asyncio.sleep(0)
                ws.resume_reading()
            message = await ws.recv()
            assert isinstance(message, str)
            if message.startswith("{"):
                missed = json.loads(message)["gap"]
                self.skip(missed)
                self.got += missed
            else:
                assert int(message) == self.last + 1
                self.last += 1
                self.got += 1
            if self.last >= MESSAGES:
                return

    def skip(self, missed: int) -> None:
        self.last += missed
        self.missed += missed


async def cut_again_and_again(history: int, size: int, *, pauses: bool) -> list[Client]:
    hub = fastws.Hub()
    hub.topic("t", history=history, history_bytes=2**26)
    async with fastws.serve(Room(hub), "127.0.0.1", 0, access_log=False, socket_send_buffer=4096) as server:
        clients = [Client(server.port, random.Random(seed)) for seed in range(CLIENTS)]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run(pauses=pauses))
            for client in clients:
                await client.synced.wait()
            number = 0
            while number < MESSAGES:
                for _ in range(random.Random(number).randrange(1, 40)):
                    if number < MESSAGES:
                        number += 1
                        hub.publish("t", f"{number:0{size}}")
                # At the pace of the slowest where nothing may be missed.
                while not pauses and number - min(client.last for client in clients) > history // 2:
                    await asyncio.sleep(0)
                await asyncio.sleep(0)
    return clients


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_nothing_is_missed_and_nothing_comes_twice(loop: Any) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        clients = runner.run(cut_again_and_again(1000, 64, pauses=False))
    assert {client.missed for client in clients} == {0}
    assert sum(client.returns for client in clients) > 5 * CLIENTS


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_what_is_missed_is_told(loop: Any) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        clients = runner.run(cut_again_and_again(50, 2000, pauses=True))
    assert all(client.last == MESSAGES for client in clients)
    assert sum(client.missed for client in clients) > 0
