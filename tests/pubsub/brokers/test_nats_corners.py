"""NATS as a broker, where nodes meet at the same moment, and where a line ends in the middle of something."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from typing import Any

import pytest

import fastws
from fastws.pubsub.brokers.base import BrokerRefused, Item, State, Verb, Verdict
from fastws.pubsub.events import Position
from tests.kit import until
from tests.kit.nats import Nats

pytest.importorskip("nats")


from fastws.pubsub.brokers.nats import history as histories
from fastws.pubsub.brokers.nats.failures import NoAnswer
from fastws.pubsub.brokers.nats.line import Line
from fastws.pubsub.brokers.nats.streams import Stream
from tests.pubsub.brokers.nats_nodes import Node, answered, history, keyed, nodes, put, run

pytestmark = [pytest.mark.live, pytest.mark.system]
PACKAGE = "fastws.pubsub.brokers.nats"


def line_of(node: Node) -> Line:
    line = node.broker._line
    assert line is not None
    return line


# -- at the same moment -------------------------------------------------------------------------


async def test_nodes_that_begin_together_begin_one_epoch(
    server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with nodes(server.url, 3) as found:
        for topics in ([history(history=size) for size in (5, 9, 7)], [keyed()] * 3):
            pairs = zip(found, topics, strict=True)
            asked = [answered(partial(node.broker.read, topic, None)) for node, topic in pairs]
            kept = await asyncio.gather(*asked)
            assert len({each.epoch for each in kept}) == 1
        # One may have set back what another one had set.
        monkeypatch.setattr(f"{PACKAGE}.streams.ASK_SECONDS", 0.0)
        for node, size in zip(found, (5, 9, 7), strict=True):
            await answered(partial(node.broker.read, history(history=size), None))
        config = (await line_of(found[0]).request("STREAM.INFO.fastws-history"))["config"]
        assert config["max_msgs_per_subject"] == 9


async def test_no_message_is_asked_of_a_stream_that_is_being_made(
    server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is asked for one ends by itself, up to nats-server 2.9.14."""
    monkeypatch.setattr(f"{PACKAGE}.streams.MAKING_SECONDS", 0.001)
    request, subjects = Line.request, []
    times = iter([*["0001-01-01T00:00:00Z"] * 3, None, "0001-01-01T00:00:00Z"])

    async def early(self: Line, subject: str, *rest: Any) -> Any:
        subjects.append(subject)
        said = await request(self, subject, *rest)
        if "created" in said and (when := next(times, None)) is not None:
            said |= {"created": when, "state": dict.fromkeys(said["state"], 0)}
        return said

    monkeypatch.setattr(Line, "request", early)
    async with nodes(server.url) as (node,):
        await node.broker.append(history(), run(1, b"x"))
        of_stream = [subject for subject in subjects if subject.endswith(".fastws-history")]
        info, create, get = (f"STREAM.{what}.fastws-history" for what in ("INFO", "CREATE", "MSG.GET"))
        assert of_stream == [info, create, info, info, info, get]
        stream = node.broker._histories
        assert await stream.last_sequence() == 2
        made = (await request(line_of(node), info))["created"]
        assert stream.made == made and not made.startswith("0001")
        monkeypatch.setattr(f"{PACKAGE}.streams.NOT_MADE", made)
        with pytest.raises(NoAnswer, match="the stream fastws-history is still being made"):
            await stream.last_sequence()


async def test_nodes_that_declare_together_all_do(server: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = history()
    async with nodes(server.url, 3) as found:
        await asyncio.gather(*[answered(partial(node.broker.declare, topic)) for node in found])
        await answered(partial(found[0].broker.declare, topic))
        with pytest.raises(BrokerRefused, match="history='100' there, and history='7' here"):
            await found[0].broker.declare(history(history=7))
        monkeypatch.setattr(f"{PACKAGE}.declaring.ATTEMPTS", 0)
        with pytest.raises(NoAnswer):
            await found[1].broker.declare(history("hub/u"))


async def test_nodes_that_forget_removals_together_forget_all(server: Nats) -> None:
    topic = keyed(ttl=1e-3)
    async with nodes(server.url, 2) as (a, b):
        for number, node in enumerate((a, b, a), 1):
            await node.broker.append(topic, put(number, Item(b"1", f"k{number}"), sender=f"n{number}"))
        await a.broker.append(topic, put(4, Item(b"", "k1", Verb.REMOVE), sender="n1"))
        await b.broker.append(topic, put(4, Item(b"", "k2", Verb.REMOVE), sender="n2"))
        at = (await a.broker.append(topic, put(5, Item(b"2", "k3"), sender="n1"))).at
        await b.broker.append(topic, put(5, Item(b"3", "k3"), sender="n2"))
        await asyncio.sleep(0.01)
        known = [node.broker._topics[topic.name] for node in (a, b)]
        for _ in range(3):
            await asyncio.gather(*[each.forget_removals() for each in known])  # type: ignore[attr-defined]
        kept = await a.broker.read(topic, None)
        assert [(entry.item.key, entry.item.verb) for entry in kept.entries] == [("k3", Verb.PUT)]
        assert kept.last == at.offset + 1


# -- what was sent before -----------------------------------------------------------------------


async def test_the_next_gateway_changes_no_key_twice(server: Nats) -> None:
    topic = keyed()
    async with nodes(server.url) as (node,):
        await node.broker.append(topic, put(1, Item(b"1", "a")))
        await node.broker.append(topic, put(2, Item(b"2", "a"), sender="other"))
    async with nodes(server.url) as (node,):
        answer = await node.broker.append(topic, put(1, Item(b"1", "a")))
        assert answer.verdict is Verdict.DUPLICATE
        kept = await node.broker.read(topic, None)
        assert [entry.item.body for entry in kept.entries] == [b"2"]


async def test_what_others_have_appended_meanwhile_is_taken(
    server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "SENDERS", 1)
    for size, count in ((1, 3), (100, 3), (100, 30)):
        topic = history(f"hub/{size}.{count}", history=size)
        async with nodes(server.url, 2) as (a, b):
            await a.broker.append(topic, run(1, b"a", sender="a"))
            line_of(a).abort("cut")
            await a.away()
            for number in range(count):
                await b.broker.append(topic, run(number, b"b", sender=f"b{number % 2}"))
            await a.back()
            assert (await a.broker.append(topic, run(2, b"A", sender="a"))).at.offset == count + 2
            assert a.reasons[-1] == "" and "cut" in a.reasons


async def test_an_answer_that_was_lost_is_found_again(server: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    topic, taken = history(), Stream.taken

    async def lose(self: Stream, answer: Any) -> Any:
        await taken(self, answer)
        monkeypatch.setattr(Stream, "taken", taken)
        raise NoAnswer("it was lost")

    async with nodes(server.url) as (node,):
        await node.broker.read(topic, None)
        for number, once in enumerate((None, "=id"), 1):
            monkeypatch.setattr(Stream, "taken", lose)
            answer = await node.broker.append(topic, run(number, b"x", once=once))
            assert answer.verdict is Verdict.DONE and answer.at.offset == number
        await node.broker.read(keyed(), None)
        monkeypatch.setattr(Stream, "taken", lose)
        answer = await node.broker.append(keyed(), put(1, Item(b"1", "a")))
        assert answer.verdict is Verdict.DONE


# -- keys ---------------------------------------------------------------------------------------


async def test_a_clear_counts_before_older_values_are_deleted(
    server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def purge(*_: object) -> None:
        """Be slow."""

    monkeypatch.setattr(Stream, "purge", purge)
    topic = keyed()
    async with nodes(server.url, 2) as (a, b):
        await a.broker.append(topic, put(1, Item(b"1", "a"), Item(b"1", "b")))
        at = (await a.broker.append(topic, put(2, Item(verb=Verb.CLEAR)))).at
        kept = await b.broker.read(topic, None)
        assert kept.entries == [] and kept.cleared == kept.last == at.offset


async def test_who_is_ahead_of_the_keys_begins_a_new_epoch(server: Nats) -> None:
    topic = keyed()
    async with nodes(server.url) as (node,):
        at = (await node.broker.append(topic, put(1, Item(b"1", "a")))).at
        kept = await node.broker.read(topic, at.after(1))
        assert kept.epoch != at.epoch and [entry.item.key for entry in kept.entries] == ["a"]


# -- what is heard ------------------------------------------------------------------------------


async def test_what_is_not_watched_any_more_is_not_told(server: Nats) -> None:
    for topic, item in ((history(), Item(b"x")), (keyed(), Item(b"1", "k"))):
        async with nodes(server.url, 2) as (a, b):
            await a.broker.append(topic, put(1, item, sender="first"))
            a.broker.unwatch("hub/never")
            await b.broker.watch(topic)
            await b.broker.append(topic, put(1, item, sender="b"))
            await until(lambda b=b: b.told)
            b.broker.unwatch(topic.name)
            await b.broker.append(topic, put(2, item, sender="b"))
            await until(lambda b=b: not b.broker._changes)
            await line_of(b).flush()
            count = len(b.offsets)
            await a.broker.append(topic, put(2, item, sender="a"))
            await line_of(b).flush()
            await asyncio.sleep(0)
            assert len(b.offsets) == count
            await b.broker.watch(topic)
            last = (await a.broker.append(topic, put(3, item, sender="a"))).at
            await until(lambda b=b, last=last: b.offsets[-1] == last.offset)


async def test_a_deleted_stream_is_made_again_by_who_reads(server: Nats) -> None:
    for topic in (history(), keyed()):
        async with nodes(server.url) as (node,):
            before = await node.broker.read(topic, None)
            kind = "history" if topic.history else "keys"
            await line_of(node).request(f"STREAM.DELETE.fastws-{kind}")
            with pytest.raises(fastws.BrokerUnavailable):
                await node.broker.read(topic, None)
            kept = await node.broker.read(topic, Position(before.epoch, before.last))
            assert kept.epoch != before.epoch


# -- lines that end -----------------------------------------------------------------------------


async def test_a_server_that_hangs_up_at_once_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{PACKAGE}.broker.CONNECT_SECONDS", 0.2)
    info = b'INFO {"version":"2.9.10","max_payload":1048576,"headers":true}\r\n'

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(info)
        await reader.readuntil(b"PING\r\n")
        writer.write(b"PONG\r\n")
        await reader.readuntil(b"SUB")
        writer.close()

    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    for talk, text in ((hang_up, "clos|EOF|reset"), (be_silent, "does not answer")):
        fake = await asyncio.start_server(talk, "127.0.0.1", 0)
        with pytest.raises(fastws.BrokerUnavailable, match=text):
            async with nodes(f"nats://127.0.0.1:{fake.sockets[0].getsockname()[1]}"):
                pass
        fake.close()
        await asyncio.sleep(0.05)


async def test_who_asks_when_the_line_ends_is_told(server: Nats) -> None:
    topic = history()
    async with nodes(server.url) as (node,):
        await node.broker.append(topic, run(1, b"x"))
        server.kick(signal.SIGSTOP)
        asked = [node.broker.read(topic, None) for _ in range(2)]
        line_of(node).abort("cut")
        for each in asked:
            with pytest.raises(fastws.BrokerUnavailable):
                await each
        server.kick(signal.SIGCONT)
        await node.away()
        await node.back()
        assert (await node.broker.read(topic, None)).last == 1


async def test_who_does_not_answer_in_time_is_not_waited_for(
    server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{PACKAGE}.line.ANSWER_SECONDS", 0.05)

    def be_silent(message: object) -> None:
        """Hear, and say nothing."""

    async with nodes(server.url) as (node,):
        line = line_of(node)
        await line.subscribe("silence", be_silent)
        with pytest.raises(NoAnswer, match=r"no answer of a stream within 0.05 s"):
            await line.wait(await line.ask("silence", b""))
        with pytest.raises(NoAnswer, match="nobody answers"):
            await line.wait(await line.ask("nobody", b""))


async def test_what_nobody_thought_of_ends_no_task(
    server: Nats, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flush = Line.flush
    topic = history()

    async def fail(self: Line) -> None:
        monkeypatch.setattr(Line, "flush", flush)
        raise RuntimeError("what nobody thought of")

    async with nodes(server.url) as (node,):
        monkeypatch.setattr(Line, "flush", fail)
        await until(lambda: State.AWAY in node.states)
        await node.back()
        assert "the connection cannot be used" in caplog.text
        with monkeypatch.context() as patched:
            patched.setattr(histories, "encode", None)
            with pytest.raises(BrokerRefused, match="makes no sense"):
                await node.broker.append(topic, run(1, b"x"))
            with pytest.raises(BrokerRefused, match="makes no sense"):
                await node.broker.read(history("hub/u"), None)
        assert (await node.broker.append(topic, run(2, b"x"))).at.offset == 1
