"""What a worker and the keeper do with records that make no sense: one line, and the line is cut."""

from __future__ import annotations

import asyncio
import json
import socket
from hashlib import blake2b
from typing import Any

import pytest

from fastws.protocol.websocket.frames import encode
from fastws.pubsub.bus.records import Decoder, Kind, encode_record, hello
from fastws.pubsub.keeper.keeper import Keeper
from fastws.pubsub.keeper.records import Begin, begin_record, confirm_record, kept_record
from tests.kit import until
from tests.kit.keepers import Worker

KEY = b"default\0t"
FRAME = encode(1, "a")


def declare(key: bytes = KEY, **changes: Any) -> bytes:
    settings = {
        "history": 5,
        "history_bytes": 100,
        "key_ttl": float("inf"),
        "max_keys": 3,
        "merge": None,
        "mode": "stream",
        "ttl": 3.0,
    } | changes
    body = json.dumps(settings, sort_keys=True).encode()
    digest = int.from_bytes(blake2b(body, digest_size=8).digest(), "little")
    return encode_record(Kind.DECLARE, 1, key, 0, digest, body)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost:80\r\n\r\n", "no hello"),
        (hello(2), "it says that it is 2"),
        (hello(1) + encode_record(Kind.PUBLISH, 0, KEY, 1, 0, FRAME), "nobody has asked for"),
        (hello(1) + encode_record(Kind.FOLLOW, 1, KEY, 0, 0), "nobody has asked for"),
        (hello(1) + declare() + encode_record(Kind.BEGIN, 0, KEY, 0, 1), "kind 16"),
        (hello(1) + encode_record(Kind.RUN, 0, KEY, 1, 1, FRAME), "a run of a bus"),
        (hello(1) + encode_record(Kind.DECLARE, 1, KEY, 0, 0, b"{"), "no JSON"),
        (hello(1) + encode_record(Kind.DECLARE, 1, KEY, 0, 0, b"[]"), "another version"),
        (hello(1) + declare(history=0), "keeps nothing"),
        (hello(1) + declare(history=True), "a number that is none"),
        (hello(1) + declare(ttl=-1.0), "a ttl that is none"),
        (hello(1) + declare(ttl=float("nan")), "a ttl that is none"),
        (hello(1) + declare(merge=1), "a merge that is no text"),
        (hello(1) + declare(more=1), "another version"),
        (hello(1) + declare(mode="other"), "another version"),
        (hello(1) + declare(mode="keyed"), "keeps nothing"),
        (hello(1) + declare(max_keys=-1), "a number that is none"),
        (hello(1) + declare(key_ttl=0.0), "a key_ttl that is none"),
        (hello(1) + declare()[:-1] + b"]", "no JSON"),
        (hello(1) + encode_record(Kind.DECLARE, 1, KEY, 0, 1, declare()[29:]), "digest of others"),
        (hello(1) + declare(b"default\0a//b"), "cannot be the name of a topic"),
        (hello(1) + declare(b"default\0" + b"\xff"), "no text"),
        (hello(1) + declare() + encode_record(Kind.PUBLISH, 0, KEY, 2, 0, FRAME), "a run of 2 messages"),
        (hello(1) + declare() + encode_record(Kind.PUBLISH, 0, KEY, 1, 0, b"x" * 9), "no message"),
        (hello(1) + declare() + encode_record(Kind.CONFIRM, 0, KEY, 1, 1, b"\0"), "without a message"),
        (hello(1) + declare() + confirm_record(KEY, 1, "x", b"").encoded(), "a run of 1 messages"),
        (hello(1) + declare() + encode_record(Kind.CONFIRM, 0, KEY, 1, 1, b"\1\0\xff" + FRAME), "no text"),
    ],
)
async def test_a_worker_that_talks_nonsense_is_dropped(
    said: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    dropped: list[int] = []
    keeper = Keeper(dropped=dropped.append)
    ours, theirs = socket.socketpair()
    keeper.add_worker(theirs, 1)
    ours.send(said)
    await until(lambda: "is dropped" in caplog.text)
    assert dropped == [1]
    assert words in caplog.text
    assert caplog.text.count("worker 1 is dropped") == 1
    # Another one is served all the same.
    worker = Worker(2)
    await worker.bus.start()
    one, two = socket.socketpair()
    keeper.add_worker(one, 2)
    worker.connect(two)
    assert (await worker.hub.publish_confirmed("t", "a")).at.offset == 1
    await worker.bus.close()
    keeper.close()
    ours.close()


def begin(epoch: str = "e", first: int = 1, following: int = 1, asked: int = 1, expired: int = 0) -> bytes:
    return begin_record(KEY, Begin(epoch, first, following, asked, expired))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (hello(3), "no keeper"),
        (hello(0) + encode_record(Kind.TAKEN, 0, b"", 0, 9), "taken what was not sent"),
        (hello(0) + encode_record(Kind.PUBLISH, 0, KEY, 1, 0, FRAME), "not for a worker"),
        (hello(0) + encode_record(Kind.CONFIRMED, 0, KEY, 0, 1, b"nothing"), "a position that is none"),
        (hello(0) + encode_record(Kind.BEGIN, 0, KEY, 0, 1, b"x"), "a beginning that is none"),
        (hello(0) + begin(epoch=""), "offsets that are none"),
        (hello(0) + begin(first=2), "offsets that are none"),
        (hello(0) + begin(first=0), "offsets that are none"),
        (hello(0) + begin(asked=2), "offsets that are none"),
        (hello(0) + begin(expired=1), "offsets that are none"),
        (
            hello(0) + begin(following=3) + begin(following=3) + kept_record(KEY, 2, [FRAME], [0.0]),
            "offset 2",
        ),
        (hello(0) + begin(following=3) + kept_record(KEY, 1, [FRAME], [-1.0]), "of the future"),
        (hello(0) + begin(following=3) + encode_record(Kind.KEPT, 0, KEY, 1, 1, b"x"), "without their ages"),
        (hello(0) + begin() + encode_record(Kind.NUMBERED, 0, KEY, 1, 2, FRAME), "offset 2 after 0"),
        (
            hello(0) + begin() + encode_record(Kind.NUMBERED, 0, KEY, 1, 1, FRAME) + begin(),
            "what is here already",
        ),
    ],
)
async def test_a_keeper_that_talks_nonsense_is_dropped(
    said: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(1)
    await worker.bus.start()
    ours, theirs = socket.socketpair()
    worker.connect(theirs, 5)
    ann, _ = worker.client()
    decoder = Decoder()
    ours.settimeout(0)
    await until(lambda: worker.keeper.topics)
    await asyncio.sleep(0)
    assert [record.kind for record in decoder.feed(ours.recv(65536))] == [Kind.HELLO, Kind.DECLARE]
    ours.send(said)
    await until(lambda: "is dropped" in caplog.text)
    assert words in caplog.text and worker.failed == [5]
    # The next one is taken.
    keeper = Keeper()
    one, two = socket.socketpair()
    keeper.add_worker(one, 1)
    worker.connect(two)
    await worker.hub.publish_confirmed("t", "b")
    await until(lambda: ann.texts_so_far()[-1:] == ["b"])
    await worker.bus.close()
    keeper.close()
    ours.close()


async def test_an_error_of_the_keeper_costs_that_worker_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped: list[int] = []
    keeper = Keeper(dropped=dropped.append)
    ours, theirs = socket.socketpair()
    keeper.add_worker(theirs, 1)
    monkeypatch.setattr(keeper, "_declare", None)
    ours.send(hello(1) + declare())
    await until(lambda: dropped)
    assert "cannot take a record" in caplog.text and "the keeper failed" in caplog.text
    keeper.close()
    ours.close()


async def test_a_worker_that_was_killed_while_it_wrote_is_no_stranger() -> None:
    dropped: list[int] = []
    keeper = Keeper(dropped=dropped.append)
    ours, theirs = socket.socketpair()
    keeper.add_worker(theirs, 1)
    ours.send(hello(1) + declare()[:-5])
    ours.close()
    await until(lambda: not keeper._members)
    assert dropped == []
    keeper.close()
