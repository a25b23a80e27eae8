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
from tests.kit import until

pytestmark = pytest.mark.live

#: So large are the pieces that what a server says may come in.
SIZES = (1, 2, 7, 30, 100, 100_000)
INFO = b'INFO {"version":"2.9.0","max_payload":1048576,"headers":true}\r\n'


class Heard:
    """What a server has read. It answers each PING, behind what ``before_pong`` says of what was read."""

    def __init__(self) -> None:
        self.data = b""
        self.before_pong = b""
        self.is_silent = False
        self.writer: asyncio.StreamWriter | None = None

    async def say(self, data: bytes, size: int) -> None:
        """Say something in pieces."""
        assert self.writer is not None
        for at in range(0, len(data), size):
            self.writer.write(data[at : at + size])
            await asyncio.sleep(0)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
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


@pytest.mark.parametrize("size", SIZES)
async def test_messages_are_taken_in_their_order_in_whatever_pieces(size: int) -> None:
    heard = Heard()
    found: list[tuple[str, bytes, str, Any]] = []
    async with lines(heard) as line:
        await line.subscribe(
            "s.*", lambda each: found.append((each.subject, each.data, each.reply, each.headers))
        )
        number = line._client._sid
        said, wanted = [], []
        for each in range(150):
            text = b"x" * (each % 40) + b"\r\nMSG %d" % each
            head = b"NATS/1.0\r\nNats-Sequence: %d\r\n\r\n" % each
            kind = each % 5
            if kind == 0:
                said.append(b"MSG s.%d %d %d\r\n%b\r\n" % (each, number, len(text), text))
            elif kind == 1:
                said.append(b"MSG s.%d %d back %d\r\n%b\r\nPING\r\n" % (each, number, len(text), text))
            elif kind == 2:
                sizes = len(head), len(head) + len(text)
                said.append(b"HMSG s.%d %d %d %d\r\n%b%b\r\n" % (each, number, *sizes, head, text))
            elif kind == 3:
                status = b"NATS/1.0 503\r\n\r\n"
                sizes = len(status), len(status)
                said.append(b"HMSG s.%d %d back %d %d\r\n%b\r\n" % (each, number, *sizes, status))
            else:
                said.append(b"MSG s.%d 9999 %d\r\n%b\r\n+OK\r\n" % (each, len(text), text))
                continue
            headers = {2: {"Nats-Sequence": str(each)}, 3: {"Status": "503"}}.get(kind, {})
            wanted.append((f"s.{each}", b"" if kind == 3 else text, "back" * (kind in (1, 3)), headers))
        await heard.say(b"".join(said), size)
        await until(lambda: len(found) >= len(wanted))
        assert found == wanted
        await line.flush()
        assert not line.lost.done()


@pytest.mark.parametrize(
    "line",
    [
        b"MSG s.0 x 5",
        b"MSG s.0 1",
        b"MSG s.0 1 -5",
        b"MSG s.0 1 a b 5",
        b"HMSG s.0 1 5",
        b"MASSAGE s.0 1 5",
    ],
)
async def test_a_message_that_is_none_is_never_taken(line: bytes) -> None:
    """The one before it is; the line then ends, or waits for what would make it one."""
    heard = Heard()
    found: list[bytes] = []
    async with lines(heard) as connection:
        await connection.subscribe("s.*", lambda each: found.append(each.data))
        before = b"MSG s.0 %d 2\r\nok\r\n" % connection._client._sid
        await heard.say(before + line + b"\r\nwrong\r\n", 100_000)
        await until(lambda: bool(found))
        with pytest.raises(LineLost):
            await connection.flush()
    assert found == [b"ok"]
