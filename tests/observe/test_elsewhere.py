"""Metrics of topics in a program that another server serves."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.helpers import environment, get
from tests.docs.pages import ROOT, blocks_of
from tests.observe.scrapes import Scrape, check_with_promtool

pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")
websockets = pytest.importorskip("websockets")
pytestmark = [pytest.mark.live, pytest.mark.system, pytest.mark.foreign]


def test_the_program_of_the_page_under_uvicorn(tmp_path: Path, unused_tcp_port: int) -> None:
    (block,) = [each for each in blocks_of(ROOT / "docs" / "metrics.md") if "FastAPI" in each.code]
    (tmp_path / "program.py").write_text(block.code)
    address = f"http://127.0.0.1:{unused_tcp_port}"
    command = [sys.executable, "-m", "uvicorn", "--ws", "fastws.uvicorn:FastWSProtocol", "program:app"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--port", str(unused_tcp_port)],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            env=environment(),
        )
    try:
        while server.poll() is None and not answers(unused_tcp_port):
            time.sleep(0.02)
        from websockets.sync.client import connect

        with connect(f"ws://127.0.0.1:{unused_tcp_port}/room") as one:
            one.send("hello")
            assert one.recv() == "hello"
            status, headers, body = get(address, "/metrics")
        assert status == 200 and headers["content-type"].startswith("text/plain; version=")
        scrape = Scrape(body.decode())
        assert scrape.sum("fastws_topic_messages_total", topics="room") == 1
        assert scrape.sum("fastws_delivery_seconds_count") >= 1
        check_with_promtool(scrape.text)
    finally:
        server.terminate()
        server.wait(20)
    assert "Traceback" not in (tmp_path / "log").read_text()


def answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
