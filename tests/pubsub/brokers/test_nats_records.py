"""What stands in the messages of the stream of histories."""

from __future__ import annotations

import pytest

from fastws.pubsub.brokers.base import Item
from fastws.pubsub.bus.records import BadRecord

pytest.importorskip("nats")

from fastws.pubsub.brokers.nats.records import Part, Stored, encode, read

FULL = Stored("e1", 7, [Part("a.1", 2**40, 0, [Item(b"x"), Item(b"")]), Part("b", 1, 5, [Item(b"y" * 300)])])


@pytest.mark.parametrize("stored", [Stored("e", 1, []), FULL], ids=["a beginning", "two runs"])
def test_a_message_says_what_was_put_in(stored: Stored) -> None:
    assert read(encode(stored)) == stored


def test_offsets_go_on_from_run_to_run() -> None:
    assert FULL.last == 9 and Stored("e", 1, []).last == 0
    assert [offset for offset, _ in FULL.items()] == [7, 8, 9]


def test_what_is_cut_is_refused() -> None:
    for size in range(len(encode(FULL))):
        with pytest.raises(BadRecord):
            read(encode(FULL)[:size])


def test_what_is_of_another_version_is_refused() -> None:
    for data in (b"fwh2" + encode(FULL)[4:], encode(FULL) + b"x", encode(FULL._replace(first=0))):
        with pytest.raises(BadRecord):
            read(data)
