"""Three NATS servers that keep the streams together."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fastws.errors import BrokerUnavailable
from tests.kit.nats import Nats, need_nats
from tests.kit.ports import free_port

pytest.importorskip("nats")

from fastws.pubsub.brokers.base import Item, Verdict
from tests.pubsub.brokers.nats_nodes import Node, history, keyed, nodes, put, run

pytestmark = [pytest.mark.live, pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[Nats]]:
    need_nats()
    ports = [free_port() for _ in range(3)]
    routes = ",".join(f"nats://127.0.0.1:{port}" for port in ports)
    with ExitStack() as stack:
        found = []
        for number, port in enumerate(ports):
            options = ["--cluster_name", "c", "--cluster", f"nats://127.0.0.1:{port}", "--routes", routes]
            server = Nats(tmp_path / f"n{number}", "-n", f"n{number}", *options)
            found.append(stack.enter_context(server))
        yield found


async def begin(node: Node) -> None:
    """Have both streams, as soon as the servers have agreed who leads."""
    for _ in range(200):
        try:
            await node.broker.read(history(), None)
            await node.broker.read(keyed(), None)
        except BrokerUnavailable:
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("the servers find no leader")


async def test_no_offset_is_given_twice_and_a_leader_s_end_costs_nothing(cluster: list[Nats]) -> None:
    url = ",".join(server.url for server in cluster) + "?replicas=3"
    topic = history(history=10_000)
    async with nodes(url, 2) as (a, b):
        await begin(a)
        await b.broker.watch(topic)
        answers, changes = [], []
        for number in range(1, 301):
            answers.append(a.broker.append(topic, run(number, b"a%d" % number, sender="a")))
            answers.append(b.broker.append(topic, run(number, b"b%d" % number, sender="b")))
            changes.append(a.broker.append(keyed(), put(number, Item(b"%d" % number, "k"), sender="a")))
            await asyncio.sleep(0.005)
            if number == 150:
                line = a.broker._line
                assert line is not None
                leader = (await line.request("STREAM.INFO.fastws-history"))["cluster"]["leader"]
                cluster[int(leader[1:])].stop(signal.SIGKILL)
        found = await asyncio.gather(*answers)
        assert {each.verdict for each in found} == {Verdict.DONE}
        assert {each.at.offset for each in found} == set(range(1, 601))
        assert len({each.at.epoch for each in found}) == 1
        kept = await b.broker.read(topic, None)
        assert [entry.offset for entry in kept.entries] == list(range(1, 601))
        for name in (b"a", b"b"):
            mine = [entry.item.body for entry in kept.entries if entry.item.body.startswith(name)]
            assert mine == [name + b"%d" % number for number in range(1, 301)]
        await asyncio.gather(*changes)
        values = (await b.broker.read(keyed(), None)).entries
        assert [(entry.item.key, entry.item.body) for entry in values] == [("k", b"300")]
        assert b.offsets == sorted(set(b.offsets))
