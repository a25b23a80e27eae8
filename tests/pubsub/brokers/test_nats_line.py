"""What a line says to a NATS server, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("nats")

from fastws.pubsub.brokers.base import BrokerRefused
from fastws.pubsub.brokers.nats.failures import LineLost
from fastws.pubsub.brokers.nats.line import Line
from fastws.pubsub.brokers.nats.url import Servers

pytestmark = pytest.mark.live

INFO = b'INFO {"version":"2.9.0","max_payload":1048576,"headers":true}\r\n'


class Heard:
    """What a server has read. It answers each PING, behind what ``before_pong`` says of what was read."""

    def __init__(self) -> None:
        self.data = b""
        self.before_pong = b""
        self.is_silent = False

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO)
        while data := await reader.read(65536):
            self.data += data
            for _ in range(0 if self.is_silent else data.count(b"PING\r\n")):
                writer.write(self.before_pong + b"PONG\r\n")
        writer.close()


@asynccontextmanager
async def lines(heard: Heard) -> AsyncIterator[Line]:
    async with await asyncio.start_server(heard.talk, "127.0.0.1", 0) as server:
        servers = Servers(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        line = await Line.open(servers, servers.all[0], 5)
        try:
            yield line
        finally:
            await line.close()


def _nothing(message: Any) -> None:
    """Hear, and do nothing."""


async def test_all_that_was_sent_before_a_flush_is_in_front_of_it() -> None:
    heard = Heard()
    async with lines(heard) as line:
        for number in range(20):
            await line.subscribe(f"s.{number}", _nothing)
            await line.send(f"p.{number}", b"x" * 100)
            await line.flush()
            said = heard.data.rpartition(b"PING\r\n")[0]
            assert b"SUB s.%d " % number in said and b"PUB p.%d " % number in said


async def test_what_may_not_be_used_is_refused() -> None:
    heard = Heard()
    async with lines(heard) as line:
        answer = await line.ask("Api.a", b"")
        other = await line.ask("Api.b", b"")
        heard.before_pong = (
            b"-ERR 'Permissions Violation for Publish to \"Api.a\"'\r\n"
            b"-ERR 'Permissions Violation for Subscription to \"Said.a\"'\r\n"
        )
        await line.flush()
        with pytest.raises(BrokerRefused, match=r"for publish to .api.a"):
            await line.wait(answer)
        with pytest.raises(BrokerRefused, match=r"for subscription to .said.a"):
            line.check_allowed("Said.a")
        line.check_allowed("Said.b")
        assert not other.done()


async def test_a_server_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    async with lines(heard) as line:
        monkeypatch.setattr("fastws.pubsub.brokers.nats.line.SILENT_SECONDS", 0.05)
        heard.is_silent = True
        with pytest.raises(LineLost, match=r"no answer within 0.05 s"):
            await line.flush()
        assert line.lost.done()
