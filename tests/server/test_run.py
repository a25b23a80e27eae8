"""Until a signal: in a running loop, and as a program of its own."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws import Server
from fastws.server.run import address_text, serve_until_signal
from fastws.server.settings import settings_from
from fastws.testing.wire import CLOSE
from tests.cli.helpers import PATIENCE, environment
from tests.kit import ManualLoop, Recorder, handshake
from tests.kit.served import QUIET, opened


class TestRun:
    def start(self, loop: ManualLoop, app: Any, *addresses: dict[str, Any], **options: Any) -> Any:
        self.servers: list[Server] = []
        settings = settings_from(**QUIET)
        return loop.create_task(
            serve_until_signal(app, addresses, settings, started=self.servers.append, **options)
        )

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_stops_it(self, loop: ManualLoop, number: int) -> None:
        task = self.start(loop, Recorder(), {"port": 8000}, {"port": 8001})
        loop.settle()
        client = opened(loop, self.servers[0])
        loop.raise_signal(number)
        loop.settle()
        assert client.frames()[-1].close_code == 1001
        client.close(1001)
        loop.settle()
        assert task.result() == 0
        assert asyncio.all_tasks(loop) == set()

    def test_within_its_grace(self, loop: ManualLoop) -> None:
        task = self.start(loop, Recorder(), {"port": 8000}, grace=2.0)
        loop.settle()
        client = opened(loop, self.servers[0])
        loop.raise_signal(signal.SIGTERM)
        loop.advance(2.0)
        assert task.result() == 0
        assert client.transport.aborted

    def test_without_a_grace(self, loop: ManualLoop) -> None:
        task = self.start(loop, Recorder(), {"port": 8000}, grace=None)
        loop.settle()
        client = opened(loop, self.servers[0])
        loop.raise_signal(signal.SIGTERM)
        loop.advance(4.9)
        assert not task.done()
        client.transport.lose()
        loop.settle()
        assert task.result() == 0

    def test_a_second_signal_ends_at_once(self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        def leave(code: int) -> None:
            raise SystemExit(code)

        monkeypatch.setattr("fastws.server.run.os._exit", leave)
        self.start(loop, Recorder(), {"port": 8000})
        loop.settle()
        opened(loop, self.servers[0])
        loop.raise_signal(signal.SIGTERM)
        loop.settle()
        loop.raise_signal(signal.SIGINT)
        with pytest.raises(SystemExit) as caught:
            loop.turn()
        assert caught.value.code == 128 + signal.SIGINT

    def test_cancelled(self, loop: ManualLoop) -> None:
        task = self.start(loop, Recorder(), {"port": 8000})
        loop.settle()
        client = opened(loop, self.servers[0])
        task.cancel()
        loop.settle()
        assert task.cancelled()
        assert client.transport.aborted
        assert loop.network.listeners == {}

    def test_an_address_that_cannot_be_had(self, loop: ManualLoop) -> None:
        task = self.start(loop, Recorder(), {"port": 8000}, {"port": 8000})
        loop.settle()
        assert isinstance(task.exception(), OSError)
        assert self.servers == []
        assert loop.network.listeners == {}


PROGRAM = """
import fastws


async def echo(ws):
    async for message in ws:
        await ws.send(message)


fastws.run(echo, port=0{options})
print("after it")
"""


class Program:
    """A Python program as a process; what it prints is collected in files."""

    def __init__(self, folder: Path, code: str) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], stdout=out, stderr=err, env=environment(), cwd=folder
            )

    def output(self) -> tuple[str, str]:
        return self._out.read_text(), self._err.read_text()

    def wait_for(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if (found := re.search(pattern, "".join(self.output()))) is not None:
                return found
            time.sleep(0.02)
        raise AssertionError(f"{pattern!r} is not in {self.output()}")

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[[str], Program]]:
    started: list[Program] = []

    def start(code: str) -> Program:
        started.append(Program(tmp_path, code))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


Start = Callable[[str], Program]


@pytest.mark.live
class TestProgram:
    """``fastws.run`` in a process of its own."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_serves_until_a_signal_and_returns(self, program: Start, number: int) -> None:
        running = program(PROGRAM.format(options=""))
        port = int(running.wait_for(r"Serving on http://127\.0\.0\.1:(\d+) \(press Ctrl-C to stop\)\n")[1])

        async def talk() -> int | None:
            async with fastws.connect(f"ws://127.0.0.1:{port}/", proxy=None) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
                running.process.send_signal(number)
                with pytest.raises(fastws.ConnectionClosedOK):
                    await ws.recv()
            return ws.close_code

        assert asyncio.run(talk()) == 1001
        assert running.process.wait(20) == 0
        out, err = running.output()
        assert out == "after it\n"
        assert err.count("\n") == 1

    def test_a_second_signal_ends_it_at_once(self, program: Start) -> None:
        running = program(PROGRAM.format(options=""))
        port = int(running.wait_for(r":(\d+) \(press")[1])
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(handshake())
            assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")
            running.process.send_signal(signal.SIGTERM)
            assert sock.recv(4096)[0] == 0x80 | CLOSE
            assert running.end(signal.SIGINT) == 128 + signal.SIGINT
        assert running.output()[0] == ""

    def test_a_log_in_place_of_the_line(self, program: Start, tmp_path: Path) -> None:
        logged = "import logging\nlogging.basicConfig(level=logging.INFO)\n"
        running = program(logged + PROGRAM.format(options=", unix='the.sock', announce=False"))
        with socket.socket(socket.AF_UNIX) as sock:
            while sock.connect_ex(str(tmp_path / "the.sock")):  # the file is there before it listens
                time.sleep(0.02)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 426 ")
        assert running.end(signal.SIGINT) == 0
        out, err = running.output()
        assert out == "after it\n"
        assert "Serving on" not in err
        assert 'INFO:fastws.access:unix "GET / HTTP/1.1" 426 ' in err
        assert "INFO:fastws.error:SIGINT: closing " in err

    def test_ctrl_c_before_it_listens(self, program: Start) -> None:
        running = program("""
import asyncio
import fastws


async def app(scope, receive, send):
    await receive()
    print("starting", flush=True)
    await asyncio.sleep(3600)


fastws.run(fastws.ASGI(app, lifespan="on"), port=0)
print("after it")
""")
        running.wait_for("starting")
        assert running.end(signal.SIGINT) == 0
        assert running.output() == ("starting\nafter it\n", "")

    def test_at_a_unix_socket(self, program: Start, tmp_path: Path) -> None:
        running = program(PROGRAM.format(options=", unix='the.sock'"))
        running.wait_for(r"Serving on unix:the\.sock \(")
        assert (tmp_path / "the.sock").is_socket()
        assert running.end(signal.SIGTERM) == 0
        assert not (tmp_path / "the.sock").exists()


class TestRunHere:
    """``fastws.run`` where it cannot serve."""

    async def test_in_a_running_loop(self) -> None:
        with pytest.raises(RuntimeError, match="serve_until_signal"):
            fastws.run(Recorder(), port=0)

    def test_in_another_thread(self) -> None:
        with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="main thread"):
            pool.submit(fastws.run, Recorder(), port=0).result()

    def test_an_address_that_is_taken(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
            fastws.run(Recorder(), port=taken.getsockname()[1])
        assert signal.getsignal(signal.SIGTERM) is before

    def test_arguments_that_fit_nothing(self) -> None:
        with pytest.raises(TypeError, match="nonsense"):
            fastws.run(Recorder(), nonsense=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (("127.0.0.1", 80), "http://127.0.0.1:80"),
        (("::1", 80, 0, 0), "http://[::1]:80"),
        ("/run/x.sock", "unix:/run/x.sock"),
        (b"\0name", "unix:\0name"),
    ],
)
def test_what_a_person_can_open(name: object, text: str) -> None:
    assert address_text(name, "http") == text
