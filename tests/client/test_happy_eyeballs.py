"""Happy eyeballs: in which order, how far apart, and what is left."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

import fastws
from fastws.client.happy_eyeballs import _interleaved, create_connection
from tests.client.loops import both_loops
from tests.client.peers import echo
from tests.kit import until
from tests.kit.process import open_files

pytestmark = pytest.mark.live

V4, V6 = socket.AF_INET, socket.AF_INET6
#: RFC 5737: nobody answers there; a connect takes its time or fails, by the network.
NOWHERE, BROKEN = "192.0.2.1", "192.0.2.3"


def info(host: str, port: int) -> tuple[Any, ...]:
    family = V6 if ":" in host else V4
    address = (host, port, 0, 0) if family == V6 else (host, port)
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address


class Names:
    """Answers of ``getaddrinfo`` and the fate of each connect, on any loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *infos: tuple[Any, ...]) -> None:
        self.infos = list(infos)
        self.silent: set[str] = set()
        self.tried: list[str] = []
        self._monkeypatch = monkeypatch

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        self._connect = loop.sock_connect
        self._getaddrinfo = loop.getaddrinfo
        self._monkeypatch.setattr(loop, "getaddrinfo", self.getaddrinfo)
        self._monkeypatch.setattr(loop, "sock_connect", self.sock_connect)

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> list[tuple[Any, ...]]:
        if host == "server.test":
            return self.infos
        # uvloop asks about the addresses, too.
        found: list[tuple[Any, ...]] = await self._getaddrinfo(host, port, **options)
        return found

    async def sock_connect(self, sock: socket.socket, address: tuple[Any, ...]) -> None:
        self.tried.append(address[0])
        if address[0] == BROKEN:
            raise RuntimeError("no such family")
        if address[0] in self.silent:
            await asyncio.sleep(3600)
        await self._connect(sock, address)


def test_families_take_turns() -> None:
    six, four = [info(f"::{n}", 1) for n in range(3)], [info(f"10.0.0.{n}", 1) for n in range(2)]
    assert _interleaved(six + four) == [six[0], four[0], six[1], four[1], six[2]]


@both_loops
async def test_one_that_is_silent_is_not_waited_for() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        async with fastws.serve(echo, "127.0.0.1") as server:
            names = Names(monkeypatch, info(NOWHERE, server.port), info("127.0.0.1", server.port))
            names.silent.add(NOWHERE)
            names.install()
            before = open_files()
            url = f"ws://server.test:{server.port}/"
            async with fastws.connect(url, happy_eyeballs_delay=0.02, open_timeout=5) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
            assert names.tried == [NOWHERE, "127.0.0.1"]
            await until(lambda: open_files() <= before)


@both_loops
async def test_one_that_refuses_is_followed_at_once(unused_tcp_port_factory: Any) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        async with fastws.serve(echo, "127.0.0.1") as server:
            names = Names(
                monkeypatch, info("127.0.0.1", unused_tcp_port_factory()), info("127.0.0.1", server.port)
            )
            names.install()
            async with asyncio.timeout(5):
                url = f"ws://server.test:{server.port}/"
                async with fastws.connect(url, happy_eyeballs_delay=60) as ws:
                    assert ws.peer[1] == server.port


@both_loops
async def test_none_answers(unused_tcp_port_factory: Any) -> None:
    one, other = unused_tcp_port_factory(), unused_tcp_port_factory()
    with pytest.MonkeyPatch.context() as monkeypatch:
        names = Names(monkeypatch, info("127.0.0.1", one), info("127.0.0.1", other))
        names.install()
        with pytest.raises(OSError):
            await fastws.connect("ws://server.test/")
        names.infos = []
        with pytest.raises(OSError, match="has no address"):
            await fastws.connect("ws://server.test/")
        names.infos = [info("127.0.0.1", one), info(BROKEN, one)]
        with pytest.raises(RuntimeError, match="no such family"):
            await fastws.connect("ws://server.test/")


@both_loops
async def test_cancelled_in_the_race_it_leaves_nothing() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        names = Names(monkeypatch, info(NOWHERE, 1), info("192.0.2.2", 1))
        names.silent |= {NOWHERE, "192.0.2.2"}
        names.install()
        before = open_files()
        loop = asyncio.get_running_loop()
        connecting = asyncio.ensure_future(
            create_connection(loop, asyncio.Protocol, "server.test", 1, stagger=0.01)
        )
        await until(lambda: len(names.tried) == 2)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert open_files() == before
