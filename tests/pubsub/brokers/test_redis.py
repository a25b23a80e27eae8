"""What a real Redis does to nodes: it refuses, is full, forgets, is cut off, is promoted."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastws import BrokerUnavailable, Hub
from fastws.pubsub.brokers.redis_broker import RedisBroker
from tests.kit import until
from tests.kit.nodes import heard, missed, nodes, of_topic, rejoined
from tests.kit.ports import free_port
from tests.kit.redis import Redis, need_redis, refusal


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    need_redis()
    with Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """One that no test stops."""
    need_redis()
    with Redis(tmp_path_factory.mktemp("shared")) as server:
        yield server


# -- that cannot be -----------------------------------------------------------------------------


async def test_nobody_is_there() -> None:
    port = free_port()
    assert f"redis://127.0.0.1:{port}: Error 111" in await refusal(f"redis://127.0.0.1:{port}")


async def test_a_host_without_an_address() -> None:
    assert "redis://nobody.invalid" in await refusal("redis://nobody.invalid")


async def test_passwords(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    redis.cli("CONFIG", "SET", "requirepass", "s3cret")
    assert "it asks for a password" in await refusal(redis.url)
    text = await refusal(redis.url.replace("//", "//:wr0ng@"))
    assert "wrong user or password" in text
    assert "redis://***@127.0.0.1" in text
    hub = Hub(broker=RedisBroker(redis.url.replace("//", "//default:s3cret@")))
    await hub.start()
    redis.stop()
    await until(lambda: "is away" in caplog.text)
    await hub.close()
    assert "s3cret" not in caplog.text and "wr0ng" not in caplog.text + text


@pytest.mark.system
async def test_a_user_who_may_do_too_little(redis: Redis) -> None:
    redis.cli("ACL", "SETUSER", "small", "on", ">pw", "~*", "&*", "+@connection", "+info")
    text = await refusal(redis.url.replace("//", "//small:pw@"))
    assert "this user may not do that" in text


# -- while it runs ------------------------------------------------------------------------------


@pytest.mark.system
async def test_it_is_full(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    async with nodes(lambda: RedisBroker(redis.url)) as (one, two):
        client = await of_topic(one, "h")
        await one.publish_confirmed("h", "1")
        redis.cli("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(BrokerUnavailable, match="it is full"):
            await one.publish_confirmed("h", "2")
        one.publish("h", "3")
        await until(lambda: client.gaps == [("h", 1, "broker")])
        await until(lambda: "1 messages were not published" in caplog.text)
        redis.cli("CONFIG", "SET", "maxmemory", "0")
        await two.publish_confirmed("h", "4")
        await until(lambda: heard(client) == ["1", "4"])


async def test_databases_do_not_meet(shared: Redis) -> None:
    """Redis has the same channels for all of them."""
    urls = [f"{shared.url}/{number}" for number in (3, 4)]
    async with nodes(lambda: RedisBroker(urls[0])) as first, nodes(lambda: RedisBroker(urls[1])) as second:
        clients = [[await of_topic(hubs[1], name) for name in ("t", "h")] for hubs in (first, second)]
        for number, hubs in enumerate((first, second)):
            hubs[0].publish("t", f"plain {number}")
            await hubs[0].publish_confirmed("h", f"kept {number}")
        for hubs in (first, second):  # behind what would have come from the other one
            hubs[0].publish("t", "end")
            await hubs[0].publish_confirmed("h", "end")
        for number, (plain, kept) in enumerate(clients):
            await until(lambda kept=kept, plain=plain: heard(kept)[-1:] == heard(plain)[-1:] == ["end"])
            assert heard(plain) == [f"plain {number}", "end"] and heard(kept) == [f"kept {number}", "end"]


@pytest.mark.system
async def test_data_that_was_deleted(shared: Redis) -> None:
    """Positions begin anew, under another epoch, and whoever returns is told."""
    async with nodes(lambda: RedisBroker(shared.url)) as (one, two):
        client = await of_topic(two, "h")
        old = (await one.publish_confirmed("h", "1")).at
        for key in shared.cli("--scan", "--pattern", "fastws:*}:h").splitlines():
            shared.cli("DEL", key)
        new = (await one.publish_confirmed("h", "2")).at
        assert new.epoch != old.epoch and new.offset == 1
        await until(lambda: heard(client) == ["1", "2"])
        assert client.syncs[-1].reason == "epoch"


@pytest.mark.system
async def test_keys_that_were_evicted(shared: Redis) -> None:
    async with nodes(lambda: RedisBroker(shared.url)) as (one, two):
        old = (await one.publish_confirmed("k", "1", key="a")).at
        for key in shared.cli("--scan", "--pattern", "fastws:*}:k").splitlines():
            shared.cli("DEL", key)
        new = (await two.publish_confirmed("k", "2", key="b")).at
        assert new.epoch != old.epoch
        assert await two.snapshot("k") == {"b": "2"}


async def test_a_node_that_hears_nothing_stays_connected(
    shared: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    broker = RedisBroker(shared.url)
    hub = Hub(broker=broker)
    async with hub:
        for _ in range(3):
            assert broker._connected is not None
            broker._connected.ping()
            await asyncio.sleep(0.05)
        hub.publish("t", "1")
        await asyncio.sleep(0.05)
    assert "is away" not in caplog.text


async def test_scripts_that_it_forgot(shared: Redis) -> None:
    async with nodes(lambda: RedisBroker(shared.url)) as (one, two):
        client = await of_topic(two, "h")
        for number in range(10):
            one.publish("h", str(number))
            if number == 5:
                shared.cli("SCRIPT", "FLUSH")
            await asyncio.sleep(0)
        await until(lambda: len(heard(client)) == 10)
        assert heard(client) == [str(number) for number in range(10)]


@pytest.mark.system
async def test_connections_that_are_cut(shared: Redis) -> None:
    async with nodes(lambda: RedisBroker(shared.url)) as (one, two):
        client, plain = await of_topic(two, "h"), await of_topic(two, "t")
        for number in range(60):
            one.publish("h", str(number))
            one.publish("t", str(number))
            if number % 20 == 10:
                shared.cli("CLIENT", "KILL", "TYPE", "pubsub" if number == 10 else "normal")
            await asyncio.sleep(0.005)
        await until(lambda: len(heard(client)) == 60)
        assert heard(client) == [str(number) for number in range(60)]
        await rejoined(one)
        one.publish("t", "end")
        await until(lambda: "end" in heard(plain))
        assert len(heard(plain)) + missed(plain) == 61
        assert len(set(heard(plain))) == len(heard(plain))
        assert all(reason == "broker" for _, _, reason in plain.gaps)


@pytest.mark.system
async def test_what_waits_is_sent_when_the_other_nodes_hear_again(redis: Redis) -> None:
    brokers: list[Any] = []

    def make() -> RedisBroker:
        brokers.append(RedisBroker(redis.url))
        return brokers[-1]

    async with nodes(make) as (one, two):
        plain = await of_topic(two, "t")
        one.publish("t", "0")
        await until(lambda: heard(plain) == ["0"])
        use = brokers[1]._use

        async def late(connected: Any) -> None:
            await until(lambda: brokers[0]._connected is not None)
            await asyncio.sleep(0.1)
            await use(connected)

        brokers[1]._use = late
        redis.stop()
        await until(lambda: brokers[0]._connected is None)
        one.publish("t", "1")
        redis.start()
        await rejoined(one)
        one.publish("t", "2")
        await until(lambda: heard(plain) == ["0", "1", "2"])
        assert not plain.gaps


@pytest.mark.system
async def test_it_stands_still(redis: Redis) -> None:
    async with nodes(lambda: RedisBroker(redis.url)) as (one, two):
        client, here, plain = await of_topic(two, "h"), await of_topic(one, "t"), await of_topic(two, "t")
        redis.kick(signal.SIGSTOP)
        for number in range(50):
            one.publish("h", str(number))
            one.publish("t", str(number))
            await asyncio.sleep(0)
        await until(lambda: len(heard(here)) == 50)
        redis.kick(signal.SIGCONT)
        await until(lambda: len(heard(client)) == len(heard(plain)) == 50)
        assert heard(client) == heard(plain) == [str(number) for number in range(50)]
        assert not plain.gaps


@pytest.mark.system
async def test_a_restart_without_a_log_of_what_was_written(redis: Redis) -> None:
    """Without AOF it may have lost what it had confirmed: a new epoch."""
    redis.stop()
    redis.options = ("--appendonly", "no", "--save", "3600 1")
    redis.start()
    async with nodes(lambda: RedisBroker(redis.url)) as (one, two):
        client = await of_topic(two, "h")
        old = (await one.publish_confirmed("h", "1")).at
        redis.stop()
        redis.start()
        await rejoined(one)
        await until(lambda: heard(client)[-1:] == ["back"])
        assert client.syncs[-1].reason == "epoch"
        assert (await two.position("h")).epoch != old.epoch


@pytest.mark.system
async def test_a_log_that_has_lost_its_end(redis: Redis) -> None:
    """No position is given a second time in an epoch, though what waits is more than what was lost."""
    redis.stop()
    redis.options = ("--appendfsync", "always")
    redis.start()
    log, copy = redis.folder / "appendonlydir", redis.folder / "copy"
    async with nodes(lambda: RedisBroker(redis.url)) as (one, two):
        clients = [await of_topic(each, "h") for each in (one, two)]
        await one.publish_confirmed("h", "0")
        shutil.copytree(log, copy)
        for number in range(1, 6):
            old = (await one.publish_confirmed("h", str(number))).at
        redis.stop(signal.SIGKILL)
        shutil.rmtree(log)
        copy.rename(log)
        for number in range(6, 26):
            one.publish("h", str(number))
        redis.start()
        await rejoined(one)
        for client in clients:
            await until(lambda client=client: heard(client)[-1:] == ["back"])
            assert heard(client)[:-1] == [str(number) for number in range(26)]
            assert [synced.reason for synced in client.syncs] == [None, "epoch"]
        assert (await two.position("h")).epoch != old.epoch


class Name:
    """An address that leads to one server, then to another."""

    def __init__(self, port: int) -> None:
        self.target = port
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> int:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, here = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        self._writers += [writer, here]
        await asyncio.gather(self._pass_on(reader, here), self._pass_on(there, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    def lead_to(self, port: int) -> None:
        self.target = port
        for writer in self._writers:
            writer.close()

    def close(self) -> None:
        self.lead_to(0)
        self._server.close()


@pytest.mark.system
async def test_a_replica_that_takes_over(tmp_path_factory: pytest.TempPathFactory, redis: Redis) -> None:
    """It may lack what its master had confirmed last, so a new epoch begins, though here it has all."""
    name = Name(redis.port)
    url = f"redis://127.0.0.1:{await name.open()}"
    with Redis(tmp_path_factory.mktemp("replica"), "--replicaof", f"127.0.0.1 {redis.port}") as replica:
        assert "it is a replica" in await refusal(replica.url)
        async with nodes(lambda: RedisBroker(url)) as (one, two):
            client = await of_topic(two, "h")
            old = (await one.publish_confirmed("h", "1")).at
            await until(lambda: replica.cli("--scan", "--pattern", "fastws:*}:s"))
            redis.stop(signal.SIGKILL)
            name.lead_to(replica.port)
            await asyncio.sleep(0.3)  # while it is a replica nobody writes to it
            replica.cli("REPLICAOF", "NO", "ONE")
            await rejoined(one)
            await until(lambda: heard(client)[-1:] == ["back"])
            assert client.syncs[-1].reason == "epoch"
            assert (await two.position("h")).epoch != old.epoch
    name.close()


@pytest.mark.system
async def test_sentinels_name_the_next_master(tmp_path_factory: pytest.TempPathFactory, redis: Redis) -> None:
    """kill -9 of the master: nodes are at the promoted replica by themselves."""
    replica = Redis(tmp_path_factory.mktemp("replica"), "--replicaof", f"127.0.0.1 {redis.port}")
    folder = tmp_path_factory.mktemp("sentinel")
    (folder / "sentinel.conf").write_text(
        f"sentinel monitor main 127.0.0.1 {redis.port} 1\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
    )
    sentinel = Redis(folder, config=folder / "sentinel.conf")
    with replica, sentinel:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/main"
        await until(
            lambda: "slave0" in sentinel.cli("INFO") or "slaves=1" in sentinel.cli("INFO"), timeout=15
        )
        async with nodes(lambda: RedisBroker(url)) as (one, two):
            client = await of_topic(two, "h")
            await one.publish_confirmed("h", "1")
            redis.stop(signal.SIGKILL)
            for _ in range(200):
                with contextlib.suppress(BrokerUnavailable, TimeoutError):
                    await one.publish_confirmed("h", "2", timeout=0.5)
                    break
                await asyncio.sleep(0.1)
            await until(lambda: heard(client)[-1:] == ["2"])
            assert client.syncs[-1].reason == "epoch"
    assert "No master found for 'main'" in await refusal(url, 3.0)


@pytest.mark.system
async def test_what_sentinels_say_where_they_name_none(tmp_path: Path, redis: Redis) -> None:
    (tmp_path / "sentinel.conf").write_text(
        f"sentinel monitor main 127.0.0.1 {redis.port} 1\nrequirepass s3cret\n"
    )
    nobody = free_port()
    with Redis(tmp_path, config=tmp_path / "sentinel.conf") as sentinel:
        there = f"127.0.0.1:{sentinel.port}"
        for query, host, master, reason in [
            ("", there, "main", "it asks for a password"),
            ("?sentinel_password=wr0ng", there, "main", "wrong user or password"),
            ("?sentinel_password=s3cret", there, "other", "it knows no master of that name"),
            ("", f"127.0.0.1:{nobody}", "main", "Error 111"),
            ("", f"127.0.0.1:{redis.port}", "main", "unknown command"),
        ]:
            text = await refusal(f"redis+sentinel://{host}/{master}{query}")
            assert (
                f"/{master}{query and '?sentinel_password=***'}: No master found for '{master}': {host}: "
                in text
            )
            assert reason in text and "wr0ng" not in text and "s3cret" not in text and len(text) < 300
        text = await refusal(f"redis+sentinel://127.0.0.1:{nobody},{there}/main")
        assert f"127.0.0.1:{nobody}: Error 111" in text and f"; {there}: it asks for a password" in text
        async with nodes(
            lambda: RedisBroker(f"redis+sentinel://127.0.0.1:{nobody},{there}/main?sentinel_password=s3cret")
        ) as (one, two):
            client = await of_topic(two, "h")
            await one.publish_confirmed("h", "1")
            await until(lambda: heard(client) == ["1"])


@pytest.mark.system
async def test_one_subscription_for_each_topic_and_node(shared: Redis) -> None:
    async with nodes(lambda: RedisBroker(shared.url), 3) as hubs:
        for hub in hubs[:2]:
            for _ in range(20):
                await of_topic(hub, "h")
            for _ in range(20):
                hub.subscribe(await of_topic(hub, "k"), "many")
        await asyncio.sleep(0.2)
        for channel in ("fastws:{default/h}:q", "fastws:{default/many}:p"):
            assert shared.cli("PUBSUB", "NUMSUB", channel).split()[-1] == "2"
        assert shared.cli("PUBSUB", "NUMPAT") == "0"


async def test_what_somebody_else_has_written_there(shared: Redis, caplog: pytest.LogCaptureFixture) -> None:
    async with nodes(lambda: RedisBroker(shared.url)) as (one, two):
        client, plain = await of_topic(two, "h"), await of_topic(two, "t")
        shared.cli("PUBLISH", "fastws:{default/t}:p", "junk")
        shared.cli("PUBLISH", "fastws:{default/h}:q", "junk")
        one.publish("t", "1")
        one.publish("h", "1")
        await until(lambda: heard(client) == heard(plain) == ["1"])
        assert caplog.text.count("holds what is no message") == 2
