"""What people do to a Redis that nodes share: told, and nothing is lost in silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fastws import BrokerUnavailable
from fastws.pubsub.brokers.redis_broker import RedisBroker
from fastws.pubsub.hub import Hub
from tests.kit import until
from tests.kit.keepers import Client
from tests.kit.nodes import beat, heard, missed, nodes, of_topic, rejoined
from tests.kit.redis import Redis, need_redis
from tests.pubsub.brokers.test_redis_nonsense import refusal

pytestmark = pytest.mark.system


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    need_redis()
    with Redis(tmp_path_factory.mktemp("redis"), "--enable-debug-command", "yes") as server:
        yield server


async def published(hub: Hub, first: int, last: int) -> None:
    """Publish numbers to both topics, in many turns."""
    for number in range(first, last):
        hub.publish("h", str(number))
        hub.publish("t", str(number))
        await asyncio.sleep(0.002)


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last)]


# -- users who may do too little ----------------------------------------------------------------

RIGHTS = {
    "no channel": ["~*", "resetchannels", "+@all"],
    "other channels": ["~*", "resetchannels", "&other:*", "+@all"],
    "no script": ["~*", "&*", "+@all", "-evalsha", "-eval"],
    "no stream": ["~*", "&*", "+@all", "-xadd"],
    "no publishing": ["~*", "&*", "+@all", "-publish"],
    "no subscribing": ["~*", "&*", "+@all", "-subscribe"],
    "other keys": ["resetkeys", "~other:*", "&*", "+@all"],
    "reading only": ["~*", "&*", "+@all", "-@write"],
}


@pytest.mark.parametrize("rights", RIGHTS)
async def test_a_user_without_a_right_is_told_at_the_start(redis: Redis, rights: str) -> None:
    redis.cli("ACL", "SETUSER", "small", "on", ">pw", *RIGHTS[rights])
    text = await refusal(redis.url.replace("//", "//small:pw@"))
    assert "this user may not do that" in text and "pw" not in text


async def test_what_the_docs_say_is_enough(redis: Redis) -> None:
    rights = "+@connection +@pubsub +@scripting +@stream +@hash +@string +@keyspace +info +time"
    assert rights in (Path(__file__).parents[3] / "docs" / "several-machines.md").read_text()
    redis.cli("ACL", "SETUSER", "node", "on", ">pw", *rights.split(), "~fastws:*", "&fastws:*")
    url = redis.url.replace("//", "//node:pw@")
    async with nodes(lambda: RedisBroker(url)) as (one, two):
        kept, plain = await of_topic(two, "h"), await of_topic(two, "t")
        await one.publish_confirmed("h", "1", once="a")
        await one.publish_confirmed("k", "1", key="a")
        one.publish("t", "1")
        await until(lambda: heard(kept) == heard(plain) == ["1"])


async def test_a_right_that_is_taken_away(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    redis.cli("ACL", "SETUSER", "node", "on", ">pw", "~*", "&*", "+@all")
    url = redis.url.replace("//", "//node:pw@")
    async with nodes(lambda: RedisBroker(url)) as (one, two):
        client = await of_topic(two, "h")
        await one.publish_confirmed("h", "1")
        redis.cli("ACL", "SETUSER", "node", "-evalsha")
        with pytest.raises(BrokerUnavailable, match="this user may not do that"):
            await one.publish_confirmed("h", "2")
        redis.cli("ACL", "SETUSER", "node", "+evalsha")
        await rejoined(one)
        await until(lambda: heard(client) == ["1", "back"])
        redis.cli("ACL", "SETUSER", "node", "resetchannels")
        redis.cli("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: "is away: this user may not do that" in caplog.text)
        redis.cli("ACL", "SETUSER", "node", "&*")
        await rejoined(one)
        await until(lambda: heard(client)[-1] == "back" and len(heard(client)) >= 3)


async def test_a_channel_that_nothing_may_be_published_to(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    redis.cli("ACL", "SETUSER", "node", "on", ">pw", "~*", "&*", "+@all")
    url = redis.url.replace("//", "//node:pw@")
    async with nodes(lambda: RedisBroker(url)) as (one, two):
        plain = await of_topic(two, "t")
        one.publish("t", "0")
        await until(lambda: heard(plain) == ["0"])
        redis.cli("ACL", "SETUSER", "node", "-publish")
        for number in range(1, 4):
            one.publish("t", str(number))
            await asyncio.sleep(0)
        await until(lambda: "messages to default/t are refused" in caplog.text)
        for _ in range(4):
            beat()
            await asyncio.sleep(0.05)
        assert caplog.text.count("default/t are refused: this user may not do that") == 1
        redis.cli("ACL", "SETUSER", "node", "+publish")
        one.publish("t", "4")
        await until(lambda: heard(plain) == ["0", "4"])
        assert missed(plain) == 3


async def test_a_password_that_is_changed(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    async with nodes(lambda: RedisBroker(redis.url)) as (one, two):
        client = await of_topic(two, "h")
        redis.cli("CONFIG", "SET", "requirepass", "s3cret")
        redis.cli("-a", "s3cret", "CLIENT", "KILL", "TYPE", "normal")
        await until(lambda: "it asks for a password" in caplog.text)
        one.publish("h", "1")
        redis.cli("-a", "s3cret", "CONFIG", "SET", "requirepass", "")
        await until(lambda: heard(client) == ["1"])


# -- what people do by hand ---------------------------------------------------------------------


@asynccontextmanager
async def under_load(redis: Redis) -> AsyncIterator[tuple[Hub, Hub, Client, Client]]:
    """Two nodes, a client of each kind of topic at the second, and numbers that were heard."""
    async with nodes(lambda: RedisBroker(redis.url), history=1000) as (one, two):
        kept, plain = await of_topic(two, "h"), await of_topic(two, "t")
        await published(one, 0, 20)
        await until(lambda: heard(kept) == heard(plain) == numbers(0, 20))
        yield one, two, kept, plain


async def test_everything_is_deleted(redis: Redis) -> None:
    async with under_load(redis) as (one, two, kept, plain):
        old = await two.position("h")
        redis.cli("FLUSHALL")
        await published(one, 20, 60)
        await until(lambda: heard(kept)[-1] == "59" and heard(plain) == numbers(0, 60))
        assert heard(kept) == numbers(0, 60)
        new = await two.position("h")
        assert new.epoch != old.epoch and new.offset == 40
        assert [synced.reason for synced in kept.syncs[1:]] == ["epoch"]


async def test_scripts_and_connections_that_are_ended_under_load(redis: Redis) -> None:
    async with under_load(redis) as (one, _two, kept, plain):
        publishing = asyncio.create_task(published(one, 20, 320))
        for command in ("SCRIPT FLUSH", "CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub"):
            await asyncio.sleep(0.1)
            redis.cli(*command.split())
        await publishing
        await until(lambda: heard(kept) == numbers(0, 320))
        assert len(kept.syncs) == 1
        await rejoined(one)
        await until(lambda: len(heard(plain)) + missed(plain) == 320)
        assert heard(plain) == sorted(set(heard(plain)), key=int)


@pytest.mark.parametrize("command", ["CLIENT PAUSE 1500 ALL", "DEBUG SLEEP 1.5"])
async def test_it_is_slow(redis: Redis, command: str) -> None:
    """It stands still for less than a node waits for an answer: nothing is told, and nothing is missing."""
    async with under_load(redis) as (one, _two, kept, plain):
        sleeping = asyncio.create_task(asyncio.to_thread(redis.cli, *command.split()))
        await published(one, 20, 120)
        await until(lambda: heard(kept) == heard(plain) == numbers(0, 120))
        assert len(kept.syncs) == 1 and not plain.gaps
        await sleeping


@pytest.mark.parametrize("letter", ["h", "u"])
async def test_a_key_of_another_type_has_our_name(
    redis: Redis, letter: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = f"fastws:{{default/h}}:{letter}"
    redis.cli("SET", key, "mine")
    async with nodes(lambda: RedisBroker(redis.url)) as (one, two):
        plain = await of_topic(two, "t")
        with pytest.raises(BrokerUnavailable, match="another program has a key with this name"):
            await one.publish_confirmed("h", "1", timeout=2)
        one.publish("t", "1")
        await until(lambda: heard(plain) == ["1"])
        assert redis.cli("GET", key) == "mine"


@pytest.mark.parametrize("letter", ["h", "s"])
async def test_a_key_that_gets_another_type(redis: Redis, letter: str) -> None:
    async with under_load(redis) as (one, two, kept, _plain):
        redis.cli("SET", key := f"fastws:{{default/h}}:{letter}", "mine")
        with pytest.raises(BrokerUnavailable, match="another program has a key with this name"):
            await one.publish_confirmed("h", "lost")
        redis.cli("DEL", key)
        await one.publish_confirmed("h", "20")
        await until(lambda: heard(kept) == numbers(0, 21))
        late = await of_topic(two, "h")
        await one.publish_confirmed("h", "21")
        await until(lambda: heard(late) == ["21"])


async def test_messages_that_are_deleted_by_hand(redis: Redis) -> None:
    """Who is there notices nothing; who comes back is told how many are not there."""
    async with under_load(redis) as (one, _two, _kept, _plain):
        first = await one.position("h")
        await published(one, 20, 30)
        await one.publish_confirmed("h", "30")
        redis.cli("XDEL", "fastws:{default/h}:s", f"{first.offset + 5}-0")
        hub = Hub("default", broker=RedisBroker(redis.url))
        hub.topic("h", history=1000)
        async with hub:
            client = Client()
            synced = hub.subscribe(client, "h", since=first)
            await until(lambda: synced or client.syncs)
            told = synced or client.syncs[0]
            assert (told.resumed, told.missed) == (False, 5)
            await until(lambda: heard(client) == numbers(25, 31))


async def test_it_evicts_what_it_holds(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """``allkeys-lru`` is loss of data: a new epoch, told, and a line that says what to set."""
    redis.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    async with under_load(redis) as (one, two, kept, _plain):
        old = await two.position("h")
        redis.cli("CONFIG", "SET", "maxmemory", "1mb")  # less than an empty one needs
        await until(lambda: redis.cli("EXISTS", "fastws:{default/h}:h") == "0")
        redis.cli("CONFIG", "SET", "maxmemory", "0")
        await one.publish_confirmed("h", "20")
        await until(lambda: heard(kept) == numbers(0, 21))
        assert (await two.position("h")).epoch != old.epoch
        assert kept.syncs[-1].reason == "epoch"
    assert "maxmemory-policy is allkeys-lru" in caplog.text
