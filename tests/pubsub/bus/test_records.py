"""Records, whole and cut anywhere, and what is none."""

from __future__ import annotations

import pytest

from fastws.protocol.websocket.frames import encode
from fastws.pubsub.bus.records import (
    HEADER,
    MAGIC,
    MAX_RECORD_BYTES,
    VERSION,
    BadRecord,
    Decoder,
    Kind,
    Record,
    encode_record,
    hello,
    split_frames,
)

RUN = encode_record(Kind.RUN, 0, b"h\0t", 2, 7, encode(1, "ab") + encode(2, b"c" * 300))
STREAM = hello(5) + RUN + encode_record(Kind.STATE, 0, b"h\0t", 0, 9)


@pytest.mark.parametrize("step", [1, 2, 7, 23, 24, 10_000])
def test_a_stream_cut_anywhere(step: int) -> None:
    decoder, found = Decoder(), list[Record]()
    for at in range(0, len(STREAM), step):
        found += decoder.feed(STREAM[at : at + step])
    assert [(record.kind, record.number) for record in found] == [(0, 5), (1, 7), (4, 9)]
    assert split_frames(found[1].body, 2) == [encode(1, "ab"), encode(2, b"c" * 300)]
    assert not decoder.is_torn


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "no hello"),
        (RUN, "no hello"),
        (encode_record(Kind.HELLO, 1, MAGIC, 0, 1), "version 1"),
        (encode_record(Kind.HELLO, VERSION, b"fastws-bux", 0, 1), "no hello"),
        (hello(1) + hello(1), "unknown kind 0"),
        (hello(1) + encode_record(99, 0, b"h\0t", 0, 0), "unknown kind 99"),
        (hello(1) + encode_record(Kind.RUN, 1, b"h\0t", 1, 1), "flags 1"),
        (hello(1) + encode_record(Kind.RUN, 0, b"h\0t", 0, 1), "without messages"),
        (hello(1) + encode_record(Kind.RUN, 0, b"ht", 1, 1, b"x"), "without a topic"),
        (hello(1) + encode_record(Kind.GAP, 0, b"h\0t", 1, 1, b"x"), "with a body"),
        (hello(1) + HEADER.pack(MAX_RECORD_BYTES + 1, 1, 0, 3, 1, 1), "bytes with a key"),
        (hello(1) + HEADER.pack(3, 1, 0, 3, 1, 1), "bytes with a key"),
    ],
)
def test_what_is_no_record(bad: bytes, words: str) -> None:
    with pytest.raises(BadRecord, match=words):
        Decoder().feed(bad)


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b"", 1),
        (b"\x81", 1),
        (b"\x89\0", 1),
        (b"\x01\0", 1),
        (b"\xc1\0", 1),
        (b"\x81\x80mask", 1),
        (b"\x81\x05abc", 1),
        (b"\x81\x7f" + b"\xff" * 8, 1),
        (b"\x81\x7e\0", 1),
        (encode(1, "a") * 2, 1),
        (encode(1, "a"), 2),
    ],
)
def test_runs_that_are_none(body: bytes, count: int) -> None:
    with pytest.raises(BadRecord):
        split_frames(body, count)
