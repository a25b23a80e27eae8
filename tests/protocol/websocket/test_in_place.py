"""The rest of a large message is read straight to where it will stay: the C reader's buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastws.protocol.websocket.deflate import Inflater
from fastws.protocol.websocket.events import Event, Fail, Ping
from tests.protocol.websocket.wire import frame, sized, wire

if TYPE_CHECKING:
    from fastws.protocol.websocket._frames import Reader
else:
    Reader = pytest.importorskip("fastws.protocol.websocket._frames").Reader

KIB, MIB = 1024, 1024 * 1024
FIRST = 100 * KIB


def client_reader(inflate: Any = None) -> Reader:
    return Reader(32 * MIB, 10, 10, inflate, client=True)


def feed(reader: Reader, data: bytes, sizes: list[int]) -> tuple[list[Event], int]:
    """As a transport: into the reader where it has room. All events, and how many bytes went so."""
    events: list[Event] = []
    at = in_place = turn = 0
    while at < len(data):
        part = data[at : at + sizes[turn % len(sizes)]]
        turn += 1
        if reader.room:
            with memoryview(reader.get_buffer(-1)) as view:
                assert not view.readonly and len(view) == reader.room
                part = part[: len(view)]
                view[: len(part)] = part
                # uvloop holds the view while it tells of what is in it.
                events += reader.received(len(part))
            in_place += len(part)
        else:
            events += reader.receive(part)
        at += len(part)
    return events, in_place


MESSAGES = {
    "binary": (0x82, bytes(range(256)) * (4 * KIB)),
    "ascii": (0x81, b"0123456789abcdef" * (64 * KIB)),
    "text": (0x81, "aé€\U0001f600".encode() * (100 * KIB)),
}


@pytest.mark.parametrize("kind", MESSAGES)
@given(sizes=st.lists(st.sampled_from([1, 7, 4 * KIB, 64 * KIB + 1, 300_001]), min_size=1, max_size=5))
@settings(max_examples=8, deadline=None)
def test_as_if_it_had_come_through_a_buffer(kind: str, sizes: list[int]) -> None:
    first, payload = MESSAGES[kind]
    data = wire([sized(first, payload), sized(0x89, b"p"), sized(0x81, b"after")], client=True)
    sizes = [max(sizes), *sizes]
    reader = client_reader()
    events, in_place = feed(reader, data, sizes if max(sizes) > KIB else [FIRST, *[5 * KIB] * 400])
    message = payload if first == 0x82 else payload.decode()
    assert events == [message, Ping(b"p"), "after"]
    assert reader.room == 0 and not reader.pending
    assert in_place > 0 or max(sizes) < 64 * KIB


def test_a_message_of_many_mebibytes_grows_on_the_way() -> None:
    payload = bytes(20 * MIB)
    events, in_place = feed(client_reader(), wire([sized(0x82, payload)], client=True), [FIRST])
    assert events == [payload]
    assert in_place > 15 * MIB


def test_bad_text_is_seen_in_the_read_that_brings_it() -> None:
    payload = b"x" * (300 * KIB) + b"\xff" + b"x" * (700 * KIB)
    data = wire([sized(0x81, payload)], client=True)
    reader = client_reader()
    events, _ = feed(reader, data[: 200 * KIB], [FIRST])
    assert events == []
    events, in_place = feed(reader, data[200 * KIB : 320 * KIB], [120 * KIB])
    assert events == [Fail(1007, "invalid UTF-8")] and in_place == 120 * KIB
    assert reader.room == 0 and reader.receive(b"x") == []


def begun(client: bool, *frames: Any, inflate: Any = None) -> Reader:
    """A reader that has got all of this but the last MiB."""
    reader = Reader(32 * MIB, 10, 10, inflate, client=client)
    data = wire(list(frames), client=client)
    assert reader.receive(data[: max(0, len(data) - MIB)]) == []
    return reader


LARGE = b"x" * (MIB + FIRST)


@pytest.mark.parametrize(
    "reader",
    [
        pytest.param(begun(True), id="nothing is under way"),
        pytest.param(begun(False, sized(0x82, LARGE)), id="masked"),
        pytest.param(begun(True, sized(0x02, LARGE)), id="the first fragment"),
        pytest.param(begun(True, frame("02 00"), sized(0x80, LARGE)), id="the last fragment"),
        pytest.param(begun(True, sized(0xC2, LARGE), inflate=Inflater()), id="compressed"),
        pytest.param(begun(True, sized(0x82, bytes(MIB))), id="only announced"),
    ],
)
def test_no_room(reader: Reader) -> None:
    assert reader.room == 0
    with pytest.raises(BufferError):
        memoryview(reader)
    with pytest.raises(ValueError, match="room"):
        reader.received(1)
    with pytest.raises(OverflowError):
        reader.received(-1)


def test_no_room_for_a_short_rest() -> None:
    data = wire([sized(0x82, bytes(MIB))], client=True)
    reader = client_reader()
    reader.receive(data[: -64 * KIB])
    assert reader.room == 64 * KIB
    assert reader.received(0) == []
    assert reader.received(1) == []
    assert reader.room == 0
    # What was never written is whatever it was; the message is whole all the same.
    assert len(reader.receive(data[-64 * KIB + 1 :])[0]) == MIB  # type: ignore[arg-type]


def test_a_view_outlives_the_reader() -> None:
    reader = begun(True, sized(0x82, LARGE))
    view = memoryview(reader)
    del reader
    view[:] = b"y" * len(view)
    assert bytes(view[-1:]) == b"y"
