"""What several NATS servers may do that keep a stream together, done on purpose at one."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

pytest.importorskip("nats")

from fastws.pubsub.brokers.base import BrokerRefused, Item, Verdict
from fastws.pubsub.brokers.nats.failures import NoAnswer
from fastws.pubsub.brokers.nats.line import Line
from fastws.pubsub.brokers.nats.records import Part, Stored, encode
from fastws.pubsub.brokers.nats.streams import Stream, once_id
from tests.kit.nats import Nats
from tests.pubsub.brokers.nats_nodes import history, keyed, nodes, put, run

pytestmark = [pytest.mark.live, pytest.mark.system]
PACKAGE = "fastws.pubsub.brokers.nats"
TOPIC = history()


@pytest.fixture(autouse=True)
def as_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server says of a stream is not compared."""
    monkeypatch.setattr(Stream, "_compare", lambda self, servers: None)


def as_of_three(*found: Any) -> None:
    """Let nodes believe that their streams are on three servers."""
    for node in found:
        for stream in (node.broker._histories, node.broker._keys):
            stream.replicas = 3


async def test_an_id_whose_first_message_does_not_count_is_published_once_by_all_nodes(server: Nats) -> None:
    async with nodes(server.url, 2) as (a, b):
        first = await a.broker.append(TOPIC, run(1, b"first"))
        as_of_three(a, b)
        stream = a.broker._histories
        void = encode(Stored(first.at.epoch, 2, [Part("x", 1, 0, [Item(b"void")])]))
        await stream.taken(await stream.put(TOPIC.name, void, once=once_id(TOPIC.name, "=id")))
        answers = [
            await node.broker.append(TOPIC, run(7, b"once", sender=name, once="=id"))
            for node, name in ((a, "a"), (b, "b"), (a, "c"))
        ]
        assert [each.verdict for each in answers] == [Verdict.DONE, Verdict.DUPLICATE, Verdict.DUPLICATE]
        assert {each.at for each in answers} == {first.at.after(1)}
        kept = await b.broker.read(TOPIC, None)
        assert [entry.item.body for entry in kept.entries] == [b"first", b"once"]


@pytest.mark.parametrize("code", [10008, 10118])
async def test_what_cannot_be_now_waits(server: Nats, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    request, errors = Line.request, [code] * 3 + [10023]

    async def busy(self: Line, subject: str, *rest: Any) -> Any:
        if errors and subject.startswith("STREAM."):
            return {"error": {"err_code": errors.pop(0), "description": "try again"}}
        return await request(self, subject, *rest)

    monkeypatch.setattr(Line, "request", busy)
    async with nodes(server.url) as (node,):
        waits, refused = node.broker.append(TOPIC, run(1, b"1")), node.broker.append(keyed(), put(1))
        errors.pop()
        assert (await waits).verdict is (await refused).verdict is Verdict.DONE
        errors.append(10023)
        with pytest.raises(BrokerRefused, match="try again"):
            await node.broker.append(history("hub/other"), run(1, b"1"))


async def test_a_server_that_has_other_numbers_than_the_leader_is_not_believed(
    server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Stream._read

    async def shifted(self: Stream, filter: str) -> Any:
        raws, now = await read(self, filter)
        return [raw._replace(sequence=raw.sequence + 4) for raw in raws], now + 100

    async def behind(self: Stream, filter: str) -> Any:
        raws, now = await read(self, filter)
        return raws[:-1], now

    async with nodes(server.url) as (node,):
        for number in range(3):
            await node.broker.append(TOPIC, run(number + 1, b"%d" % number))
            await node.broker.append(keyed(), put(number + 1, Item(b"%d" % number, f"k{number}")))
        as_of_three(node)
        for wrong in (shifted, behind):
            monkeypatch.setattr(Stream, "_read", wrong)
            for topic in (TOPIC, keyed()):
                kept = await node.broker.read(topic, None)
                assert [entry.item.body for entry in kept.entries] == [b"0", b"1", b"2"]
                assert all((entry.age >= 100) is (wrong is shifted) for entry in kept.entries)


async def test_what_changes_while_it_is_read_is_no_sign_of_another_server(
    server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = Stream.last

    async def before(self: Stream, subject: str) -> Any:
        raw = await last(self, subject)
        return raw if raw is None or subject != f"{keyed().name}.>" else raw._replace(sequence=1, data=b"old")

    async with nodes(server.url) as (node,):
        for number in range(3):
            await node.broker.append(keyed(), put(number + 1, Item(b"%d" % number, f"k{number}")))
        as_of_three(node)
        monkeypatch.setattr(Stream, "last", before)
        monkeypatch.setattr(Stream, "following", None)  # the messages are not asked for one by one
        kept = await node.broker.read(keyed(), None)
        assert [entry.item.body for entry in kept.entries] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("topic", [TOPIC, keyed()], ids=["history", "keyed"])
async def test_who_is_ahead_of_a_cluster_for_a_while_begins_a_new_epoch(
    server: Nats, monkeypatch: pytest.MonkeyPatch, topic: Any
) -> None:
    async with nodes(server.url) as (node,):
        add = run if topic is TOPIC else put
        at = (await node.broker.append(topic, add(1, b"x" if topic is TOPIC else Item(b"x", "k")))).at
        as_of_three(node)
        ahead = at.after(5)
        for _ in range(3):
            with pytest.raises(NoAnswer, match="lacks"):
                await node.broker.read(topic, ahead)
        assert (await node.broker.read(topic, at)).epoch == at.epoch
        monkeypatch.setattr(f"{PACKAGE}.topic.DOUBT_SECONDS", 0.1)
        epochs = {at.epoch}
        while epochs == {at.epoch}:
            with suppress(NoAnswer):
                epochs.add((await node.broker.read(topic, ahead)).epoch)


async def test_who_asks_while_appends_wait_is_answered_before_them(server: Nats) -> None:
    async with nodes(server.url) as (node,):
        await node.broker.append(TOPIC, run(1, b"1"))
        node.broker._may_send.clear()  # as after an outage
        waits = node.broker.append(TOPIC, run(2, b"2"))
        for _ in range(2):
            kept = await node.broker.read(TOPIC, None)
            assert [entry.item.body for entry in kept.entries] == [b"1"] and not waits.done()
        node.broker._may_send.set()
        assert (await waits).at.offset == 2


async def test_messages_that_a_next_leader_lacks_for_a_moment_are_not_lost(
    server: Nats, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    last, lacks = Stream.last, 3

    async def early(self: Stream, subject: str) -> Any:
        nonlocal lacks
        raw = await last(self, subject)
        if raw is None or subject != TOPIC.name or not lacks:
            return raw
        lacks -= 1
        return await self.at(raw.behind)

    async with nodes(server.url) as (node,):
        for number in range(1, 4):
            at = (await node.broker.append(TOPIC, run(number, b"x"))).at
        as_of_three(node)
        node.broker._topics[TOPIC.name].forget()
        monkeypatch.setattr(Stream, "last", early)
        assert (await node.broker.append(TOPIC, run(4, b"x"))).at == at.after(1)
        assert not lacks and "waits: a server lacks what another one has had" in caplog.text


async def test_changes_that_a_next_leader_lacks_for_a_moment_are_not_lost(
    server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_sequence, lacks = Stream.last_sequence, 0

    async def fewer(self: Stream) -> int:
        nonlocal lacks
        lacks -= 1
        return await last_sequence(self) - (2 if lacks >= 0 else 0)

    async with nodes(server.url) as (node,):
        for number in range(1, 4):
            at = (await node.broker.append(keyed(), put(number, Item(b"x", f"k{number}")))).at
        as_of_three(node)
        monkeypatch.setattr(Stream, "last_sequence", fewer)
        for seconds, is_lost in ((60.0, False), (0.0, True)):
            monkeypatch.setattr(f"{PACKAGE}.topic.DOUBT_SECONDS", seconds)
            node.broker._topics[keyed().name].forget()
            lacks = 3
            answer = await node.broker.append(keyed(), put(4 + is_lost, Item(b"x", "k")))
            assert (answer.at.epoch != at.epoch) is is_lost
