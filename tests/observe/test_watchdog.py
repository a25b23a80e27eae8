"""Signs of life, as systemd would take them from a real server."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.cli.helpers import PATIENCE, running
from tests.live.raw import TEXT, Peer, frame

pytestmark = [pytest.mark.live, pytest.mark.system]

APP = """
import time
import fastws

class Hangs(fastws.Handler):
    def on_message(self, ws, message):
        time.sleep(60)

routes = [fastws.Route("/ws", Hangs())]
"""
#: Microseconds without a sign of life after which systemd would end it.
WATCHDOG = 400_000


@pytest.mark.parametrize("workers", [1, 2])
def test_who_hangs_gives_no_sign_of_life(tmp_path: Path, workers: int) -> None:
    (tmp_path / "app.py").write_text(APP)
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(PATIENCE)
        options = ["--port", 0, "--workers", workers]
        env = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(WATCHDOG)}
        with running(tmp_path, "serve", "app:routes", *options, **env) as server:
            said = set()
            while said != {b"READY=1", b"WATCHDOG=1"}:
                said.add(systemd.recv(200))
            for _ in range(5):
                assert systemd.recv(200) == b"WATCHDOG=1"
            if workers == 1:
                hang(int(server.address().rpartition(":")[2]))
            else:
                os.kill(server.process.pid, signal.SIGSTOP)
            systemd.settimeout(WATCHDOG / 1e6)
            with pytest.raises(TimeoutError):
                while True:
                    systemd.recv(200)
            if workers == 2:
                os.kill(server.process.pid, signal.SIGCONT)
                systemd.settimeout(PATIENCE)
                assert systemd.recv(200) == b"WATCHDOG=1"
                assert server.stop() == 0


def hang(port: int) -> None:
    with Peer(port) as peer:
        peer.upgrade("/ws").send(frame(TEXT, b"stand still"))
