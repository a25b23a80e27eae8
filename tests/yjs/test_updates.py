"""Updates taken apart: the pieces make the same document, and what is no update is refused."""

from __future__ import annotations

import random
from typing import Any

import pycrdt
import pytest

from fastws.yjs.protocol import BadMessage
from fastws.yjs.updates import Pieces
from tests.rows import all_rows
from tests.yjs.editors import number, structs


def everything() -> Any:
    """A document with content of each kind that pycrdt writes."""
    doc: Any = pycrdt.Doc(client_id=5)
    text = doc.get("text", type=pycrdt.Text)
    text += "hello wörld 🎈"
    text.format(0, 3, {"bold": True, "size": 3})
    del text[2:4]
    values = [1, -70000, 2**40, 1.5, 0.1, True, False, None, "text", {"a": [1, {"b": "c"}]}, b"bytes"]
    doc["list"] = pycrdt.Array([*values, pycrdt.Map({"nested": pycrdt.Text("deep")})])
    doc["map"] = pycrdt.Map({"key": "value", "other": pycrdt.Array([1])})
    doc["map"]["key"] = "newer"
    doc["xml"] = pycrdt.XmlFragment([pycrdt.XmlElement("p", {"class": "x"}, [pycrdt.XmlText("words")])])
    doc["sub"] = pycrdt.Map({"doc": pycrdt.Doc()})
    text.insert_embed(1, {"image": "x.png"})
    other: Any = pycrdt.Doc(client_id=6)
    other.apply_update(doc.get_update())
    exclaimed = other.get("text", type=pycrdt.Text)
    exclaimed += "!"
    doc.apply_update(other.get_update())
    return doc


def in_pieces(update: bytes, most: int) -> Any:
    doc: Any = pycrdt.Doc()
    pieces = Pieces(update)
    while (piece := pieces.take(most)) is not None:
        doc.apply_update(piece)
    return doc


def plain(value: Any) -> Any:
    return value.to_py()


def state(doc: Any) -> dict[int, int]:
    """The state vector, whose order is none."""
    data, found = doc.get_state(), {}
    values: list[int] = []
    value = shift = 0
    for byte in data:
        value |= (byte & 127) << shift
        shift = shift + 7 if byte > 127 else 0
        if byte < 128:
            values.append(value)
            value = 0
    found = dict(zip(values[1::2], values[2::2], strict=True))
    return found


@pytest.mark.parametrize("most", [1, 2, 7, 1000])
def test_pieces_make_the_same_document(most: int) -> None:
    doc = everything()
    again = in_pieces(doc.get_update(), most)
    assert state(again) == state(doc)
    for name, kind in {"text": pycrdt.Text, "list": pycrdt.Array, "map": pycrdt.Map}.items():
        assert plain(again.get(name, type=kind)) == plain(doc[name])


@pytest.mark.parametrize("seed", range(5))
def test_pieces_of_random_text(seed: int) -> None:
    chance = random.Random(seed)
    docs: list[Any] = [pycrdt.Doc(client_id=client) for client in (3, 900, 70_000)]
    texts = [doc.get("text", type=pycrdt.Text) for doc in docs]
    for _ in range(60):
        which = chance.randrange(3)
        text = texts[which]
        length = len(str(text))
        if length > 10 and chance.random() < 0.3:
            at = chance.randrange(length - 3)
            del text[at : at + chance.randrange(1, 4)]
        else:
            text.insert(chance.randrange(length + 1), chance.choice(["a", "bc", "def"]))
        if chance.random() < 0.2:
            docs[which].apply_update(docs[chance.randrange(3)].get_update())
    for doc in docs:
        for other in docs:
            doc.apply_update(other.get_update())
    again = in_pieces(docs[0].get_update(), chance.randrange(1, 9))
    assert str(again.get("text", type=pycrdt.Text)) == str(texts[0]) == str(texts[1]) == str(texts[2])
    assert state(again) == state(docs[0])


def test_an_update_that_ends_early_or_late() -> None:
    update = everything().get_update()
    with all_rows() as row:
        for end in range(len(update)):
            with row("cut at", end), pytest.raises(BadMessage):
                drain(update[:end])
    with pytest.raises(BadMessage, match="behind its end"):
        drain(update + b"\x00")


def drain(update: bytes) -> int:
    pieces = Pieces(update)
    count = 0
    while pieces.take(3) is not None:
        count += 1
    return count


BAD = {
    "content of an unknown kind": structs(1, 1, b"\x0b\x00"),
    "a type of an unknown kind": structs(1, 1, b"\x07\x07"),
    "a value of an unknown kind": structs(1, 1, b"\x08\x01\x10"),
    "too deep": structs(1, 1, b"\x08\x01" + b"\x75\x01" * 60 + b"\x7e"),
    "UTF-8": structs(1, 1, b"\x04\x02\xc3\x28"),
    "cut short": structs(1, 1, b"\x08\x01\x7b"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_content(what: str) -> None:
    with pytest.raises(BadMessage):
        drain(BAD[what])


KINDS = {
    "garbage": b"\x00\x03",
    "skipped": b"\x0a\x02",
    "deleted": b"\x01\x05",
    "JSON": b"\x02\x02\x011\x04null",
    "embedded": b"\x05\x04null",
    "hook": b"\x07\x05\x01h",
    "undefined": b"\x08\x01\x7f",
    "big": b"\x08\x01\x7a" + b"\x00" * 8,
}


@pytest.mark.parametrize("kind", KINDS)
def test_content_that_is_rare(kind: str) -> None:
    body = KINDS[kind]
    if kind in ("garbage", "skipped"):
        assert drain(number(1) + number(1) + number(1) + number(0) + body + number(0)) == 1
    else:
        assert drain(structs(1, 4, body)) == 2


def test_a_parent_by_its_place() -> None:
    """A struct below another one says so by two numbers."""
    below = number(1) + number(1) + number(7) + number(0) + b"\x24\x00\x05\x00\x01k\x01x" + number(0)
    assert drain(below) == 1
