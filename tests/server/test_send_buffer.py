"""How much the kernel takes for a client that does not read, before its socket refuses."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

import fastws
from fastws.server import send_buffer
from fastws.server.send_buffer import NOTSENT_LOWAT
from fastws.server.settings import settings_from
from tests.kit import ManualLoop, RawClient, Recorder, until
from tests.kit.served import served

linux = pytest.mark.skipif(sys.platform != "linux", reason="the numbers are those of Linux")

MESSAGE = bytes(1000)
#: A client's own buffer, which takes bytes before ours holds any.
CLIENT_BUFFER = 32768
SMALL = {"socket_send_buffer": 32768, "notsent_lowat": 16384}
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Flood(fastws.Handler):
    """Sends until the socket refuses, and counts the bytes that it took."""

    def __init__(self) -> None:
        self.taken: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def on_open(self, ws: fastws.WebSocket) -> None:
        asyncio.get_running_loop().create_task(self._flood(ws))

    async def _flood(self, ws: fastws.WebSocket) -> None:
        taken = 0
        while ws.send_nowait(MESSAGE) is fastws.SendStatus.SENT:
            taken += len(MESSAGE)
            await asyncio.sleep(0)
        self.taken.set_result(taken)


class FreshFlood(Flood):
    def on_open(self, ws: fastws.WebSocket) -> None:
        ws.outbox.keep_fresh()
        super().on_open(ws)


async def flooded(
    settings: dict[str, Any], path: Path | None, flood: type[Flood] = Flood
) -> tuple[int, int, int | None]:
    """What a client's socket took, and its two options."""
    handler = flood()
    async with fastws.serve(handler, "127.0.0.1", unix=path, compression=None, **settings) as server:
        family = socket.AF_INET if path is None else socket.AF_UNIX
        with socket.socket(family) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CLIENT_BUFFER)
            client.settimeout(0)
            loop = asyncio.get_running_loop()
            address: Any = ("127.0.0.1", server.port) if path is None else str(path)
            await loop.sock_connect(client, address)
            await until(lambda: server.connections)
            (connection,) = server.connections
            ours = connection.transport.get_extra_info("socket")
            # Now: the kernel lets it grow with what it has sent, where nobody has set it.
            size = ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            await loop.sock_sendall(client, UPGRADE)
            taken = await handler.taken
            unsent = ours.getsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT) if path is None else None
            connection.abort()
    return taken, size, unsent


@linux
@pytest.mark.live
@pytest.mark.parametrize(
    "factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
class TestAcceptedSockets:
    def test_of_tcp(self, factory: Callable[[], Any]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            taken, size, unsent = runner.run(flooded(SMALL, None))
            assert (size, unsent) == (65536, 16384)
            # The client's buffer, ours, and one message that is admitted whole to what is nearly full.
            assert taken <= 4 * CLIENT_BUFFER + 65536
            more, _, _ = runner.run(flooded({}, None))
            assert more > 2 * taken

    def test_of_unix(self, factory: Callable[[], Any], tmp_path: Path) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            taken, size, _ = runner.run(flooded(SMALL, tmp_path / "small"))
            assert size == 65536
            assert taken < 65536
            more, _, _ = runner.run(flooded({}, tmp_path / "usual"))
            assert more > taken

    def test_each_alone(self, factory: Callable[[], Any]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            usual = runner.run(flooded({}, None))
            _, size, unsent = runner.run(flooded({"notsent_lowat": 16384}, None))
            assert (size, unsent) == (usual[1], 16384)
            _, size, unsent = runner.run(flooded({"socket_send_buffer": 32768}, None))
            assert (size, unsent) == (65536, usual[2])

    def test_of_who_is_to_have_new_values(self, factory: Callable[[], Any], tmp_path: Path) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            more, _, usual = runner.run(flooded({}, None))
            taken, _, unsent = runner.run(flooded({}, None, FreshFlood))
            assert (unsent, taken < more) == (16384, True)
            # What was set counts, and a Unix socket has none.
            assert runner.run(flooded({"notsent_lowat": 32768}, None, FreshFlood))[2] == 32768
            runner.run(flooded({}, tmp_path / "fresh", FreshFlood))
            assert usual != unsent


def test_a_transport_in_memory_has_no_options(loop: ManualLoop) -> None:
    server = served(loop, Recorder(), **SMALL)
    assert RawClient(server, loop).upgrade("/").status == 101


def test_a_client_that_has_gone_is_let_go() -> None:
    class Gone:
        def get_extra_info(self, name: str) -> socket.socket:
            sock = socket.socket()
            sock.close()
            return sock

    send_buffer.SendBuffer(32768, 16384).limit(Gone())


def test_a_system_without_the_option_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send_buffer, "NOTSENT_LOWAT", None)
    with pytest.raises(ValueError, match="this system has no TCP_NOTSENT_LOWAT"):
        settings_from(notsent_lowat=16384)
    assert settings_from(socket_send_buffer=16384).socket_send_buffer == 16384


class Prices(fastws.Handler):
    def __init__(self, hub: fastws.Hub, topic: str) -> None:
        self.hub = hub
        self.topic = topic

    def on_open(self, ws: fastws.WebSocket) -> None:
        self.hub.subscribe(ws, self.topic)


@linux
@pytest.mark.live
async def test_who_subscribes_to_a_keyed_topic_is_to_have_new_values() -> None:
    hub = fastws.Hub()
    hub.topic("quotes", mode="keyed")
    unsent = {}
    for topic in ("quotes", "chat"):
        async with (
            fastws.serve(Prices(hub, topic), "127.0.0.1", access_log=False) as server,
            fastws.connect(f"ws://127.0.0.1:{server.port}"),
        ):
            (connection,) = server.connections
            ours = connection.transport.get_extra_info("socket")
            unsent[topic] = ours.getsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT)
    assert unsent["quotes"] == 16384 != unsent["chat"]


@linux
@pytest.mark.live
@pytest.mark.parametrize(("topic", "is_little"), [("quotes", True), ("news", False)])
def test_server_sent_events_of_a_keyed_topic(topic: str, *, is_little: bool) -> None:
    """As for a WebSocket, the kernel holds little that newer values replace."""

    async def main() -> int:
        hub = fastws.Hub()
        hub.topic("quotes", mode="keyed")
        hub.topic("news", history=10)
        feed = fastws.Feed(hub, may_subscribe=fastws.anyone)
        async with fastws.serve(fastws.Route("/feed", feed, http=feed.sse), "127.0.0.1") as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /feed?topic=%b HTTP/1.1\r\nHost: a\r\n\r\n" % topic.encode())
            await reader.readuntil(b'"live"')
            (connection,) = server.connections
            ours = connection.transport.get_extra_info("socket")
            unsent: int = ours.getsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT)
            writer.close()
            return unsent

    assert (asyncio.run(main()) == 16384) is is_little
