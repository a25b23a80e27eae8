"""What waits for a broker that is away: 8 MiB, then the oldest goes; and what ``publish`` costs."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastws.pubsub.brokers.outbox import MAX_WAITING_BYTES
from fastws.pubsub.brokers.urls import broker_at
from tests.cli.helpers import environment
from tests.kit import until
from tests.kit.nats import Nats, need_nats
from tests.kit.nodes import heard, missed, nodes, of_topic
from tests.kit.programs import need
from tests.kit.redis import Redis, need_redis

SERVERS: dict[str, tuple[Callable[[], None], Any]] = {
    "redis": (need_redis, Redis),
    "nats": (need_nats, Nats),
}
#: 50 µs, of a core that does two instructions in a nanosecond.
MOST_INSTRUCTIONS = 100_000


@pytest.mark.measures
def test_what_is_dropped_takes_no_memory() -> None:
    pytest.importorskip("redis")
    from fastws.pubsub.brokers.redis_broker import RedisBroker

    broker = RedisBroker("redis://127.0.0.1:1")
    tracemalloc.start()
    try:
        for _ in range(6000):
            broker.publish("default/t", bytes(32_000))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3 * MAX_WAITING_BYTES  # 183 MiB were published


@pytest.mark.system
@pytest.mark.parametrize("name", SERVERS)
async def test_the_oldest_of_too_much_is_told(name: str, tmp_path: Path) -> None:
    need_it, make = SERVERS[name]
    need_it()
    count, size = 1000, 20_000
    with make(tmp_path / "server") as server:
        async with nodes(lambda: broker_at(server.url)) as (one, two):
            here, there = await of_topic(one, "t"), await of_topic(two, "t")
            one.publish("t", "first")
            await until(lambda: heard(there) == ["first"])
            await asyncio.to_thread(server.stop)
            for number in range(count):
                one.publish("t", f"{number:0{size}}")
                if number % 5 == 0:
                    await asyncio.sleep(0)
            await until(lambda: len(heard(here)) == count + 1)  # at once, and all of it
            await asyncio.to_thread(server.start)
            await until(lambda: len(heard(there)) + missed(there) == count + 1, timeout=20)
            numbers = [int(text[-6:]) for text in heard(there)[1:]]
            assert numbers == list(range(count - len(numbers), count))
            assert MAX_WAITING_BYTES / 2 < len(numbers) * size <= MAX_WAITING_BYTES
            assert {reason for _, _, reason in there.gaps} == {"broker"}


PROGRAM = """
import asyncio, os
from fastws import Hub
from fastws.testing import BrokerServer

CALLS = 100

async def main():
    server = BrokerServer()
    hub = Hub(broker=server.broker())
    hub.topic("history", history=100)
    async with hub:
        for is_away in (False, True):
            if is_away:
                server.stop()
            for topic in ("plain", "history"):
                for is_counted in (False, True):
                    if is_counted:
                        os.getppid()
                    for _ in range(CALLS):
                        hub.publish(topic, "t" * 64)
                    if is_counted:
                        os.getppid()
                    await asyncio.sleep(0.05)
        server.start()

asyncio.run(main())
"""


@pytest.mark.system
@pytest.mark.timeout(300)
def test_a_publish_never_waits(tmp_path: Path) -> None:
    """Counted in instructions, for both kinds of topics, while the broker is there and while it is away."""
    need("valgrind", "TESTS_REQUIRE_VALGRIND")
    assert shutil.which("valgrind") is not None
    (tmp_path / "program.py").write_text(PROGRAM)
    out = tmp_path / "out"
    tool = ["valgrind", "--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={out}"]
    done = subprocess.run(
        [*tool, sys.executable, "program.py"],
        cwd=tmp_path,
        env=environment(PYTHONHASHSEED="0"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    counts = [instructions(tmp_path / f"out.{2 * part}") // 100 for part in range(1, 5)]
    print("instructions of a publish, plain and history, there and away:", counts)
    assert max(counts) <= MOST_INSTRUCTIONS


def instructions(part: Path) -> int:
    found = re.search(r"^totals: (\d+)", part.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])
