"""``--metrics``, ``--control`` and ``--pid``: mistakes in them, and what one process does with them."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from fastws.cli.errors import CannotStart
from fastws.cli.main import main
from fastws.cli.observing import Observing, metrics_address
from fastws.meters.meters import end_measuring, measuring
from fastws.workers.notify import Watchdog, beat_watchdog, watchdog_seconds
from fastws.workers.states import Phase
from fastws.workers.watch import Watch
from tests.cli.helpers import get
from tests.kit import ManualLoop, Recorder
from tests.kit.logging_kept import logging_kept
from tests.kit.served import served

NOTHING = {"metrics": None, "control": None, "pid": None, "require_broker": False, "broker": None}


@pytest.fixture(autouse=True)
def _measuring_ends() -> Any:
    yield
    end_measuring()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--metrics", "nowhere"], 2, "--metrics 'nowhere' is not HOST:PORT"),
        (["--metrics", "99999"], 2, "there is no port above 65535"),
        (["--metrics", "fd://3"], 2, "is not [HOST:]PORT"),
        (["--metrics", "0", "--require-broker"], 2, "--require-broker needs --broker"),
        (["--metrics", "192.0.2.1:0"], 3, "cannot listen on 192.0.2.1:0"),
        (["--control", "nowhere/s"], 3, "--control nowhere/s: No such file or directory"),
        (["--control", "open"], 3, "--control open: there is a file that is no socket"),
        (["--control", "open/s"], 3, "nobody else may write there"),
        (["--pid", "nowhere/pid"], 3, "--pid nowhere/pid: No such file or directory"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with logging_kept():
        assert main(["serve", "--port", "0", *arguments]) == code
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1


def test_without_prometheus_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(CannotStart, match=r"pip install 'fastws-server\[metrics\]'"):
        Observing({**NOTHING, "metrics": "9090"})
    assert not Observing(NOTHING).measures


def test_where_metrics_may_be() -> None:
    assert [str(metrics_address(text)) for text in ("9090", "[::1]:9", ":8", "unix:/run/m")] == [
        "127.0.0.1:9090", "[::1]:9", ":8", "unix:/run/m",
    ]  # fmt: skip


def test_the_file_of_the_process_goes_away_with_it(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with Observing({**NOTHING, "pid": str(path)}).opened():
        assert int(path.read_text()) == os.getpid()
    assert not path.exists()
    with Observing({**NOTHING, "pid": str(path)}).opened():
        path.write_text("1\n")
    assert path.read_text() == "1\n", "another server has the name"


async def serve_a_moment(observing: Observing, look: Any) -> int:
    async def serving() -> int:
        await look()
        return 7

    return await observing.around(serving())


async def test_one_process_answers_on_its_own_loop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o700)
    observing = Observing({**NOTHING, "metrics": "0", "control": str(tmp_path / "s")})
    observing.begin_measuring()
    assert measuring() is not None

    class Server:
        def __init__(self) -> None:
            self.is_open = True
            self.connections: dict[Any, None] = {}

        def is_serving(self) -> bool:
            return self.is_open

        def totals(self) -> dict[str, int]:
            return {"connections": 3}

        @property
        def own_counters(self) -> Any:
            from fastws.connection.counters import UNCOUNTED

            return UNCOUNTED

    server: Any = Server()

    async def look() -> None:
        observing.announce()
        address = capsys.readouterr().err.split()[2]

        def readyz() -> tuple[int, bytes]:
            status, _, body = get(address, "/readyz")
            return status, body

        assert await asyncio.to_thread(readyz) == (503, b"not ready: it starts\n")
        observing.serving(server)
        assert (await asyncio.to_thread(readyz))[0] == 200
        assert b"fastws_connections" in (await asyncio.to_thread(get, address, "/metrics"))[2]
        server.is_open = False
        assert await asyncio.to_thread(readyz) == (503, b"not ready: it drains\n")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b'{"ask": "sing"}\n')
        assert b"no question" in await reader.readline()
        writer.close()

    with observing.opened():
        assert await serve_a_moment(observing, look) == 7
    assert not (tmp_path / "s").exists()


async def test_a_supervisor_answers_in_a_thread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fastws.meters.board import Board
    from fastws.server.shared_page import SharedPage

    tmp_path.chmod(0o700)

    class Supervisor:
        def __init__(self) -> None:
            pool: Any = type("Pool", (), {"workers": [], "phase": Phase.STARTING})()
            page = SharedPage.create(1)
            page.board = Board.create(1)
            keeping: Any = type("Keeping", (), {"pid": None})()
            self.watch = Watch(pool, page, keeping)
            self.inquiry = None

        def wake(self, number: int) -> None:
            """Nothing to wake."""

    observing = Observing({**NOTHING, "metrics": "0", "control": str(tmp_path / "s")})
    supervisor: Any = Supervisor()
    with observing.opened(), observing.beside(supervisor):
        observing.announce()
        address = capsys.readouterr().err.split()[2]
        assert get(address, "/readyz")[2] == b"not ready: it starts\n"
        assert get(address, "/livez")[0] == 200
        supervisor.watch.turned -= 60
        assert get(address, "/livez")[2] == b"not ready: the supervisor hangs\n"
        assert b"fastws_workers" in get(address, "/metrics")[2]
        with socket.socket(socket.AF_UNIX) as person:
            person.connect(str(tmp_path / "s"))
            person.sendall(b'{"ask": "reload"}\n')
            assert b"a reload begins" in person.recv(100)
    with Observing(NOTHING).beside(supervisor):
        pass


class TestWatchdog:
    @pytest.fixture(autouse=True)
    def _told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        monkeypatch.setattr("fastws.workers.notify.notify", self.told.append)

    @pytest.mark.parametrize(
        ("wanted", "pid", "seconds"),
        [("", "", None), ("0", "", None), ("4000000", "", 2.0), ("4000000", "1", None), ("often", "", None)],
    )
    def test_when_systemd_wants_a_sign_of_life(
        self, monkeypatch: pytest.MonkeyPatch, wanted: str, pid: str, seconds: float | None
    ) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", wanted)
        monkeypatch.setenv("WATCHDOG_PID", pid)
        assert watchdog_seconds() == seconds

    def test_of_a_process_without_a_loop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")
        watchdog = Watchdog()
        for now in (10.0, 11.0, 12.0, 13.0, 14.5):
            watchdog.beat(now)
        assert self.told == ["WATCHDOG=1"] * 3
        monkeypatch.delenv("WATCHDOG_USEC")
        Watchdog().beat(100.0)
        assert len(self.told) == 3

    def test_of_a_loop(self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")
        task = loop.create_task(beat_watchdog())
        loop.settle()
        loop.advance(4.1)
        assert len(self.told) == 3
        task.cancel()
        loop.settle()
        served(loop, Recorder())

    async def test_beside_a_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")

        async def look() -> None:
            await asyncio.sleep(0)

        assert await serve_a_moment(Observing(NOTHING), look) == 7
        assert self.told == ["WATCHDOG=1"]
