"""``fastws serve --workers 2`` as processes."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.cli.helpers import Child, fastws, running
from tests.cli.test_serve import get

pytestmark = pytest.mark.live

READY = re.compile(r"worker \d+ \(pid (\d+)\) is ready")


def pids(server: Child, count: int) -> list[int]:
    """The processes of the workers, as soon as so many have become ready."""
    for _ in range(2000):
        found = [int(pid) for pid in READY.findall(server.stderr())]
        if len(found) >= count:
            return found
        time.sleep(0.01)
    raise AssertionError(server.stderr())


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_gone(pid: int) -> None:
    for _ in range(1000):
        if gone(pid):
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} still runs")


def test_a_killed_worker_is_replaced_and_a_reload_reads_the_application_again(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    text = "import fastws\nroutes = [fastws.Route('/', http=lambda request: fastws.Response(200, '{}'))]\n"
    app.write_text(text.format("one"))
    args = ["app:routes", "--port", 0, "--workers", 2, "--timeout-drain", 0]
    with running(tmp_path, "serve", *args, PYTHONDONTWRITEBYTECODE="1") as server:
        address = server.address()
        first, _ = pids(server, 2)
        os.kill(first, signal.SIGKILL)
        pids(server, 3)
        assert get(address, "/")[2] == b"one"
        app.write_text(text.format("two"))
        server.process.send_signal(signal.SIGHUP)
        for pid in pids(server, 5)[:3]:
            wait_gone(pid)
        assert get(address, "/")[2] == b"two"
        assert server.stop() == 0
        for pid in pids(server, 5):
            assert gone(pid)
    assert "Traceback" not in server.stderr()
    assert server.stderr().count("Serving on") == 1
    assert "[" in server.stdout()


def test_no_worker_outlives_its_supervisor(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", 0, "--workers", 2) as server:
        server.address()
        server.process.kill()
        for pid in pids(server, 2):
            wait_gone(pid)


@pytest.mark.parametrize(
    ("code", "line"),
    [("import nothing_of_that_name", "cannot import app"), ("raise SystemExit(7)", "status 7")],
)
def test_an_application_that_cannot_start_is_one_line(code: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(code + "\n")
    result = fastws("serve", "app:routes", "--port", 0, "--workers", 2, cwd=tmp_path)
    assert result.returncode == 3
    assert line in result.stderr and "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("count", ["0", "-1", "1000", "x"])
def test_a_wrong_number_is_wrong_usage(count: str) -> None:
    result = fastws("serve", f"--workers={count}")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "--workers" in result.stderr
    result = fastws("serve", WEB_CONCURRENCY=count)
    assert result.returncode == 2 and "WEB_CONCURRENCY" in result.stderr


def test_hup_does_a_single_process_no_harm(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", 0) as server:
        address = server.address()
        server.process.send_signal(signal.SIGHUP)
        assert get(address)[0] == 200
        assert server.stop() == 0
    assert "SIGHUP" in server.stderr()
