"""Keyed topics that several workers share."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from fastws.errors import BrokerUnavailable
from fastws.pubsub.bus.records import BadRecord, Decoder, Kind, Record, hello
from fastws.pubsub.events import Live, Message, Position, Removed, Synced
from fastws.pubsub.keeper.changes import (
    Change,
    Verb,
    Wanted,
    changes_record,
    encode_wanted,
    read_changes,
    read_wanted,
)
from fastws.pubsub.keeper.shared_topic import Copy
from tests.kit import until
from tests.kit.keepers import Client, Worker, workers

KEYED = {"mode": "keyed", "history": 0, "every": 0.001}


class Table:
    """What a client makes of what it hears, as a page does."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.keys: dict[str, Any] = {}
        self.snapshots = 0
        client.on_sync = self.forget

    def forget(self, synced: Synced) -> None:
        """Forget what it holds, where a snapshot comes."""
        self.read()
        if synced.snapshot:
            self.keys.clear()

    def read(self) -> dict[str, Any]:
        client = self.client
        before = len(client.got)
        for text in client.texts_so_far()[before:]:
            said = json.loads(text)
            if "clear" in said:
                self.keys.clear()
            self.snapshots += "snap" in said
            self.keys |= said.get("snap", {}) | said.get("set", {})
            for key in said.get("rm", ()):
                self.keys.pop(key, None)
        return self.keys


def table(worker: Worker, **options: Any) -> tuple[Table, Synced | None]:
    client, synced = worker.client(**options)
    return Table(client), synced


def put(worker: Worker, **values: Any) -> None:
    for key, value in values.items():
        worker.hub.publish("t", json=value, key=key)


async def test_the_clients_of_all_workers_have_the_same_keys() -> None:
    async with workers(**KEYED) as found:
        one, two = found.all
        (ann, nothing), (bob, _) = table(one), table(two)
        assert nothing is None
        put(one, a=1, b=2)
        put(two, c=3)
        await until(lambda: ann.read() == bob.read() == {"a": 1, "b": 2, "c": 3})
        [synced] = ann.client.syncs
        assert synced.snapshot
        assert one.hub.remove("t", "a")
        put(two, b=4)
        await until(lambda: ann.read() == bob.read() == {"b": 4, "c": 3})
        assert two.hub.clear("t")
        put(two, d=5)
        await until(lambda: ann.read() == bob.read() == {"d": 5})
        assert await one.hub.snapshot("t") == await two.hub.snapshot("t") == {"d": "5"}
        assert await one.hub.position("t") == await two.hub.position("t")
        assert not one.hub.remove("t", "never")
        late, synced = table(one)
        assert synced is not None and synced.snapshot
        await until(lambda: late.read() == {"d": 5})


async def test_who_returns_to_another_worker_is_sent_what_has_changed() -> None:
    async with workers(**KEYED) as found:
        one, two = found.all
        put(one, a=1, b=2)
        at = (await one.hub.publish_confirmed("t", json=3, key="c")).at
        put(one, a=4)
        one.hub.remove("t", "b")
        await one.hub.publish_confirmed("t", json=5, key="d")
        back, synced = table(two, since=at)
        assert synced is None
        back.keys = {"a": 1, "b": 2, "c": 3}
        await until(lambda: back.read() == {"a": 4, "c": 3, "d": 5})
        assert back.client.syncs == [Synced("t", at, resumed=True)] and not back.snapshots


async def test_confirmed_once_and_full() -> None:
    async with workers(**KEYED, max_keys=2) as found:
        one, two = found.all
        first = await one.hub.publish_confirmed("t", "1", key="a", once="x")
        again = await two.hub.publish_confirmed("t", "1", key="a", once="x")
        assert again.duplicate and again.at == first.at
        await two.hub.publish_confirmed("t", "2", key="b")
        with pytest.raises(ValueError, match="holds 2 keys"):
            await one.hub.publish_confirmed("t", "3", key="c")
        assert await one.hub.snapshot("t") == {"a": "1", "b": "2"}
        with pytest.raises(ValueError, match="holds 2 keys"):
            one.hub.publish("t", "3", key="c")
        with pytest.raises(TypeError, match="keyed"):
            await one.hub.publish_confirmed("t", "3")
        with pytest.raises(ValueError, match="key="):
            await one.hub.publish_confirmed("t", "3", key="")


async def test_a_key_too_many_of_a_worker_that_has_no_copy(caplog: pytest.LogCaptureFixture) -> None:
    async with workers(**KEYED, max_keys=1) as found:
        one, two = found.all
        await one.hub.publish_confirmed("t", "1", key="a")
        two.hub.publish("t", "2", key="b")
        two.hub.publish("t", "3", key="a")
        await until(lambda: "holds 1 keys, its max_keys" in caplog.text)
        assert await two.hub.snapshot("t") == {"a": "3"}


async def test_values_that_are_too_old_are_removed_everywhere() -> None:
    async with workers(**KEYED, key_ttl=0.05) as found:
        one, two = found.all
        (ann, _), (bob, _) = table(one), table(two)
        put(one, a=1)
        await until(lambda: ann.read() == bob.read() == {"a": 1})
        await until(lambda: ann.read() == bob.read() == {})
        assert await two.hub.snapshot("t") == {}


async def test_a_new_keeper_has_no_keys_and_all_are_told() -> None:
    async with workers(**KEYED) as found:
        one, two = found.all
        (ann, _), (bob, _) = table(one), table(two)
        put(one, a=1)
        await until(lambda: ann.read() == bob.read() == {"a": 1})
        async with two.hub.follow("t") as events:
            assert isinstance(await anext(events), Synced)
            found.kill_keeper()
            await until(lambda: one.topic.copy is two.topic.copy is Copy.ASKED)
            put(two, b=2)
            found.start_keeper()
            for client in (ann, bob):
                await until(lambda client=client: len(client.client.syncs) == 2)  # type: ignore[misc]
                synced = client.client.syncs[-1]
                assert synced.snapshot and synced.reason == "epoch" and synced.missed is None
            put(one, c=3)
            for client in (ann, bob):
                await until(lambda client=client: client.read() == {"b": 2, "c": 3})  # type: ignore[misc]
            heard = [await anext(events)]
            while not (isinstance(heard[-1], Message) and heard[-1].key == "c"):
                heard.append(await anext(events))
            again = next(event for event in heard if isinstance(event, Synced))
            assert again.reason == "epoch" and again.snapshot
            keys = [event.key for event in heard[heard.index(again) :] if isinstance(event, Message)]
            assert keys == ["b", "c"]
            await until(lambda: bob.read() == {"b": 2, "c": 3})


async def test_a_follower_of_keys() -> None:
    async with workers(**KEYED) as found:
        one, two = found.all
        await one.hub.publish_confirmed("t", json=1, key="a")
        async with two.hub.follow("t") as events:
            synced = await anext(events)
            assert isinstance(synced, Synced) and synced.snapshot
            first = await anext(events)
            assert isinstance(first, Message) and (first.key, first.message) == ("a", "1")
            assert isinstance(await anext(events), Live)
            one.hub.remove("t", "a")
            assert isinstance(await anext(events), Removed)
            assert isinstance(await asyncio.wait_for(anext(events), 30), Live)


async def test_a_worker_that_does_not_read_has_the_last_values_then() -> None:
    async with workers(keeper=False, **KEYED) as found:
        found.start_keeper(max_waiting=100_000)
        one, two = found.all
        bob, _ = table(two)
        await until(lambda: bob.client.syncs)
        two.stop_reading()
        for number in range(200):
            await one.hub.publish_confirmed("t", json=str(number).zfill(60_000), key=f"k{number % 3}")
        one.hub.remove("t", "k1")
        await one.hub.publish_confirmed("t", json=0, key="last")
        two.read_on()
        await until(lambda: "last" in bob.read())
        last = {"k0": "198".zfill(60_000), "k2": "197".zfill(60_000), "last": 0}
        assert bob.keys == last
        assert bob.client.gaps == []


async def test_forgotten_tombstones_bring_a_snapshot() -> None:
    async with workers(keeper=False, **KEYED, max_keys=2) as found:
        found.start_keeper(max_waiting=100_000)
        one, two = found.all
        bob, _ = table(two)
        put(one, a=1)
        await until(lambda: bob.read() == {"a": 1})
        two.stop_reading()
        one.hub.remove("t", "a")
        for number in range(100):
            await one.hub.publish_confirmed("t", json="x" * 100_000, key=f"k{number}")
            one.hub.remove("t", f"k{number}")
        await one.hub.publish_confirmed("t", json=0, key="last")
        two.read_on()
        await until(lambda: len(bob.client.syncs) == 2)
        assert bob.client.syncs[1].snapshot
        await until(lambda: bob.read() == {"last": 0})


async def test_refused_without_a_keeper() -> None:
    async with workers(keeper=False, **KEYED) as found:
        [one, _] = found.all
        put(one, a=1)
        with pytest.raises(BrokerUnavailable):
            await one.hub.publish_confirmed("t", "1", key="b", timeout=0.01)
        found.start_keeper()
        assert await one.hub.snapshot("t") == {"a": "1"}
        assert await one.hub.position("t") == Position((await one.hub.position("t")).epoch, 1)


async def test_a_pace_of_its_own() -> None:
    async with workers(**KEYED) as found:
        one, two = found.all
        ann, synced = table(one, max_rate=1000.0)
        assert synced is None
        put(two, a=1)
        await until(lambda: ann.read() == {"a": 1})
        found.kill_keeper()
        await until(lambda: one.topic.copy is Copy.ASKED)
        put(two, b=2)
        found.start_keeper()
        await until(lambda: ann.read() == {"b": 2})
        assert [synced.reason for synced in ann.client.syncs] == [None, "epoch"]


# -- the bodies of records --------------------------------------------------------------------------

CHANGES = [Change(3, 0.5, "a", b"1"), Change(5, 0.0, "\N{SNOWMAN}", None), Change(6, 1.0, "c", b"")]


def record_of(sent: Record) -> Record:
    [_, record] = Decoder().feed(hello(1) + sent.encoded())
    return record


def test_changes_travel() -> None:
    record = record_of(changes_record(Kind.NUMBERED, b"h\0t", 2, 7, 1, CHANGES))
    assert (record.number, read_changes(record)) == (2, (7, 1, CHANGES))
    wanted = [Wanted(Verb.PUT, "k", b"[1]"), Wanted(Verb.REMOVE, "k", b""), Wanted(Verb.CLEAR, "", b"")]
    body = b"".join(encode_wanted(*each) for each in wanted)
    assert read_wanted(body, 3) == wanted
    for size in range(1, len(body)):
        with pytest.raises(BadRecord):
            read_wanted(body[:size], 3)


@pytest.mark.parametrize("cut", range(16, 50, 3))
def test_changes_that_are_cut(cut: int) -> None:
    whole = record_of(changes_record(Kind.NUMBERED, b"h\0t", 2, 7, 1, CHANGES))
    whole.body = whole.body[:cut]
    with pytest.raises(BadRecord):
        read_changes(whole)


@pytest.mark.parametrize(("start", "end", "cleared"), [(8, 7, 0), (1, 7, 8)])
def test_changes_with_numbers_that_are_none(start: int, end: int, cleared: int) -> None:
    with pytest.raises(BadRecord, match="numbers that are none"):
        read_changes(record_of(changes_record(Kind.NUMBERED, b"h\0t", start, end, cleared, CHANGES)))


@pytest.mark.parametrize("verb", [0, 4])
def test_verbs_that_are_none(verb: int) -> None:
    with pytest.raises(BadRecord, match="changes that are none"):
        read_wanted(bytes([verb]) + encode_wanted(Verb.CLEAR)[1:], 1)


async def test_nothing_waits_for_the_loop() -> None:
    async with workers(**KEYED) as found:
        found.all[0].hub.publish("t", "1", key="a")
        await asyncio.sleep(0)
