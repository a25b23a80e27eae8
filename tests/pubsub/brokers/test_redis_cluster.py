"""Nodes that share by a Redis Cluster, whose slots move and whose masters die."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from fastws import BrokerUnavailable, Hub
from fastws.pubsub.brokers.redis_broker import RedisBroker
from fastws.pubsub.brokers.redis_scripts import topic_channel
from fastws.testing import BrokerSite, broker_conformance
from fastws.testing.conformance import Case
from tests.kit import until
from tests.kit.nodes import heard, missed, nodes, of_topic
from tests.kit.ports import free_port
from tests.kit.redis import Redis, need_redis

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Redis]]:
    """Three masters, each with a third of the slots."""
    need_redis()
    folder: Path = tmp_path_factory.mktemp("cluster")
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    # Else the second port is 10,000 above the first, where Linux gives ports to clients.
    ports = [free_port() for _ in range(3)]
    servers = [
        Redis(folder / str(number), *options, "--cluster-port", str(port)).start()
        for number, port in enumerate(ports)
    ]
    for number, server in enumerate(servers):
        first, last = number * 5462, min(number * 5462 + 5461, 16383)
        server.cli("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
        server.cli("CLUSTER", "MEET", "127.0.0.1", str(servers[0].port), str(ports[0]))
    deadline = time.monotonic() + 30
    while not all("cluster_state:ok" in server.cli("CLUSTER", "INFO") for server in servers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield servers
    for server in servers:
        server.stop()


def url_of(cluster: list[Redis]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in cluster)


class ClusterSite(BrokerSite):
    can_lose = True

    def __init__(self, cluster: list[Redis]) -> None:
        super().__init__(lambda: RedisBroker(url_of(cluster)))
        self.cluster = cluster

    async def lose(self) -> None:
        for server in self.cluster:
            assert server.cli("FLUSHALL") == "OK"


@pytest.mark.parametrize("case", broker_conformance(), ids=str)
async def test_conforms(case: Case, cluster: list[Redis]) -> None:
    site = ClusterSite(cluster)
    if reason := case.why_not(site):
        pytest.skip(reason)
    await site.lose()
    await case(site)


async def test_a_node_of_a_cluster_is_no_server_of_its_own(cluster: list[Redis]) -> None:
    hub = Hub(broker=RedisBroker(cluster[0].url))
    with pytest.raises(BrokerUnavailable, match="a node of a cluster: name it redis.cluster://"):
        await hub.start()
    await hub.close()


async def test_a_server_without_a_cluster(tmp_path: Path) -> None:
    with Redis(tmp_path / "alone") as alone:
        hub = Hub(broker=RedisBroker(url_of([alone])))
        with pytest.raises(BrokerUnavailable, match="cluster support disabled"):
            await hub.start()
        await hub.close()


async def test_a_slot_moves(cluster: list[Redis]) -> None:
    """What is published meanwhile comes once, in order, in the same epoch."""
    name = "default/h"
    slot = key_slot(topic_channel(name).encode())
    ids = [server.cli("CLUSTER", "MYID") for server in cluster]
    source = slot // 5462
    target = (source + 1) % 3
    async with nodes(lambda: RedisBroker(url_of(cluster))) as (one, two):
        client, plain = await of_topic(two, "h"), await of_topic(two, "p")
        publishing = asyncio.create_task(publish(one))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(move, cluster, ids, slot, source, target)
        await publishing
        await until(lambda: len(heard(client)) >= 200)
        assert heard(client) == [str(number) for number in range(200)]
        assert len(client.syncs) == 1
        await until(lambda: len(heard(plain)) + missed(plain) >= 200)
        assert len(set(heard(plain))) == len(heard(plain))
        assert (await two.position("h")).offset == 200


async def publish(hub: Hub) -> None:
    for number in range(200):
        hub.publish("h", str(number))
        hub.publish("p", str(number))
        await asyncio.sleep(0.005)


def move(cluster: list[Redis], ids: list[str], slot: int, source: int, target: int) -> None:
    """As redis-cli does it, one key after the other."""
    there, here = cluster[target], cluster[source]
    assert there.cli("CLUSTER", "SETSLOT", str(slot), "IMPORTING", ids[source]) == "OK"
    assert here.cli("CLUSTER", "SETSLOT", str(slot), "MIGRATING", ids[target]) == "OK"
    for _ in range(20):
        keys = here.cli("CLUSTER", "GETKEYSINSLOT", str(slot), "100").split()
        for key in keys:
            here.cli("MIGRATE", "127.0.0.1", str(there.port), key, "0", "5000")
            time.sleep(0.02)
        if not keys:
            break
    for server in (there, here, *cluster):
        server.cli("CLUSTER", "SETSLOT", str(slot), "NODE", ids[target])
