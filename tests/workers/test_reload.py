"""``fastws serve --reload``: the application is started again when one of its files changes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.cli.helpers import Child, fastws, get, running
from tests.workers.helpers import opened, said, until
from tests.workers.processes import gone, pids, wait_gone

pytest.importorskip("watchfiles")

#: Each wait has its end; many of them may come to more than a test has by default.
pytestmark = [pytest.mark.live, pytest.mark.system, pytest.mark.timeout(180)]

APP = """
import fastws
from helper import answer

async def echo(ws):
    async for message in ws:
        await ws.send(message)

routes = [
    fastws.Route("/", http=lambda request: fastws.Response(200, answer)),
    fastws.Route("/echo", echo),
]
"""


def write(folder: Path, answer: str) -> None:
    (folder / "helper.py").write_text(f"answer = {answer!r}\n")


def save(folder: Path, answer: str) -> None:
    """As many editors do: a new file that takes the name of the old one."""
    (folder / ".helper.py.swp").write_text(f"answer = {answer!r}\n")
    os.replace(folder / ".helper.py.swp", folder / "helper.py")


def answers(server: Child, answer: str) -> bool:
    return all(get(server.address(), "/")[2] == answer.encode() for _ in range(10))


def has_reloaded(server: Child, times: int = 0) -> bool:
    """Whether at least so many reloads have begun, and the last of them has come to its end."""
    text = server.stderr()
    ended = max(text.rfind("reload: done"), text.rfind("that serve stay"))
    return text.count("are replaced") >= times and text.rfind("are replaced") < ended


@pytest.mark.parametrize("workers", [1, 2])
def test_a_change_starts_the_application_again(tmp_path: Path, workers: int) -> None:
    (tmp_path / "app.py").write_text(APP)
    write(tmp_path, "one")
    args = ["app:routes", "--port", 0, "--reload", "--workers", workers]
    with running(tmp_path, "serve", *args, PYTHONDONTWRITEBYTECODE="1") as server:
        address = server.address()
        first = pids(server, workers)
        assert answers(server, "one")

        # Open sockets are told, and nobody waits for them.
        with opened(address) as client:
            write(tmp_path, "two")
            frame = client.recv(100)
            assert frame[:1] == b"\x88" and frame[2:4] == (1012).to_bytes(2, "big")
        for pid in first:
            wait_gone(pid)
        until(lambda: answers(server, "two"))

        # What does not start keeps the old one; what is mended is served.
        (tmp_path / "helper.py").write_text("def (:\n")
        until(said(server, f"so the {workers} that serve stay"))
        assert answers(server, "two")
        write(tmp_path, "three")
        until(lambda: answers(server, "three"))

        # An editor saves by a rename; a new module and one that is gone are changes too.
        save(tmp_path, "four")
        until(lambda: answers(server, "four"))
        until(lambda: has_reloaded(server))  # a worker answers before its supervisor knows of it
        reloads = server.stderr().count("are replaced")
        (tmp_path / "new.py").touch()
        until(lambda: has_reloaded(server, reloads + 1))
        (tmp_path / "new.py").unlink()
        until(lambda: has_reloaded(server, reloads + 2))

        # Other files are none, and neither is what Python writes itself.
        reloads = server.stderr().count("are replaced")
        for name in ("notes.txt", "app.py~", "app.log", "app.pyc"):
            (tmp_path / name).write_text("x")
        time.sleep(2.5)  # changes are put together for 1.6 s
        assert server.stderr().count("are replaced") == reloads
        now = pids(server, workers)
        assert server.stop() == 0
        assert all(gone(pid) for pid in now)
    assert "Traceback" not in server.stderr()


def test_a_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    result = fastws("serve", "app:routes", "--port", 0, "--reload", "--app-dir", "nowhere", cwd=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (3, 1)
    assert "--app-dir nowhere: no such directory" in result.stderr
