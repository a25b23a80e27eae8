"""A program that publishes while workers are killed and replaced: each message once, and in its order."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

import fastws
from tests.cli.helpers import running
from tests.publish.served import ALL
from tests.workers.processes import pids

pytestmark = [pytest.mark.live, pytest.mark.system]

APP = """
import fastws

hub = fastws.Hub()
hub.topic("rooms/*", history=100_000, history_bytes=2**26)
feed = fastws.Feed(hub, may_subscribe=fastws.anyone)
routes = [fastws.Route("/feed", feed)]
"""


async def heard(url: str, count: int) -> list[str]:
    """What the topic keeps."""
    async with fastws.follow(f"{url}/feed", "rooms/a", recent=count, buffer=count + 10) as follower:
        texts: list[str] = []
        async for event in follower:
            if isinstance(event, fastws.Message):
                texts.append(event.message)
            elif isinstance(event, fastws.Live):
                return texts
    raise AssertionError("it ended")


@pytest.mark.slow
async def test_each_message_comes_once_whatever_becomes_of_the_workers(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{ALL} **\n")
    tokens.chmod(0o600)
    args = ("--workers", 2, "--timeout-drain", 0, "--publish", 0, "--publish-token-file", tokens)
    with running(tmp_path, "serve", "app:routes", "--port", 0, *args) as child:
        url = child.line("Publishing at http").split()[2]
        published = 0
        stop = threading.Event()
        failures: list[BaseException] = []

        def publish() -> None:
            nonlocal published
            try:
                with fastws.Publisher(url, token=ALL, timeout=20) as publisher:
                    while not stop.is_set():
                        publisher.publish_many(
                            {"topic": "rooms/a", "message": str(n), "once": str(n)}
                            for n in range(published, published + 10)
                        )
                        published += 10
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            first = pids(child, 2)
            os.kill(first[0], signal.SIGKILL)
            second = pids(child, 3)
            os.kill(child.process.pid, signal.SIGHUP)
            pids(child, 5)
            os.kill(second[-1], signal.SIGKILL)
        finally:
            stop.set()
            thread.join(30)
        assert not failures, failures
        found = await heard(child.address().replace("http", "ws"), published + 10)
        assert found == [str(n) for n in range(published)] and published > 100
        assert child.stop() == 0
