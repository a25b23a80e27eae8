"""``fastws top`` and ``fastws ctl``, against a control socket that a test answers."""

from __future__ import annotations

import io
import json
import os
import pty
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fastws.cli.main import main
from fastws.cli.top import obey, watch
from fastws.cli.top_keys import Keys
from fastws.cli.top_metrics import view_of
from fastws.cli.top_screen import Rates, Screen, clients, duration, size
from fastws.errors import FastWSError

CLIENT = {
    "id": "1-7-aa", "peer": "192.0.2.7:1", "user": "ann", "path": "/chat", "state": "slow",
    "queued": 70_000, "age": 2.5, "rtt": 0.012, "seconds": 3700.0, "received": 3, "sent": 4, "dropped": 5,
}  # fmt: skip


def look(**changes: Any) -> dict[str, Any]:
    counters = dict.fromkeys(("messages_received", "messages_sent", "queue_bytes"), 10)
    return {
        "time": 100.0, "seconds": 50.0, "states": {"ready": 1, "leaving": 0},
        "connections": 3, "websockets": 2,
        "totals": {"messages_received": 100, "bytes_sent": 5_000, "evicted": 1},
        "closes": {"1000 client": 7},
        "workers": [{"worker": 1, "pid": 11, "websockets": 2, "counters": counters, "cpu": 1.0}],
        "clients": [CLIENT, {**CLIENT, "id": "1-8-bb", "rtt": None, "age": 0, "user": ""}],
        "topics": [{"hub": "default", "topic": "room", "listeners": 2}],
        **changes,
    }  # fmt: skip


class Desk:
    """Answers at a Unix socket by a function; notes what was asked."""

    def __init__(self, path: Path, answer: Callable[[dict[str, Any]], Any]) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answer = answer
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(str(path))
        self._sock.listen()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._sock.accept()
            except OSError:
                return
            with client, client.makefile("rb") as lines:
                for line in lines:
                    question = json.loads(line)
                    self.asked.append(question)
                    said = self._answer(question)
                    if said is None:
                        break
                    text = said if isinstance(said, bytes) else json.dumps(said).encode()
                    client.sendall(text + b"\n")

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def desk(path: Path) -> Iterator[Desk]:
    answers: dict[str, Any] = {"top": {"answer": look()}, "drain": {"answer": "it drains"}, "reload": None}
    others: dict[str, Any] = {"HTTP": b"HTTP/1.1 400 Bad Request", "list": [], "nothing": {}}

    def answer(question: dict[str, Any]) -> Any:
        match = question.get("match")
        return others[match] if match in others else answers.get(question["ask"], {"error": "no"})

    made = Desk(path, answer)
    yield made
    made.close()


def test_once(path: Path, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", str(path), "--once", "--sort", "rtt", "--match", "/chat"]) == 0
    shown = capsys.readouterr().out
    for text in (
        "2 WebSockets, 3 connections", "in 2 messages/s", "out 0 messages/s 100 B/s", "1000 client: 7",
        "1-7-aa", "192.0.2.7:1", "ann", "70.0 kB", "2.5 s", "12.0 ms", "1 h 1 m", "room", "evicted 1",
        "clients by rtt, with '/chat'",
    ):  # fmt: skip
        assert text in shown
    assert desk.asked == [{"ask": "top", "sort": "rtt", "match": "/chat", "limit": 20}]


def test_no_column_for_users_that_nobody_knows() -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    rates = Rates()
    rates.take(look(clients=[{**CLIENT, "user": ""}]))
    console.print(Screen().view(rates, {"sort": "rtt", "match": ""}))
    shown = console.export_text()
    assert "192.0.2.7:1" in shown and "USER" not in shown


@pytest.mark.parametrize(
    ("width", "columns", "cut"),
    [
        (200, "ID PEER USER PATH STATE QUEUED AGE RTT IN OUT DROPPED OPEN", False),
        (120, "ID PEER USER PATH STATE QUEUED AGE RTT IN OUT DROPPED OPEN", True),
        (80, "ID PEER USER PATH QUEUED AGE DROPPED", True),
        (40, "ID PEER QUEUED", False),
    ],
)
def test_on_a_narrow_terminal_columns_give_way(width: int, columns: str, cut: bool) -> None:
    found = [{**CLIENT, "user": "u" * 30}, {**CLIENT, "path": "/p" * 20}]
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(clients(found, {"sort": "rtt", "match": ""}, -1, width))
    _, names, _, first, second = (line.strip() for line in console.export_text().splitlines() if line.strip())
    assert names.split() == columns.split()
    assert "192.0.2.7:1 " in first and "70.0 kB" in first
    assert ("\u2026" in first + second) == cut and ("u" * 30 in first) == (width == 200)


def test_what_the_terminal_has_no_room_for() -> None:
    """The mistake stands above, and the client that is selected is among those that are shown."""
    screen, rates = Screen(), Rates()
    screen._console = Console(width=80, height=16, force_terminal=True, record=True, file=io.StringIO())
    screen.note, screen.selected = "no server answers", 30
    rates.take(look(clients=[{**CLIENT, "id": f"1-{number}-a"} for number in range(40)]))
    screen._console.print(screen.view(rates, {"sort": "rtt", "match": ""}))
    lines = screen._console.export_text().splitlines()
    assert len(lines) <= 16
    assert lines[5] == "no server answers" and any("1-30-a" in line for line in lines)
    assert not any("WORKER" in line or "1-2-a" in line for line in lines)


def test_json_lines(path: Path, desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    assert main(["top", str(path), "--once", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == look()

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastws.cli.top.time.sleep", interrupted)
    assert main(["top", str(path), "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["top", "PATH.not", "--once"], 3, "no server answers at"),
        (["top", "http://127.0.0.1:1", "--once"], 3, "no metrics at http://127.0.0.1:1/metrics"),
        (["top", "PATH", "--once", "--match", "HTTP"], 3, "PATH is not fastws"),
        (["top", "PATH", "--once", "--match", "list"], 3, "PATH is not fastws"),
        (["top", "PATH", "--once", "--match", "nothing"], 3, "PATH is not fastws"),
        (["ctl", "close", "1-2-3", "--control", "PATH"], 1, "fastws ctl: no"),
        (["ctl", "reload", "--control", "PATH"], 3, "has closed"),
        (["ctl", "reload", "now", "--control", "PATH"], 2, "takes no value"),
        (["ctl", "close", "--control", "PATH"], 2, "takes ID"),
        (["ctl", "log-level", "loud", "--control", "PATH"], 2, "none of critical"),
    ],
)
def test_mistakes_are_one_line(
    path: Path, desk: Desk, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert main([each.replace("PATH", str(path)) for each in arguments]) == code
    captured = capsys.readouterr()
    said = said.replace("PATH", str(path))
    assert said in captured.err and captured.err.count("\n") == 1


def test_ctl(path: Path, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ctl", "drain", "--control", str(path)]) == 0
    assert capsys.readouterr().out == "it drains\n"


def test_rates_are_between_two_looks() -> None:
    rates = Rates()
    rates.take(look())
    assert rates.of("messages_received") == 2.0 and rates.cpu(1) is None
    later = look(time=102.0, totals={"messages_received": 300})
    later["workers"] = [{**later["workers"][0], "cpu": 1.5}]
    rates.take(later)
    assert rates.of("messages_received") == 100.0 and rates.cpu(1) == 0.25
    rates.take(look(time=103.0, workers=[]))
    assert rates.cpu(1) is None
    # It was started again: nothing goes back.
    rates.take(look(time=105.0, seconds=2.0, totals={"messages_received": 10}))
    assert rates.of("messages_received") == 5.0


def test_numbers_as_people_read_them() -> None:
    assert [size(each) for each in (0, 999, 1500, 2.5e6, 3e9)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.5 MB",
        "3.0 GB",
    ]
    assert [duration(each) for each in (5, 65, 3700, 90_000)] == ["5 s", "1 m 5 s", "1 h 1 m", "1 d 1 h"]


class Typed:
    """Keys that a test presses."""

    def __init__(self, *keys: str) -> None:
        self.keys = list(keys)

    def read(self, seconds: float) -> str | None:
        if not self.keys:
            raise KeyboardInterrupt
        return self.keys.pop(0)

    def line(self, prompt: str) -> str:
        return "/a"


class Live:
    def __init__(self) -> None:
        self.updates = 0

    def update(self, view: object, *, refresh: bool) -> None:
        self.updates += 1


def test_keys_sort_filter_select_and_close() -> None:
    pulled: list[dict[str, Any]] = []
    asked: dict[str, Any] = {"sort": "queued", "match": "", "limit": 20}

    def pull(values: dict[str, Any]) -> dict[str, Any]:
        pulled.append(dict(values))
        values.pop("close", None)
        return look()

    keys: Any = Typed("a", "down", "down", "k", "/", "x", "up", "q", "never read")
    live, screen = Live(), Screen()
    assert watch(pull, asked, 60.0, keys, live, screen, Rates()) == 0
    assert [each.get("close") for each in pulled] == [None, None, "1-8-bb", None]
    assert pulled[1]["sort"] == "age" and pulled[-1]["match"] == "/a"
    assert screen.selected == 0 and live.updates >= 5 and keys.keys == ["never read"]


def test_a_refusal_is_shown(path: Path, desk: Desk) -> None:
    from fastws.cli.control_client import Control

    screen = Screen()
    with Control(str(path)) as line:
        rates = Rates()
        rates.take(look())

        def pull(values: dict[str, Any]) -> dict[str, Any]:
            found: dict[str, Any] = line.ask("sing")
            return found

        keys: Any = Typed()
        assert watch(pull, {"sort": "rtt", "match": ""}, 60.0, keys, Live(), screen, rates) == 0
    assert screen.note == "no"
    assert obey("k", {}, screen, Rates(), keys) is False


def test_keys_of_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    master, slave = pty.openpty()
    with os.fdopen(master, "wb", buffering=0) as person, os.fdopen(slave, "rb", buffering=0) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        with Keys() as keys:
            for typed, key in ((b"q", "q"), (b"\x1b[A", "up"), (b"\x1bOB", "down")):
                person.write(typed)
                assert keys.read(5.0) == key
            assert keys.read(0.0) is None
            for typed, said in ((b"ab\x7f\n", "a"), (b"x\x1b", "")):
                person.write(typed)
                assert keys.line("filter: ") == said
    assert "filter: a" in capsys.readouterr().out


def test_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "rb") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        with Keys() as keys:
            assert keys.read(0.0) is None


METRICS = """
fastws_connections{route="/a"} 2.0
fastws_tcp_connections 3.0
fastws_messages_received_total{route="/a"} 7.0
fastws_closes_total{code="1000",initiator="client",route="/a"} 4.0
fastws_closes_total{code="1006",initiator="none",route="/a"} 0.0
fastws_handshakes_total{result="accepted"} 6.0
fastws_handshakes_total{result="refused"} 1.0
fastws_workers{state="ready"} 1.0
process_start_time_seconds 1000.0
"""


def test_the_view_of_a_scrape() -> None:
    found = view_of(METRICS)
    assert (found["websockets"], found["connections"], found["states"]) == (2, 3, {"ready": 1})
    assert found["totals"]["websockets_opened"] == 6 and found["totals"]["messages_received"] == 7
    assert found["closes"] == {"1000 client": 4}
    for text in ("", "nothing_of_ours 1.0\n", "{{{"):
        with pytest.raises(Exception, match="not the metrics of fastws") as caught:
            view_of(text)
        assert not isinstance(caught.value, FastWSError)


def test_of_a_scrape(capsys: pytest.CaptureFixture[str]) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(METRICS.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            assert main(["top", address, "--once"]) == 0
            shown = capsys.readouterr().out
            assert "2 WebSockets, 3 connections" in shown and "PEER" not in shown
            assert main(["top", f"{address}/metrics", "--once", "--json"]) == 0
            assert main(["top", f"{address}/other", "--once"]) == 3
        finally:
            server.shutdown()
            thread.join()


def test_a_view_that_stays(
    path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open(os.devnull, "rb") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)

        def interrupted(seconds: float) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("fastws.cli.top_keys.time.sleep", interrupted)
        assert main(["top", str(path)]) == 0
    assert len(desk.asked) == 1
    # Without a terminal the views stand one below the other.
    shown = capsys.readouterr().out
    assert shown.count("2 WebSockets, 3 connections") == 1 and "\x1b" not in shown


def test_the_client_to_close_is_asked_for_once(path: Path, desk: Desk) -> None:
    from contextlib import ExitStack

    from fastws.cli.control_client import Refused
    from fastws.cli.top import puller

    with ExitStack() as stack:
        pull = puller(str(path), stack)
        asked: dict[str, Any] = {"sort": "age", "close": "1-2-3"}
        with pytest.raises(Refused):
            pull(asked)
        assert pull(asked) == look() and "close" not in asked


def test_a_server_that_goes_away_is_asked_until_it_is_back(path: Path) -> None:
    from contextlib import ExitStack

    from fastws.cli.top import puller

    with ExitStack() as stack:
        desk = Desk(path, lambda question: {"answer": look()})
        pull, screen, seen = puller(str(path), stack), Screen(), []

        class Watched(Typed):
            def read(self, seconds: float) -> str | None:
                seen.append(screen.note)
                return super().read(seconds)

        keys: Any = Watched("a", "t", "b", "r", "q")
        steps = iter(range(9))

        def step(asked: dict[str, Any]) -> dict[str, Any]:
            nonlocal desk
            number = next(steps)
            if number == 1:  # it lets go of us
                desk._answer = lambda question: None
            elif number == 2:  # nobody is there
                desk.close()
                path.unlink()
            elif number == 3:
                desk = Desk(path, lambda question: {"answer": look()})
            return pull(asked)

        assert watch(step, {"sort": "rtt", "match": ""}, 60.0, keys, Live(), screen, Rates()) == 0
    desk.close()
    assert seen[0] == "" and "has closed" in seen[1] and "no server answers" in seen[2]
    assert seen[3:] == ["", ""]
