"""Where a server listens."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws.server import descriptors
from fastws.server.descriptors import inode, remove_own, take_over
from fastws.server.listeners import PORT_ATTEMPTS
from fastws.testing.network import ListeningSocket
from tests.conftest import Run
from tests.kit import ManualLoop, Recorder
from tests.kit.served import QUIET, opened, served
from tests.server.sites import coroutine


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class TestListening:
    def test_addresses(self, loop: ManualLoop) -> None:
        server = served(loop, Recorder(), host="127.0.0.1", port=8000)
        assert server.port == 8000
        assert [sock.getsockname() for sock in server.sockets] == [("127.0.0.1", 8000)]
        assert server.is_serving()
        loop.run(server.listen("127.0.0.1", 8001, reuse_port=True))
        loop.run(server.listen(unix=Path("/run/x.sock")))
        loop.run(server.listen(sock=ListeningSocket(("127.0.0.1", 8002))))  # type: ignore[arg-type]
        loop.run(server.listen(sock=ListeningSocket("/run/y.sock")))  # type: ignore[arg-type]
        assert len(server.sockets) == 5
        with pytest.raises(OSError, match="taken"):
            loop.run(server.listen("127.0.0.1", 8000))
        server.close()
        server.close()
        assert loop.network.listeners == {}
        assert not server.is_serving()

    def test_a_server_without_a_port(self, loop: ManualLoop) -> None:
        server = served(loop, Recorder(), unix="/run/x.sock")
        with pytest.raises(IndexError):
            server.port  # noqa: B018
        client = loop.network.listeners["/run/x.sock"].accept()
        assert client.get_extra_info("peername") == ""

    async def test_a_unix_socket_is_taken_over_from_the_dead_alone_and_removed(self, tmp_path: Path) -> None:
        path = tmp_path / "sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        async with fastws.serve(Recorder(), unix=path) as server:
            with pytest.raises(OSError, match="another server listens at .*sock"):
                await fastws.serve(Recorder(), unix=path)
            async with fastws.connect("ws://localhost/", unix=path) as ws:
                assert await ws.ping() > 0
            with pytest.raises(IndexError, match="has a port"):
                server.port  # noqa: B018
        assert not path.exists()

    async def test_a_unix_socket_of_somebody_else_by_now_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "sock"
        async with fastws.serve(Recorder(), unix=path):
            path.unlink()
            path.write_text("theirs")
        assert path.read_text() == "theirs"

    @pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
    @pytest.mark.parametrize("host", [None, "localhost"])
    async def test_port_0_is_one_port_at_all_addresses(self, host: str | None) -> None:
        async with fastws.serve(Recorder(), host) as server:
            assert {sock.getsockname()[1] for sock in server.sockets} == {server.port}
            for url in ("ws://127.0.0.1", "ws://[::1]"):
                if host is None:
                    async with fastws.connect(f"{url}:{server.port}") as ws:
                        assert await ws.ping() > 0

    @pytest.mark.parametrize("fails", [0, 3, PORT_ATTEMPTS + 1])
    async def test_a_port_that_is_taken_at_another_address_is_not_the_one(
        self, monkeypatch: pytest.MonkeyPatch, fails: int
    ) -> None:
        loop = asyncio.get_running_loop()
        made: list[Any] = []

        class Two:
            def __init__(self, ports: tuple[int, int]) -> None:
                self.sockets = [ListeningSocket(("x", port)) for port in ports]
                self.closed = False

            def close(self) -> None:
                self.closed = True

        async def create_server(accept: Any, host: Any, port: int, **options: Any) -> Any:
            if port:
                made.append(port)
                if len(made) <= fails:
                    raise OSError(errno.EADDRINUSE, "taken")
                servers.append(Two((port, port)))
            else:
                number = 1000 + 2 * len(servers)
                servers.append(Two((number, number + 1)))
            return servers[-1]

        servers: list[Two] = []
        monkeypatch.setattr(loop, "create_server", create_server)
        if fails > PORT_ATTEMPTS:
            with pytest.raises(OSError, match="no port is free"):
                await fastws.serve(Recorder())
            assert all(server.closed for server in servers)
            return
        async with fastws.serve(Recorder()) as server:
            assert [sock.getsockname()[1] for sock in server.sockets] == [made[-1]] * 2
            assert [each.closed for each in servers] == [True] * (len(servers) - 1) + [False]

    @pytest.mark.parametrize("after", ["close", "shutdown"])
    async def test_the_socket_of_the_next_server_stays(self, tmp_path: Path, after: str) -> None:
        path = tmp_path / "sock"
        first = await fastws.serve(Recorder(), unix=path)
        first.close()
        async with fastws.serve(Recorder(), unix=path):
            if after == "close":
                first.close()
            else:
                await first.shutdown()
            async with fastws.connect("ws://localhost/", unix=path) as ws:
                assert await ws.ping() > 0
        assert not path.exists()

    def test_a_file_that_has_the_number_of_a_removed_one_is_another(self, tmp_path: Path) -> None:
        path = tmp_path / "sock"
        path.write_text("ours")
        ours = inode(str(path))
        os.utime(path, ns=(0, 0))  # as if it were made at another time
        remove_own(str(path), ours)
        assert path.exists()
        remove_own(str(path), inode(str(path)))
        assert not path.exists()
        remove_own(str(path), ours)

    async def test_a_socket_that_is_taken_over_meanwhile_is_not_removed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))

        class Probe(socket.socket):
            def connect_ex(self, address: Any) -> int:
                code = super().connect_ex(address)
                path.unlink()
                path.write_text("of another server")
                return code

        monkeypatch.setattr(descriptors.socket, "socket", Probe)
        take_over(str(path))
        assert path.read_text() == "of another server"

    def test_tls(self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        given: dict[str, Any] = {}
        listen = loop.network.create_server

        async def create_server(*args: Any, **options: Any) -> Any:
            given.update(options)
            return await listen(*args, **options)

        monkeypatch.setattr(loop, "create_server", create_server)
        context: Any = object()
        server = served(loop, Recorder(), ssl=context, timeouts={"tls_handshake": 3.0}, backlog=7)
        assert (given["ssl"], given["ssl_handshake_timeout"], given["backlog"]) == (context, 3.0, 7)
        client = opened(loop, server)
        assert client.transport.get_extra_info("ssl_object") is context

    def test_as_a_context(self, run: Run) -> None:
        async def scenario() -> bool:
            async with fastws.serve(coroutine, **QUIET) as server:
                assert server.is_serving()
                ws = await fastws.connect(f"ws://server:{server.port}/", proxy=None)
            assert ws.close_code == 1001
            return server.is_serving()

        assert run(scenario()) is False

    def test_for_ever(self, run: Run) -> None:
        async def scenario() -> bool:
            server = await fastws.serve(coroutine, **QUIET)
            task = asyncio.create_task(server.serve_forever())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return server.is_serving()

        assert run(scenario()) is False
