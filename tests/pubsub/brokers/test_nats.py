"""NATS as a broker: what is special to it. What all brokers do alike is in the conformance table."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws.pubsub.brokers.base import BrokerRefused, Item, ItemTooLarge, Verb, Verdict
from fastws.pubsub.events import Position
from tests.kit import until
from tests.kit.nats import Nats, need_nats
from tests.kit.talkers import talking
from tests.live.servers import make_certificates

pytest.importorskip("nats")

from fastws.pubsub.brokers.nats import broker as nats_broker
from tests.pubsub.brokers.nats_nodes import Node, history, keyed, nodes, put, run

pytestmark = [pytest.mark.live, pytest.mark.system]


@contextmanager
def other_server(folder: Path, *options: str, **more: Any) -> Iterator[Nats]:
    need_nats()
    with Nats(folder / "other", *options, **more) as found:
        yield found


async def api(node: Node, subject: str, question: dict[str, object] | None = None) -> dict[str, Any]:
    line = node.broker._line
    assert line is not None
    return await line.request(subject, question)


# -- who is let in ------------------------------------------------------------------------------


async def test_user_password_and_token_let_us_in(tmp_path: Path) -> None:
    with other_server(tmp_path, "--user", "me", "--pass", "secret") as one:
        port = one.port
        async with nodes(f"nats://me:secret@127.0.0.1:{port}"):
            pass
        with pytest.raises(fastws.BrokerUnavailable, match="Authorization Violation") as failed:
            async with nodes(f"nats://me:wrong-one@127.0.0.1:{port}"):
                pass
        assert "wrong-one" not in str(failed.value)
    with other_server(tmp_path, "--auth", "token") as one:
        async with nodes(f"nats://token@127.0.0.1:{one.port}"):
            pass


async def test_tls_is_never_left_out(tmp_path: Path, server: Nats) -> None:
    make_certificates(tmp_path)
    files = ("--tls", f"--tlscert={tmp_path}/server.pem", f"--tlskey={tmp_path}/server-key.pem")
    with other_server(tmp_path, *files) as one:
        async with nodes(f"tls://localhost:{one.port}?ca={tmp_path}/ca.pem"):
            pass
        with pytest.raises(fastws.BrokerUnavailable, match="TLS: unable to get local issuer certificate"):
            async with nodes(f"tls://localhost:{one.port}"):
                pass
    with pytest.raises(fastws.BrokerUnavailable, match="it does not speak TLS"):
        async with nodes(f"tls://127.0.0.1:{server.port}"):
            pass


async def test_the_next_server_is_taken_where_one_is_not_there(server: Nats) -> None:
    async with nodes(f"nats://127.0.0.1:1,{server.url}") as (node,):
        assert node.broker.label == f"nats://127.0.0.1:1,{server.url}"
    with pytest.raises(fastws.BrokerUnavailable, match=r"^nats://127.0.0.1:1: [^\n]*refused|failed"):
        async with nodes("nats://127.0.0.1:1"):
            pass


@pytest.mark.parametrize(
    ("greeting", "text"),
    [
        (b"", "does not answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak NATS's protocol"),
        (b"INFO {\r\n", "does not speak NATS's protocol"),
        (b"INFO []\r\nPONG\r\n", "does not speak NATS's protocol"),
        (b"INFO {}\r\nPONG\r\n", "does not speak NATS's protocol"),
        (b'INFO {"version":"new","max_payload":1048576}\r\nPONG\r\n', "does not speak NATS's protocol"),
        (b'INFO {"version":"2.9.0","max_payload":"all"}\r\nPONG\r\n', "does not speak NATS's protocol"),
        (b'INFO {"version":"2.2.0","max_payload":1048576}\r\nPONG\r\n', "is NATS 2.2.0"),
        (b'INFO {"version":"2.9.0","max_payload":4096}\r\nPONG\r\n', "has max_payload 4096, and"),
        (
            b'INFO {"version":"2.9.0","max_payload":1048576}\r\nPONG\r\nWHAT\r\n',
            "not answer|closed|NATS's protocol",
        ),
    ],
    ids=["silence", "nonsense", "half", "list", "empty", "version", "text", "old", "small", "word"],
)
async def test_what_is_no_server_for_us_is_refused(greeting: bytes, text: str) -> None:
    open_lines = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_lines.append(writer)
        writer.write(greeting)
        await reader.read()
        writer.close()
        await writer.wait_closed()
        open_lines.remove(writer)

    async with talking(talk) as port:
        with pytest.raises(fastws.BrokerUnavailable, match=text):
            async with nodes(f"nats://127.0.0.1:{port}", timeout=1):
                pass
        await until(lambda: not open_lines)


async def test_without_jetstream_only_plain_topics_pass(tmp_path: Path) -> None:
    with other_server(tmp_path, streams=False) as one:
        async with nodes(one.url, 2) as (a, b):
            with pytest.raises(BrokerRefused, match="no JetStream"):
                await a.broker.declare(history())
            with pytest.raises(BrokerRefused, match="no JetStream"):
                await a.broker.append(history(), run(1, b"x"))
            await b.follow("hub/p")
            a.broker.publish("hub/p", b"blob")
            await until(lambda: b.blobs == [("hub/p", b"blob")])


async def test_a_stream_that_is_there_keeps_its_replicas_and_that_is_told_once(
    server: Nats, caplog: pytest.LogCaptureFixture
) -> None:
    async with nodes(server.url) as (node,):
        await node.broker.read(history(), None)
        await node.broker.read(keyed(), None)
    assert "replicas" not in caplog.text
    async with nodes(f"{server.url}?replicas=3") as (node,):
        await node.broker.read(history(), None)
        await node.broker.read(keyed(), None)
        await node.broker.read(history("other", history=500), None)
    words = "was made with replicas=1, and stays so: the URL has replicas=3"
    for stream in ("history", "keys"):
        assert caplog.text.count(f"the stream fastws-{stream} {words}") == 1


async def test_a_stream_of_others_is_not_touched(server: Nats) -> None:
    async with nodes(server.url) as (node,):
        await api(node, "STREAM.CREATE.fastws-history", {"name": "fastws-history", "subjects": ["x"]})
        with pytest.raises(BrokerRefused, match="was not made by fastws"):
            await node.broker.read(history(), None)


#: What docs/several-machines.md says that a user of its own needs.
USER = """
jetstream {{ store_dir: "{store}" }}
authorization {{ users = [ {{ user: me, password: secret, permissions: {{
  publish: ["fastws.>", "$JS.FC.>", "$JS.API.STREAM.*.fastws-history", "$JS.API.STREAM.*.fastws-keys",
            "$JS.API.STREAM.MSG.GET.*", "$JS.API.CONSUMER.CREATE.*", "$JS.API.CONSUMER.DELETE.*.*"]
  subscribe: ["fastws.>", "_INBOX.>"]
}} }} ] }}
"""


async def test_a_user_of_its_own_needs_little(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "config").write_text(USER.format(store=tmp_path / "store"))
    with other_server(tmp_path, "-c", str(tmp_path / "config"), streams=False) as one:
        async with nodes(f"nats://me:secret@127.0.0.1:{one.port}", 2) as (a, b):
            await b.follow("hub/p")
            a.broker.publish("hub/p", b"blob")
            await until(lambda: b.blobs)
            for topic, item in ((history(ttl=1e9), Item(b"x" * 200_000)), (keyed(), Item(b"1", "k"))):
                await a.broker.declare(topic)
                await b.broker.watch(topic)
                for number in range(1, 9):
                    at = (await a.broker.append(topic, put(number, item))).at
                assert (await b.broker.read(topic, None)).last == at.offset
                await until(lambda at=at: b.offsets[-1] == at.offset)
            await b.broker.read(history("hub/u", history=200, ttl=1e9), None)
            await a.broker.append(keyed(), put(9, Item(b"", "", Verb.CLEAR)))
        assert caplog.text == ""
        async with nodes(f"nats://me:secret@127.0.0.1:{one.port}?prefix=other", 1) as (node,):
            node.broker.follow("hub/p")
            await until(lambda: node.refusals)
            assert "permissions violation" in node.refusals[0][1]


async def test_a_stream_that_is_full_refuses(server: Nats) -> None:
    topic = history()
    async with nodes(server.url) as (node,):
        await node.broker.append(topic, run(1, b"a"))
        config = (await api(node, "STREAM.INFO.fastws-history"))["config"]
        await api(node, "STREAM.UPDATE.fastws-history", config | {"max_bytes": 5000, "discard": "new"})
        with pytest.raises(BrokerRefused, match="maximum bytes exceeded"):
            await node.broker.append(topic, run(2, b"b" * 10_000))
        assert (await node.broker.append(topic, run(3, b"c"))).at.offset == 2


async def test_two_prefixes_do_not_meet(server: Nats) -> None:
    async with nodes(f"{server.url}?prefix=one") as (a,), nodes(f"{server.url}?prefix=two") as (b,):
        await a.broker.append(history(), run(1, b"x"))
        assert (await b.broker.read(history(), None)).entries == []


# -- histories ----------------------------------------------------------------------------------


async def test_two_nodes_append_to_one_topic_without_holes(server: Nats) -> None:
    async with nodes(server.url, 2) as (a, b):
        topic = history(history=1000)
        for node in (a, b):
            await node.broker.watch(topic)
        answers = []
        for number in range(1, 101):
            answers.append(a.broker.append(topic, run(number, b"a", b"A", sender="a.1")))
            answers.append(b.broker.append(topic, run(number, b"b", sender="b.1")))
            await asyncio.sleep(0)
        found = await asyncio.gather(*answers)
        assert len({answer.at for answer in found}) == 200
        await until(lambda: len(a.offsets) == len(b.offsets) == 300)
        assert a.offsets == b.offsets == list(range(1, 301))
        kept = await a.broker.read(topic, None)
        assert [entry.offset for entry in kept.entries] == a.offsets
        assert [entry.item.body for entry in kept.entries if entry.item.body in b"aA"] == [b"a", b"A"] * 100


async def test_a_run_that_is_larger_than_a_message_is_parted(server: Nats) -> None:
    async with nodes(server.url) as (node,):
        topic, bodies = history(), [bytes((number,)) * 400_000 for number in range(7)]
        assert (await node.broker.append(topic, run(1, *bodies))).at.offset == 7
        kept = await node.broker.read(topic, None)
        assert [entry.item.body for entry in kept.entries] == bodies
        assert (await node.broker.append(topic, run(1, *bodies))).verdict is Verdict.DUPLICATE
        largest = node.broker.max_bytes
        assert (await node.broker.append(topic, run(2, b"x" * largest))).at.offset == 8
        with pytest.raises(ItemTooLarge, match=f"a message may have {largest} bytes"):
            await node.broker.append(topic, run(3, b"x" * (largest + 1)))
        assert (await node.broker.append(topic, run(4, b"y"))).at.offset == 9


async def test_the_next_gateway_appends_nothing_twice(server: Nats) -> None:
    topic = history()
    async with nodes(server.url) as (node,):
        await node.broker.append(topic, run(1, b"a"))
        await node.broker.append(topic, run(2, b"b"))
    async with nodes(server.url) as (node,):
        again = [node.broker.append(topic, run(number, b"?")) for number in (1, 2, 3)]
        found = await asyncio.gather(*again)
        assert [answer.verdict for answer in found] == [Verdict.DUPLICATE, Verdict.DUPLICATE, Verdict.DONE]
        assert found[2].at.offset == 3


async def test_a_larger_history_makes_room_in_the_stream(server: Nats) -> None:
    async with nodes(server.url) as (node,):
        await node.broker.read(history(history=2, ttl=1.0), None)
        config = (await api(node, "STREAM.INFO.fastws-history"))["config"]
        assert config["max_msgs_per_subject"] == 2 and config["max_age"] == 3601 * 10**9
        await node.broker.read(history("hub/u", history=5, ttl=math.inf), None)
        config = (await api(node, "STREAM.INFO.fastws-history"))["config"]
        assert config["max_msgs_per_subject"] == 5 and config["max_age"] == 0


async def test_what_is_too_old_or_too_much_is_not_told_as_kept(server: Nats) -> None:
    async with nodes(server.url) as (node,):
        topic = history(history=3, ttl=300.0)
        for number in range(1, 7):
            await node.broker.append(topic, run(number, b"%d" % number))
        kept = await node.broker.read(topic, None)
        assert (kept.since, kept.last, kept.expired_to) == (3, 6, 0)
        kept = await node.broker.read(history(history=3, ttl=1e-9), None)
        assert (kept.since, kept.last, kept.expired_to, kept.entries) == (6, 6, 6, [])


@pytest.mark.parametrize("how", ["deleted", "deleted while it is away", "purged", "rolled back"])
async def test_data_that_is_gone_begins_a_new_epoch(server: Nats, how: str) -> None:
    topic = history()
    async with nodes(server.url, 2) as (a, b):
        await b.broker.watch(topic)
        await a.broker.append(topic, run(1, b"a"))
        before = await b.broker.read(topic, None)
        if how == "rolled back":
            server.stop()
            shutil.copytree(server.store, server.folder / "copy")
            server.start()
            await a.back()
            await b.back()
        await a.broker.append(topic, run(2, b"b"))
        if how in ("deleted", "purged"):
            await api(a, f"STREAM.{'DELETE' if how == 'deleted' else 'PURGE'}.fastws-history")
        else:
            server.stop()
            server.lose()
            if how == "rolled back":
                shutil.copytree(server.folder / "copy", server.store)
            server.start()
            await a.away()
            await a.back()
        after = (await a.broker.append(topic, run(3, b"c"))).at
        if how == "purged":  # nothing is given twice: the offsets go on
            assert after == Position(before.epoch, 3)
            return
        assert after.epoch != before.epoch and after.offset == 1
        await b.back()
        kept = await b.broker.read(topic, Position(before.epoch, 2))
        assert kept.epoch == after.epoch and [entry.item.body for entry in kept.entries] == [b"c"]


async def test_who_is_ahead_of_the_stream_begins_a_new_epoch(server: Nats) -> None:
    topic = history()
    async with nodes(server.url) as (node,):
        at = (await node.broker.append(topic, run(1, b"a"))).at
        kept = await node.broker.read(topic, at.after(1))
        assert kept.epoch != at.epoch and kept.last == 0


async def test_an_id_is_published_once_by_all_nodes(server: Nats) -> None:
    topic = history()
    async with nodes(server.url, 2) as (a, b):
        one = await a.broker.append(topic, run(1, b"x", sender="a", once="=id\ud800"))
        two = await b.broker.append(topic, run(1, b"x", sender="b", once="=id\ud800"))
        assert one.verdict is Verdict.DONE and two.verdict is Verdict.DUPLICATE and one.at == two.at


# -- keys ---------------------------------------------------------------------------------------


async def test_keys_of_any_text_are_kept_and_removed(server: Nats) -> None:
    topic = keyed()
    async with nodes(server.url, 2) as (a, b):
        await b.broker.watch(topic)
        keys = ["a.b", "*", ">", "ü ~%", "x" * 200]
        await a.broker.append(topic, put(1, *[Item(b"%d" % len(key), key) for key in keys]))
        kept = await b.broker.read(topic, None)
        assert [entry.item.key for entry in kept.entries] == keys
        at = (
            await a.broker.append(topic, put(2, Item(b"", "*", Verb.REMOVE), Item(b"", "no", Verb.REMOVE)))
        ).at
        kept = await b.broker.read(topic, Position(kept.epoch, kept.last))
        assert [(entry.offset, entry.item) for entry in kept.entries] == [
            (at.offset, Item(b"", "*", Verb.REMOVE))
        ]
        await a.broker.append(topic, put(3, Item(verb=Verb.CLEAR), Item(b"1", "z")))
        kept = await b.broker.read(topic, None)
        assert [entry.item.key for entry in kept.entries] == ["z"] and kept.cleared == at.offset + 1
        await until(lambda: len(b.offsets) == 8)
        assert b.offsets == sorted(b.offsets)


async def test_a_value_expires_unless_there_is_a_newer_one(server: Nats) -> None:
    topic = keyed()
    async with nodes(server.url, 2) as (a, b):
        old = (await a.broker.append(topic, put(1, Item(b"1", "k")))).at.offset
        new = (await b.broker.append(topic, put(1, Item(b"2", "k"), sender="b"))).at.offset
        expire = put(0, Item(b"", "k", Verb.EXPIRE, old), sender="")
        await a.broker.append(topic, expire)
        assert [entry.offset for entry in (await a.broker.read(topic, None)).entries] == [new]
        await a.broker.append(topic, put(0, Item(b"", "k", Verb.EXPIRE, new), sender=""))
        assert [entry.item.verb for entry in (await b.broker.read(topic, None)).entries] == [Verb.REMOVE]


async def test_old_removals_are_deleted_and_that_is_known(server: Nats) -> None:
    topic = keyed(ttl=1e-3)
    async with nodes(server.url, 2) as (a, b):
        await b.broker.watch(topic)
        await a.broker.append(topic, put(1, Item(b"1", "a"), Item(b"1", "b")))
        before = await b.broker.read(topic, None)
        await a.broker.append(topic, put(2, Item(b"", "a", Verb.REMOVE), Item(b"2", "b")))
        await asyncio.sleep(0.01)
        await a.broker.declare(topic)
        kept = await b.broker.read(topic, Position(before.epoch, before.last))
        assert kept.since == 0 and [entry.item.key for entry in kept.entries] == ["b"]
        assert kept.last == before.last + 2


async def test_a_clear_and_a_new_stream_are_told_to_who_watches(server: Nats) -> None:
    topic = keyed()
    async with nodes(server.url, 2) as (a, b):
        await b.broker.watch(topic)
        await a.broker.append(topic, put(1, Item(b"1", "a")))
        epoch = (await b.broker.read(topic, None)).epoch
        await api(a, "STREAM.DELETE.fastws-keys")
        at = (await a.broker.append(topic, put(2, Item(b"2", "b")))).at
        assert at.epoch != epoch
        await until(lambda: ("hub/k", at.epoch, []) in b.told)
        kept = await b.broker.read(topic, Position(epoch, 100))
        assert kept.epoch == at.epoch and [entry.item.key for entry in kept.entries] == ["b"]


async def test_what_was_published_before_a_first_connection_is_sent(server: Nats) -> None:
    """A gateway has workers before its broker is there."""
    other = Node(server.url)
    other.broker.publish("hub/t", b"1")
    async with nodes(server.url) as (a,):
        await a.follow("hub/t")
        await other.broker.start(other, 10)
        await until(lambda: a.blobs == [("hub/t", b"1")])
        await other.broker.close()


# -- settings -----------------------------------------------------------------------------------


async def test_another_node_with_other_settings_is_refused(
    server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastws.pubsub.brokers.nats.declaring.AGAIN_SECONDS", 0.0)
    async with nodes(server.url, 2) as (a, b):
        await a.broker.declare(history())
        await b.broker.declare(history())
        for _ in range(2):
            with pytest.raises(BrokerRefused, match="history='100'.* there, and history='50'.* here"):
                await b.broker.declare(history(history=50))
            await a.broker.declare(history())
        # Nobody says so any more.
        monkeypatch.setattr("fastws.pubsub.brokers.nats.declaring.HOLD_SECONDS", 0.0)
        with pytest.raises(BrokerRefused):
            await b.broker.declare(history(history=50))
        await b.broker.declare(history(history=50))


# -- away ---------------------------------------------------------------------------------------


async def test_while_it_is_away_much_waits_and_the_oldest_is_dropped(server: Nats) -> None:
    async with nodes(server.url, 2) as (a, b):
        await b.follow("hub/p")
        server.stop()
        await a.away()
        for number in range(12):
            a.broker.publish("hub/p", b"%02d" % number + b"x" * 1_000_000)
        with pytest.raises(fastws.BrokerUnavailable):
            await a.broker.declare(history())
        with pytest.raises(fastws.BrokerUnavailable):
            await a.broker.read(history(), None)
        waiting = a.broker.append(history(), run(1, b"x"))
        assert a.lost == ["hub/p"] * 4
        server.start()
        await until(lambda: len(b.blobs) >= 8)
        assert [blob[:2] for _, blob in b.blobs] == [b"%02d" % number for number in range(4, 12)]
        assert (await waiting).at.offset == 1


async def test_what_waits_is_sent_when_the_other_nodes_hear_again(
    server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with nodes(server.url, 2) as (a, b):
        await b.follow("hub/p")
        again = nats_broker.connect_again

        async def late(servers: Any, away: Any) -> Any:
            if servers is b.broker._servers:
                await a.back()
                await asyncio.sleep(0.1)
            return await again(servers, away)

        monkeypatch.setattr(nats_broker, "connect_again", late)
        server.stop()
        await a.away()
        a.broker.publish("hub/p", b"while it is away")
        server.start()
        await a.back()
        a.broker.publish("hub/p", b"when it is back")
        await until(lambda: len(b.blobs) == 2)
        assert [blob for _, blob in b.blobs] == [b"while it is away", b"when it is back"]


async def test_a_server_that_stands_still_is_left_and_found_again(server: Nats) -> None:
    topic = history()
    async with nodes(server.url, 2) as (a, b):
        await b.broker.watch(topic)
        server.kick(signal.SIGSTOP)
        answers = [a.broker.append(topic, run(number, b"%d" % number)) for number in range(1, 51)]
        await a.away()
        assert a.reasons[-1] == "no answer within 2 s"
        server.kick(signal.SIGCONT)
        found = await asyncio.gather(*answers)
        assert [answer.at.offset for answer in found] == list(range(1, 51))
        assert {answer.verdict for answer in found} == {Verdict.DONE}
        await b.back()
        kept = await b.broker.read(topic, None)
        assert [int(entry.item.body) for entry in kept.entries] == list(range(1, 51))


async def test_what_waits_at_the_end_is_handed_over_or_cancelled(server: Nats) -> None:
    topic = history()
    async with nodes(server.url) as (node,):
        answer = node.broker.append(topic, run(1, b"x"))
        await node.broker.close()
        assert (await answer).at.offset == 1
    async with nodes(server.url) as (node,):
        server.stop()
        await node.away()
        answer = node.broker.append(topic, run(2, b"y"))
        asking = asyncio.ensure_future(node.broker.read(topic, None))
        await node.broker.close()
        assert answer.cancelled()
        with pytest.raises(fastws.BrokerUnavailable):
            await asking
        server.start()


async def test_what_strangers_say_is_logged_and_harms_nobody(
    server: Nats, caplog: pytest.LogCaptureFixture
) -> None:
    async with nodes(server.url) as (node,):
        topic, keys = history(), keyed()
        await node.broker.watch(topic)
        await node.broker.watch(keys)
        at = (await node.broker.append(topic, run(1, b"x"))).at
        await node.broker.read(keys, None)
        line = node.broker._line
        assert line is not None
        for subject in ("fastws.h.hub/t", "fastws.k.hub/k.v.a", "fastws.k.hub/k.what", "fastws.k.hub/k.d"):
            await line.wait(await line.ask(subject, b"nonsense"))
        found = await node.broker.append(topic, run(2, b"y"))
        assert found.at.epoch != at.epoch or found.at.offset == 2
        await node.broker.append(keys, put(1, Item(b"1", "b")))
        await node.broker.declare(keys)
        await until(lambda: "nothing of fastws" in caplog.text)
        assert "Traceback" not in caplog.text
        assert json.dumps(node.reasons) == '[""]'
