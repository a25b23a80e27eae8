"""A server ends while plain messages wait for its broker: the log says so."""

from __future__ import annotations

from pathlib import Path

import pytest

import fastws
from tests.cli.helpers import get, running
from tests.kit import until
from tests.kit.nats import Nats, need_nats
from tests.kit.ports import free_port
from tests.kit.programs import Program
from tests.kit.redis import Redis, need_redis

pytestmark = [pytest.mark.live, pytest.mark.system]

APP = """
import fastws

hub = fastws.Hub()
feed = fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=lambda client, publication: True)
routes = [fastws.Route("/feed", feed)]
"""


def server(kind: str, folder: Path) -> Program:
    if kind == "redis":
        need_redis()
        return Redis(folder)
    need_nats()
    return Nats(folder)


def is_ready(port: int) -> bool:
    return get(f"http://127.0.0.1:{port}", "/readyz")[0] == 200


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ["redis", "nats"])
async def test_what_waits_for_a_broker_that_is_away(tmp_path: Path, kind: str, workers: int) -> None:
    (tmp_path / "app.py").write_text(APP)
    with server(kind, tmp_path / kind) as broker:
        metrics = free_port()
        options = [
            "--port",
            0,
            "--workers",
            workers,
            "--broker",
            broker.url,
            "--no-access-log",
            "--require-broker",
            "--metrics",
            f"127.0.0.1:{metrics}",
        ]
        with running(tmp_path, "serve", "app:routes", *options) as node:
            url = node.address().replace("http", "ws") + "/feed"
            async with fastws.follow(url, "x") as feed:
                await until(lambda: is_ready(metrics))
                broker.stop()
                await until(lambda: "is away" in node.stderr())
                for number in range(20):
                    await feed.publish("p", number)
            assert node.stop() == 0
            lines = [line for line in node.stderr().splitlines() if "bytes were not taken at the end" in line]
            assert len(lines) == 1, node.stderr()
            assert "Traceback" not in node.stderr()
