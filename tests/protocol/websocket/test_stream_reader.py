"""Messages in parts: what the reader gives out, wherever its input is cut."""

from __future__ import annotations

import pytest

from fastws.protocol.websocket.events import Close, Fail, Fragment, More, Ping
from fastws.protocol.websocket.frames import FIN, encode, encode_close
from fastws.protocol.websocket.stream_reader import TURN_FRAMES, StreamReader

MASK = b"\x01\x02\x03\x04"


def frame(opcode: int, payload: bytes | str, fin: bool = True) -> bytes:
    return encode(opcode, payload, MASK, FIN if fin else 0)


def reader(limit: int | None = None, empty: int = 64) -> StreamReader:
    return StreamReader(limit, empty, client=False)


def test_a_part_for_each_read_not_for_each_frame() -> None:
    streaming = reader()
    assert streaming.receive(frame(1, "ab", False) + frame(0, "cd", False)) == [Fragment("abcd", False)]
    assert streaming.receive(frame(0, "ef") + frame(2, b"xy")) == [
        Fragment("ef", True),
        Fragment(b"xy", True),
    ]
    assert streaming.receive(frame(2, b"half")[:-2]) == [Fragment(b"ha", False)]
    assert streaming.pending


def test_only_the_last_part_may_be_empty() -> None:
    streaming = reader()
    assert streaming.receive(frame(1, "", False)) == []
    assert streaming.receive(frame(0, "")) == [Fragment("", True)]
    assert streaming.receive(frame(2, b"")) == [Fragment(b"", True)]
    assert streaming.receive(b"") == []


def test_control_frames_keep_their_place() -> None:
    data = (
        frame(1, "a", False)
        + frame(9, b"?")
        + frame(0, "b")
        + encode_close(1000, "bye", MASK)
        + frame(1, "c")
    )
    streaming = reader()
    expected = [Fragment("a", False), Ping(b"?"), Fragment("b", True), Close(1000, "bye")]
    assert streaming.receive(data) == expected
    assert streaming.receive(frame(1, "late")) == []


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
def test_wherever_the_input_is_cut_the_text_is_the_same(cut: int) -> None:
    text = "é€😀" * 50
    payload = text.encode()
    data = frame(1, payload[:101], False) + frame(0, payload[101:])
    streaming, parts = reader(), []
    for start in range(0, len(data), cut):
        parts += streaming.receive(memoryview(data)[start : start + cut])
    assert "".join(part.data for part in parts) == text
    assert [part.final for part in parts].count(True) == 1
    assert parts[-1].final


def test_rules_and_limits_hold() -> None:
    assert reader().receive(frame(1, b"\xff")) == [Fail(1007, "invalid UTF-8")]
    assert reader().receive(encode(1, "a"))[-1] == Fail(1002, "unmasked frame")
    assert reader(limit=3).receive(frame(2, b"ab", False) + frame(0, b"cd")) == [
        Fragment(b"ab", False),
        Fail(1009, "message too big"),
    ]
    events = reader(empty=2).receive(frame(2, b"", False) + frame(0, b"", False) * 2)
    assert events == [Fail(1008, "too many empty fragments")]


def test_many_small_frames_are_left_for_later_turns() -> None:
    count = TURN_FRAMES * 12
    data = frame(2, b"x", False) + frame(0, b"x", False) * (count - 2) + frame(0, b"x")
    streaming = reader()
    events = streaming.receive(data)
    size = turns = 0
    while True:
        turns += 1
        size += sum(len(event.data) for event in events if isinstance(event, Fragment))
        if not isinstance(events[-1], More):
            break
        events = streaming.receive(b"", 0)
    assert size == count
    assert turns > 3
    assert events[-1].final


def test_an_error_of_the_engine_is_raised_once_and_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    streaming = reader()

    def fail(data: object) -> None:
        raise MemoryError

    monkeypatch.setattr(streaming._connection, "receive_data", fail)
    with pytest.raises(MemoryError):
        streaming.receive(frame(1, "a"))
    monkeypatch.undo()
    assert streaming.receive(frame(1, "b")) == []


def test_values() -> None:
    assert Fragment("a", True) != Fragment("a", False)
    assert hash(Fragment("a", True)) == hash(Fragment("a", True))
    assert repr(Fragment(b"a", False)) == "Fragment(b'a', False)"
