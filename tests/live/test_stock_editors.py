"""Stock clients of Yjs at ``fastws serve``: late, offline, and while the server or a worker is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.helpers import Child, running
from tests.kit.stock_editors import StockEditors, eventually, require_editor

pytestmark = [pytest.mark.live, pytest.mark.foreign]

WORDS = "all that is typed here is here at the end, whoever is killed in the middle of it. " * 2


@pytest.fixture(autouse=True)
def editor_is_there() -> None:
    require_editor()


@pytest.fixture
def editors() -> Iterator[StockEditors]:
    with StockEditors() as editors:
        yield editors


def place(child: Child) -> str:
    return child.address().replace("http", "ws", 1) + "/editor"


def test_one_comes_late_and_one_was_offline(tmp_path: Path, editors: StockEditors) -> None:
    with running(tmp_path, "serve", "--port", 0) as server:
        url = place(server)
        editors.open("ann", url, "plan")
        editors("insert", "ann", 0, "first ")
        editors.open("late", url, "plan")
        assert editors.agree("ann", "late") == "first "
        editors("offline", "late")
        editors("insert", "late", -1, "offline ")
        editors("insert", "ann", 0, "meanwhile ")
        time.sleep(0.2)
        editors("online", "late")
        editors.synced("late")
        assert editors.agree("ann", "late") == "meanwhile first offline "
        editors("say", "ann", {"user": {"name": "Ann"}})
        eventually(lambda: {"user": {"name": "Ann"}} in editors("look", "late")["states"])
        editors("offline", "ann")
        eventually(lambda: editors("look", "late")["states"] == [{}])


def test_the_server_is_killed_while_somebody_types(
    tmp_path: Path, editors: StockEditors, unused_tcp_port: int
) -> None:
    kept = {"FASTWS_DOCUMENTS": str(tmp_path / "documents")}
    arguments = ("serve", "--port", unused_tcp_port)
    with running(tmp_path, *arguments, **kept) as server:
        url = place(server)
        editors.open("ann", url, "plan")
        editors("type", "ann", WORDS, 5)
        eventually(lambda: len(editors.text("ann")) > 60)
        server.stop(signal.SIGKILL)
    with running(tmp_path, *arguments, **kept) as server:
        place(server)
        editors.open("bob", url, "plan")
        eventually(lambda: editors.text("bob") == WORDS, lambda: editors.text("bob"))
        assert editors.agree("ann", "bob") == WORDS
        assert editors("look", "ann")["opened"] == 2


def test_what_others_have_seen_is_kept_when_all_are_killed(
    tmp_path: Path, editors: StockEditors, unused_tcp_port: int
) -> None:
    """What a killed process had written is in the files; only what came in the last moments is not."""
    kept = {"FASTWS_DOCUMENTS": str(tmp_path / "documents")}
    arguments = ("serve", "--port", unused_tcp_port)
    with running(tmp_path, *arguments, **kept) as server:
        url = place(server)
        editors.open("ann", url, "plan")
        editors.open("bob", url, "plan")
        editors("type", "ann", WORDS, 5)
        eventually(lambda: len(editors.text("bob")) > 60)
        seen = editors.text("bob")
        time.sleep(0.2)
        editors.kill()
        server.stop(signal.SIGKILL)
    with running(tmp_path, *arguments, **kept) as server, StockEditors() as others:
        others.open("cid", place(server), "plan")
        text = others.text("cid")
        assert WORDS.startswith(text)
        assert text.startswith(seen)


def test_a_worker_is_killed_while_somebody_types(tmp_path: Path, editors: StockEditors) -> None:
    kept = {"FASTWS_DOCUMENTS": str(tmp_path / "documents")}
    with running(tmp_path, "serve", "--port", 0, "--workers", 2, **kept) as server:
        url = place(server)
        names = ["ann", "bob", "cid", "dan"]  # by chance not all at one worker
        for name in names:
            editors.open(name, url, "plan")
        for name in names:
            editors("type", name, name * 20, 10)
        eventually(lambda: len(editors.text("ann")) > 100)
        os.kill(_worker_of(server), signal.SIGKILL)
        eventually(
            lambda: all(sorted(editors.text(name)) == sorted("".join(names) * 20) for name in names),
            lambda: {name: editors.text(name) for name in names},
        )
        assert len(editors.agree(*names)) == 240
        assert server.stop() == 0


def _worker_of(server: Child) -> int:
    """The process that has an open document's lock."""
    locks = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    (log,) = (Path(server.err.parent) / "documents").glob("plan.log")
    inode = log.stat().st_ino
    (holder,) = [line.split()[4] for line in locks if line.split()[5].endswith(f":{inode}")]
    return int(holder)
