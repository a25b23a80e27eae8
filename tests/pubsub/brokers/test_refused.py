"""A broker that lets nobody hear a topic: who listens is told, by real servers, and nobody waits for ever."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws.testing import pair
from fastws.testing.conformance import Heard
from tests.cli.helpers import running
from tests.kit import until
from tests.kit.nats import Nats, need_nats
from tests.kit.redis import Redis, need_redis

pytestmark = [pytest.mark.live, pytest.mark.system]

APP = """
import fastws

hub = fastws.Hub()
for name in ("h", "fine"):
    hub.topic(name, history=10)
hub.topic("k", mode="keyed")
feed = fastws.Feed(hub, may_subscribe=fastws.anyone)
routes = [fastws.Route("/feed", feed), fastws.Route("/sse", http=feed.sse)]
"""
REFUSED = ("h", "k", "p")
CONFIG = """
jetstream {{ store_dir: "{store}" }}
authorization {{ users = [ {{ user: me, password: secret, permissions: {{
  publish: ">", subscribe: {{ allow: [">"], deny: [{denied}] }}
}} }} ] }}
"""


@contextmanager
def redis(folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """A server whose user may hear three topics not; and what lets it."""
    need_redis()
    with Redis(folder / "server") as one:
        rules = ["~*", "+@all", "resetchannels", "&fastws:{default/fine}:*", "&fastws:{%00nodes/*}:*"]
        one.cli("ACL", "SETUSER", "me", "on", ">secret", *rules)
        url = one.url.replace("//", "//me:secret@")
        yield url, lambda: one.cli("ACL", "SETUSER", "me", "allchannels")


@contextmanager
def nats(folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    need_nats()
    subjects = ["fastws.lh.default/h", "fastws.lk.default/k.>", "fastws.p.default/p"]
    config = folder / "config"

    def write(*denied: str) -> None:
        text = CONFIG.format(store=folder / "store", denied=", ".join(f'"{each}"' for each in denied))
        config.write_text(text)

    write(*subjects)
    with Nats(folder / "server", "-c", str(config), streams=False) as one:

        def allow() -> None:
            write("other")
            one.stop()
            one.start()

        yield f"nats://me:secret@127.0.0.1:{one.port}", allow


SERVERS = pytest.mark.parametrize("server", [redis, nats], ids=["redis", "nats"])


@SERVERS
async def test_who_listens_in_one_process(
    tmp_path: Path, server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with server(tmp_path) as (url, allow):
        hub = fastws.Hub(broker=url)
        for name in ("h", "fine"):
            hub.topic(name, history=10)
        hub.topic("k", mode="keyed")
        plain = Heard(hub, *REFUSED, "fine")
        feed = fastws.Feed(hub, may_subscribe=fastws.anyone)
        async with hub, pair(plain) as reader, pair(feed) as ws:
            for name in ("h", "k"):
                await ws.send(json.dumps({"sub": name, "id": name}))
            errors: list[Any] = []
            while len(errors) < 2:
                said = json.loads(await ws.recv())
                errors += [said] if "error" in said else []
            assert sorted(each["id"] for each in errors) == ["h", "k"]
            for each in errors:
                assert each["t"] == each["id"] and each["error"]["code"] == "unavailable"
                assert each["error"]["retry_ms"] == 1000
            await until(lambda: {topic for topic, *_ in plain.gaps} == set(REFUSED))
            assert {missed for _, missed, _ in plain.gaps} == {None}
            async with hub.follow("h", "k") as events:
                ended = [each async for each in events if isinstance(each, fastws.Ended)]
            assert sorted(each.topic for each in ended) == ["h", "k"]
            assert {each.reason for each in ended} == {"unavailable"}
            await hub.publish_confirmed("fine", "1")
            for name in REFUSED:
                lines = [each for each in caplog.messages if f"default/{name}" in each]
                assert len(lines) == 1, caplog.text
            allow()  # those who have stayed go on
            hub.publish("h", "later")
            while await reader.recv() != "later":
                pass


@SERVERS
def test_who_listens_at_workers(tmp_path: Path, server: Any) -> None:
    (tmp_path / "app.py").write_text(APP)
    with server(tmp_path) as (url, _):
        options = ["--port", 0, "--workers", 2, "--broker", url, "--no-access-log"]
        with running(tmp_path, "serve", "app:routes", *options) as node:
            address = node.address()
            for name in ("h", "k"):
                said = _said(f"{address}/sse?topic={name}&topic=fine", name, "error", "fine", "sync")
                assert [each["error"]["code"] for each in said if "error" in each] == ["unavailable"]
            said = _said(f"{address}/sse?topic=p", "p", "gap")
            assert [each["gap"]["missed"] for each in said if "gap" in each] == [None]
            assert node.stop() == 0
            assert "Traceback" not in node.stderr()


def _said(url: str, *wanted: str) -> list[Any]:
    """Return what a stream says until it has said all of that: topic and verb, topic and verb ..."""
    missing = set(zip(wanted[::2], wanted[1::2], strict=True))
    found = []
    with urllib.request.urlopen(url, timeout=30) as answer:
        while missing:
            line = answer.readline()
            assert line, found
            if line.startswith(b"data:"):
                found.append(json.loads(line[5:]))
                missing -= {(found[-1].get("t"), verb) for verb in found[-1]}
    return found
