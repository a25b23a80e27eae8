"""A document in memory: what it counts, and what becomes of it when pycrdt fails."""

from __future__ import annotations

from typing import Any

import pycrdt
import pytest

from fastws.yjs.document import EMPTY_UPDATE, BadUpdate, BrokenDocument, Document
from tests.yjs.editors import structs

HELLO = structs(1, 5, b"\x04\x01x")


class Fails:
    """A document of pycrdt in which everything fails."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def fail(self, *_: object) -> bytes:
        raise self.error

    apply_update = get_update = get_state = fail


@pytest.fixture
def document() -> Document:
    made = Document()
    assert made.apply(HELLO)
    return made


def test_what_changes_nothing(document: Document) -> None:
    assert document.apply(EMPTY_UPDATE) == []
    assert document.apply(HELLO) == []
    assert (document.size, document.waiting) == (2 * len(HELLO), 0)
    assert document.snapshot() == document.update_since(b"\x00")
    assert document.size == len(document.snapshot())


def test_what_waits_is_counted_until_it_comes(document: Document) -> None:
    late = structs(1, 3, b"\x04\x01y", clock=8)
    assert document.apply(late) == []
    assert document.waiting == 256
    assert document.apply(structs(2, 1, b"\x04\x01z"))
    assert document.waiting == 256
    assert document.apply(structs(1, 3, b"\x04\x01z", clock=5))
    assert document.waiting == 0


def test_changes_are_joined(document: Document) -> None:
    changes = document.apply(structs(1, 2, b"\x04\x01y", clock=5))
    more = document.apply(structs(1, 2, b"\x04\x01z", clock=7))
    (one,) = document.joined(changes + more)
    assert document.joined(changes) == changes
    other: Any = pycrdt.Doc()
    other.apply_update(HELLO)
    other.apply_update(one)
    assert str(other.get("text", type=pycrdt.Text)) == "xxxxxyyzz"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_who_stops_the_program_stops_it(document: Document, error: BaseException) -> None:
    document._doc = Fails(error)
    for call in (document.apply, document.update_since, document.news_of):
        with pytest.raises(type(error)):
            call(HELLO)
    with pytest.raises(type(error)):
        document._begin_again()


def test_a_state_vector_that_pycrdt_fails_at(document: Document) -> None:
    class Once(Fails):
        def get_update(self, *_: object) -> bytes:
            error, self.error = self.error, None  # type: ignore[assignment]
            if error is not None:
                raise error
            return HELLO

    document._doc = Once(RuntimeError("as a panic"))
    with pytest.raises(BadUpdate, match="as a panic"):
        document.update_since(b"\x00")
    assert document.update_since(b"\x00")


def test_a_document_that_cannot_be_had_any_more(document: Document) -> None:
    document._doc = Fails(RuntimeError("broken"))
    with pytest.raises(BrokenDocument, match="broken"):
        document.apply(HELLO)


def test_news_of_what_is_no_update(document: Document) -> None:
    with pytest.raises(BadUpdate):
        document.news_of(b"\x1b")
