"""``fastws bench`` as a person calls it: its output, its files, its exit codes."""

from __future__ import annotations

import os
import pty
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from websockets.asyncio.server import ServerConnection

from tests.cli.helpers import Result, assert_one_line, environment, fastws, running
from tests.loadgen.servers import Chat, accept, echo, raw_server, websockets_server

pytestmark = pytest.mark.live

#: Nobody listens there. A port that was free a moment ago may be another test's.
NOBODY = "ws://127.0.0.1:1/"
SHORT = ("--clients", "4", "--duration", "300ms", "--warmup", "100ms")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with websockets_server(echo) as url:
        yield url


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["echo", "--clients", "0"], "'0' is not a whole number of at least 1"),
        (["echo", "--size", "big"], "'big' is not a size; write 20, 16k or 1M"),
        (["echo", "--duration", "soon"], "'soon' is not a number"),
        (["echo", "--rate", "0"], "'--rate'"),
        (["echo", "--merged-by", "ab"], "one ASCII character"),
        (["echo", "--merged-by", "\\"], "neither one character nor an escape"),
        (["echo", "--header", "X"], "'X' has no colon"),
        (["echo", "--require", "p98=1"], "write METRIC=VALUE"),
        (["echo", "--require", "p99>1s"], "write p99<1s"),
        (["echo", "--ramp", "soon"], "'soon' is not a number"),
        (["connect", "--ramp", "1s"], "there is no ramp"),
        (["resume", "--ramp", "1s"], "--ramp is not for resume"),
        (["ws://127.0.0.1:2/", "keyed"], "keyed takes one URL"),
        (["echo", "--script", "x"], "--script says what clients do: leave echo out"),
        (["--script", os.devnull], "there is no step"),
        (["--script", os.devnull, "--rate", "5"], "--rate is not for a script"),
        (["--script", os.devnull, "--depth", "5"], "--depth belongs to echo, not to script"),
        (["echo", "--until", "p99=1x"], "is not a number with one of the units"),
        (["echo", "--step", "clients-1"], "so that the load grows"),
        (["echo", "--step", "clients+1"], "--step belongs to --until"),
        (["echo", "--until", "p99=1s", "--require", "reach=1"], "--require belongs to a single run"),
        (["echo", "--until", "p99=1s", "--step", "rate*2"], "need a --rate to begin with"),
        (["echo", "--window", "2"], "--window belongs to fanout, not to echo"),
        (["idle", "--depth", "2"], "--depth belongs to echo, not to idle"),
        (["echo", "--depth", "2", "--rate", "5"], "--depth is for a closed loop and --rate for an open one"),
        (["fanout", "--size", "5"], "it needs 9 bytes"),
        (["room", "--processes", "2"], "a room needs one process"),
        (["echo", "--turns", "--json", "-"], "the JSON needs a file"),
        (["echo", "--turns", "--until", "p99=1s"], "--turns belongs to a single run"),
        (["fanout", "--turns", "--processes", "2"], "a fan-out in turns needs one process"),
        (["feed", "--rate", "46"], "1 publishers send at most 45"),
        (["feed", "--message", "{stamp}"], "--message is not for a feed"),
        (["echo", "--missed", "3"], "--missed belongs to resume, not to echo"),
        (["resume", "--window", "2"], "--window belongs to fanout, not to resume"),
        (["resume", "--rate", "46"], "rate is at most 45"),
        (["resume", "--deflate"], "--deflate is not for resume"),
        (["resume", "--until", "p99=1s"], "resume has no --until"),
        (["keyed", "--missed", "3"], "--missed belongs to resume, not to keyed"),
        (["keyed", "--stalled", "200"], "as many clients can stall as there are"),
        (["swim"], "'swim' is not one of"),
        ([], "is not one of"),
    ],
)
def test_a_wrong_command_line_is_usage(
    fastws_here: Callable[..., Result], args: list[str], text: str
) -> None:
    assert_one_line(fastws_here("bench", "ws://127.0.0.1:1/", *args), 2, text)


FEED = """
import fastws

hub = fastws.Hub()
hub.topic("bench", history=1000)
feed = fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone)
routes = [fastws.Route("/feed", feed)]
"""


@pytest.mark.system
def test_a_feed_is_measured(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(FEED)
    with running(tmp_path, "serve", "app:routes", "--port", 0) as child:
        url = child.address().replace("http", "ws", 1) + "/feed"
        fanned = fastws("bench", url, "feed", *SHORT, "--json", "-")
        assert fanned.returncode == 0, fanned.stderr
        assert orjson.loads(fanned.stdout)["reach"] == 1
        storm = fastws("bench", url, "resume", "--clients", 5, "--missed", 2, "--rate", 40, "--json", "-")
        assert storm.returncode == 0, storm.stderr
        assert orjson.loads(storm.stdout)["resumed"] == 5
        assert "returned" in storm.stderr


def test_another_url_is_usage(fastws_here: Callable[..., Result]) -> None:
    assert_one_line(fastws_here("bench", "http://127.0.0.1/", "echo"), 2, "is not a WebSocket URL")


def test_nobody_listens() -> None:
    text = f"no client could open {NOBODY}: could not connect: Connection refused"
    assert_one_line(fastws("bench", NOBODY, "echo"), 1, text)


def test_the_upgrade_is_refused() -> None:
    def refuse(connection: socket.socket, number: int) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with raw_server(refuse) as url:
        assert_one_line(
            fastws("bench", url, "echo"), 1, "the server refused the upgrade with status 404 Not Found"
        )


def test_too_few_file_descriptors(url: str) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("there is no limit here")
    result = fastws("bench", url, "idle", "--clients", str(hard + 1))
    assert_one_line(result, 1, f"the hard limit is {hard:,}: raise it (ulimit -Hn {hard + 33}")


def test_a_file_that_cannot_be_written_is_told_before_the_run(
    fastws_here: Callable[..., Result], tmp_path: Path
) -> None:
    for option in ("--json", "--html"):
        for path in (tmp_path / "no/a", tmp_path):
            assert_one_line(fastws_here("bench", NOBODY, "echo", option, path), 3, "cannot write")


@pytest.mark.parametrize(
    ("module", "text"), [("rich", "pip install rich"), ("fastws.loadgen._loadgen", "C module")]
)
def test_what_is_not_installed_is_told(module: str, text: str, tmp_path: Path) -> None:
    hide = f"import sys; sys.modules[{module!r}] = None"
    code = f"{hide}\nfrom fastws.cli.main import main\nsys.exit(main(['bench', 'ws://127.0.0.1:1/', 'echo']))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert_one_line(result, 3, text)


def test_a_run_prints_a_table_and_writes_its_files(url: str, tmp_path: Path) -> None:
    json, page = tmp_path / "a.json", tmp_path / "a.html"
    result = fastws("bench", url, "echo", *SHORT, "--json", json, "--html", page, "--pid", os.getpid(),
                    "--require", "p99=5s", "--require", "reach=1")  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    for word in (
        "throughput",
        "p99.9",
        "reach",
        "100 %",
        "errors",
        "generator CPU",
        "server CPU",
        "server RSS",
    ):
        assert word in result.stdout, word
    made = orjson.loads(json.read_bytes())
    assert made["rate"] > 0 and made["reach"] == 1 and made["broken"] == [] and made["ok"] is True
    assert made["server"]["cpu_us"] > 0 and made["latency"]["p99"] > 0
    assert page.read_text().startswith("<!doctype html>")


def test_the_json_may_go_to_the_standard_output(url: str) -> None:
    result = fastws("bench", url, "connect", *SHORT, "--json", "-")
    assert result.returncode == 0
    assert orjson.loads(result.stdout)["unit"] == "handshakes/s"
    assert "handshakes/s" in result.stderr


def test_turns_are_taken_at_each_line_and_reported_together(url: str, tmp_path: Path) -> None:
    json = tmp_path / "a.json"
    argv = [sys.executable, "-m", "fastws", "bench", url, "echo", *SHORT, "--turns", "--json", str(json)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline() == "ready\n"
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        process.stdin.close()
        table = process.stdout.read()
    assert process.returncode == 0 and "throughput" in table
    made = orjson.loads(json.read_bytes())
    assert made["seconds"] > 0.7 and made["ok"] is True  # three turns of 0.3


def test_turns_that_nobody_asks_for(url: str) -> None:
    result = fastws("bench", url, "echo", *SHORT, "--turns")
    assert result.returncode == 1 and result.stdout == "ready\n"
    assert result.stderr == "fastws bench: no turn was taken: there is nothing to report\n"


def test_a_requirement_that_is_not_met(url: str) -> None:
    result = fastws("bench", url, "echo", *SHORT, "--require", "p50=0.1us", "--require", "rate=1")
    assert result.returncode == 1
    assert result.stderr.startswith("fastws bench: required p50 at most 0.0001 ms: it was ")
    assert "throughput" in result.stdout


def test_dropped_clients_leave_a_partial_report(tmp_path: Path) -> None:
    async def dropping(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send(message)
            if ws.id.int % 2 and ws.latency >= 0:
                await ws.close(1011, "sorry")

    json = tmp_path / "a.json"
    with websockets_server(dropping) as url:
        result = fastws("bench", url, "echo", *SHORT, "--clients", "30", "--json", json)
    assert result.returncode == 1
    assert result.stderr.startswith("fastws bench: closed by the server with 1011 (")
    assert "clients were lost before the end" in result.stdout and "throughput" in result.stdout
    assert orjson.loads(json.read_bytes())["lost"] > 0


@pytest.mark.system
def test_silence_is_not_a_result() -> None:
    def silent(connection: socket.socket, number: int) -> None:
        accept(connection)
        while connection.recv(4096):
            pass

    with raw_server(silent) as url:
        result = fastws("bench", url, "echo", *SHORT)
    assert result.returncode == 1
    assert result.stderr == "fastws bench: nothing came back that could be measured\n"


def test_merged_messages_are_counted() -> None:
    with websockets_server(Chat(joined_by="\n")) as url:
        options = ["--window", "4", "--publishers", "4", "--merged-by", "\\n", "--require", "reach=1"]
        result = fastws("bench", url, "fanout", *SHORT, *options)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("limit", "steps", "best"), [(12, [8, 12, 16], 1), (4, [8], None)])
def test_the_limit_of_a_server_is_found_to_one_step(
    limit: int, steps: list[int], best: int | None, tmp_path: Path
) -> None:
    async def limited(ws: ServerConnection) -> None:
        if len(ws.server.connections) > limit:
            await ws.close(1013, "full")
        await echo(ws)

    json, page = tmp_path / "a.json", tmp_path / "a.html"
    with websockets_server(limited) as url:
        result = fastws("bench", url, "idle", "--clients", 8, "--until", "errors=0", "--step", "clients+4",
                        "--duration", "300ms", "--warmup", "0", "--json", json, "--html", page)  # fmt: skip
    made = orjson.loads(json.read_bytes())
    assert [step["clients"] for step in made["steps"]] == steps
    assert made["best"] == best
    assert made["verdict"] in result.stdout and made["verdict"] in page.read_text()
    assert result.returncode == (0 if best is not None else 1)
    if best is not None:
        assert made["verdict"] == "this server holds 12 clients that are idle"


@pytest.mark.system  # it is about what a machine with nothing else to do can do
def test_the_rate_that_a_server_holds_is_found_to_one_step(tmp_path: Path) -> None:
    """7 ms of work each: 142 messages a second."""

    async def slow(ws: ServerConnection) -> None:
        async for message in ws:
            time.sleep(0.007)
            await ws.send(message)

    json = tmp_path / "a.json"
    with websockets_server(slow) as url:
        result = fastws("bench", url, "echo", "--clients", 4, "--rate", 80, "--step", "rate*3", "--until",
                        "p99=800ms", "--duration", "3s", "--warmup", "0", "--json", json)  # fmt: skip
    made = orjson.loads(json.read_bytes())
    assert result.returncode == 0, result.stdout
    assert [(step["rate"], step["holds"]) for step in made["steps"]] == [(80, True), (240, False)]
    assert "this server holds 4 clients at 80 messages a second" in result.stdout


def test_on_a_terminal_there_is_progress_and_ctrl_c_reports_what_was_measured(url: str) -> None:
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "fastws", "bench", url, "echo", "--clients", "4", "--duration", "60s"]
    child = subprocess.Popen(
        argv,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm"),
        start_new_session=True,
    )
    os.close(theirs)
    try:
        shown = read_until(ours, b"measuring")
        os.killpg(child.pid, signal.SIGINT)  # as the terminal does: to every process
        shown += read_until(ours, b"generator CPU")
        assert child.wait(10) == 130
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    assert b"p99" in shown and b"messages/s" in shown and b"Traceback" not in shown


def read_until(descriptor: int, word: bytes) -> bytes:
    shown, deadline = b"", time.monotonic() + 20
    while word not in shown and time.monotonic() < deadline:
        if select.select([descriptor], [], [], 1.0)[0]:
            shown += os.read(descriptor, 65536)
    assert word in shown, shown
    return shown


def test_a_script_and_its_thresholds(fastws_here: Callable[..., Result], url: str, tmp_path: Path) -> None:
    file, report = tmp_path / "talk.jsonl", tmp_path / "talk.json"
    file.write_text('{"send": "hello"}\n{"expect": "hello"}\n')
    args = ("bench", url, url, "--script", str(file), *SHORT, "--warmup", "0")
    result = fastws_here(*args, "--require", "p99<5s", "--require", "rate>1M", "--json", str(report))
    assert result.returncode == 1
    assert "p99 at most 5000 ms: it was" in result.stdout
    made = orjson.loads(report.read_bytes())
    assert [each["met"] for each in made["thresholds"]] == [True, False]
    file.write_text('{"send": "hello"}\n{"wait": 0}')
    wrong = fastws_here(*args)
    assert_one_line(wrong, 2, f"{file}: line 2: wait: write a time above 0")
    file.write_bytes(b"\xff")
    assert "is not a text in UTF-8" in fastws_here(*args).stderr
    assert fastws_here("bench", url, "--script", str(tmp_path / "none")).returncode == 3
