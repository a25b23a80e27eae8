"""How messages travel: bytes in, bytes out."""

from __future__ import annotations

import pytest

from fastws.protocol.websocket.frames import Opcode, encode
from fastws.pubsub.brokers.envelope import BLOB_BYTES, blobs, body_of, encode_blob, kept_of, read_blob
from fastws.pubsub.bus.records import BadRecord
from fastws.pubsub.notes import JSON_NOTE, note_of

NODE = b"8 bytes."
KEPT = {
    "text": (encode(Opcode.TEXT, "ü"), "tü".encode()),
    "binary": (encode(Opcode.BINARY, b"\0"), b"b\0"),
    "json": (JSON_NOTE + encode(Opcode.TEXT, "{}"), b"j{}"),
    "an author's": (note_of("me") + encode(Opcode.TEXT, "1"), b"J\x02me1"),
    "binary of an author": (note_of("me") + encode(Opcode.BINARY, b""), b"B\x02me"),
    "binary of nobody's name": (note_of(None) + encode(Opcode.BINARY, b"x"), b"B\0x"),
    "large": (encode(Opcode.TEXT, "x" * 70_000), b"t" + b"x" * 70_000),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_message_is_the_same_behind_a_broker(name: str) -> None:
    kept, body = KEPT[name]
    assert body_of(kept) == body
    assert kept_of(body) == kept


@pytest.mark.parametrize(
    "body", [b"", b"x", b"J", b"J\x05abc", b"J\xff" + b"a" * 300, b"J\x01\xff1", b"t\xff"]
)
def test_what_is_no_message(body: bytes) -> None:
    with pytest.raises(BadRecord):
        kept_of(body)


def test_a_blob() -> None:
    bodies = [b"t1", b"b", b"t" + b"x" * 300]
    assert read_blob(encode_blob(NODE, 3, 7, bodies)) == (NODE, 3, 7, bodies)
    assert read_blob(encode_blob(NODE, 3, 7)) == (NODE, 3, 7, [])


def test_what_is_no_blob() -> None:
    whole = encode_blob(NODE, 1, 1, [b"t1", b"t22"])
    for cut in range(len(whole)):
        with pytest.raises(BadRecord):
            read_blob(whole[:cut])
    with pytest.raises(BadRecord, match="another version of fastws speaks b'fws2'"):
        read_blob(b"fws2 has blobs of its own")
    with pytest.raises(BadRecord, match="no blob"):
        read_blob(b"f" + whole)


def run_of(*payloads: str) -> tuple[bytes, int]:
    return b"".join(encode(Opcode.TEXT, text) for text in payloads), len(payloads)


def test_a_run_is_cut_where_a_blob_is_full() -> None:
    tens = [b"t" + b"a" * 10, b"t" + b"b" * 10]
    run = run_of("a" * 10, "b" * 10)
    assert list(blobs(*run, BLOB_BYTES + 11)) == [(0, tens[:1]), (0, tens[1:])]
    assert list(blobs(*run, 10_000)) == [(0, tens)]


def test_what_fits_in_no_blob_is_counted() -> None:
    most = BLOB_BYTES + 11
    assert list(blobs(*run_of("a", "x" * 11, "y" * 11, "b", "z" * 11), most)) == [
        (0, [b"ta"]),
        (2, [b"tb"]),
        (1, []),
    ]
