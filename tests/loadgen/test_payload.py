"""The frame of a run, read back by engines that were not written for it."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol, Opcode

from fastws.loadgen.payload import filler, make_payload
from fastws.loadgen.plan import STAMP_SIZE, Plan, Scenario

SIZES = [9, 20, 125, 126, 127, 1000, 65_535, 65_536]


def plan(**values: Any) -> Plan:
    return Plan(**{"url": "", "scenario": Scenario.ECHO, **values})


def read(frame: bytes, *, deflate: bool = False) -> tuple[Opcode, str | bytes]:
    """What wsproto makes of a client's frame."""
    extension = PerMessageDeflate()
    extension.accept("permessage-deflate; client_no_context_takeover")
    protocol = FrameProtocol(client=False, extensions=[extension] if deflate else [])
    protocol.receive_bytes(frame)
    frames = list(protocol.received_frames())
    assert frames[-1].message_finished
    parts = [frame.payload for frame in frames]
    if frames[0].opcode is Opcode.TEXT:
        return Opcode.TEXT, "".join(map(str, parts))
    return frames[0].opcode, b"".join(bytes(part) for part in parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("scenario", [Scenario.ECHO, Scenario.FANOUT])
@pytest.mark.parametrize("size", SIZES)
def test_a_frame_is_what_was_asked_for(size: int, scenario: Scenario, deflate: bool) -> None:
    made = make_payload(plan(size=size, scenario=scenario, deflate=deflate))
    opcode, text = read(made.frame, deflate=deflate)
    assert (opcode, len(text), made.size) == (Opcode.TEXT, size, size)
    assert str(text).startswith("~00000000") == (scenario is Scenario.FANOUT)


@pytest.mark.parametrize("deflate", [False, True])
def test_the_stamp_can_be_changed_in_place(deflate: bool) -> None:
    made = make_payload(plan(size=500, scenario=Scenario.FANOUT, deflate=deflate))
    frame = bytearray(made.frame)
    for i, (char, mask) in enumerate(zip(b"0123wxYZ", made.stamp_mask, strict=True)):
        frame[made.stamp_at + i] = char ^ mask
    _, text = read(bytes(frame), deflate=deflate)
    assert str(text)[:STAMP_SIZE] == "~0123wxYZ"


@pytest.mark.parametrize("deflate", [False, True])
def test_a_message_of_ones_own_carries_the_stamp_where_it_says(deflate: bool) -> None:
    made = make_payload(plan(scenario=Scenario.FANOUT, message='{"say":"{stamp}"}', deflate=deflate))
    assert read(made.frame, deflate=deflate)[1] == '{"say":"~00000000"}'
    assert (
        bytes(a ^ b for a, b in zip(made.frame[made.stamp_at :], made.stamp_mask, strict=False))
        == b"00000000"
    )


def test_a_message_without_a_stamp_keeps_its_words() -> None:
    assert read(make_payload(plan(message="hello")).frame)[1] == "hello"
    assert read(make_payload(plan(message="<{stamp}>")).frame)[1] == "<~00000000>"


def test_empty_messages_are_messages() -> None:
    assert read(make_payload(plan(size=0)).frame)[1] == ""
    assert read(make_payload(plan(size=0, deflate=True)).frame, deflate=True)[1] == ""


def test_noise_is_binary_and_text_compresses() -> None:
    noise = filler(10_000, binary=True)
    text = filler(10_000, binary=False)
    assert read(make_payload(plan(size=100, binary=True)).frame)[0] is Opcode.BINARY
    assert len(zlib.compress(noise)) > 9_900
    assert len(zlib.compress(text)) < 4_000
    assert text == filler(10_000, binary=False)


@pytest.mark.parametrize("separator", ["\n", " ", "\0"])
@pytest.mark.parametrize("binary", [False, True])
def test_a_message_does_not_contain_the_separator(separator: str, binary: bool) -> None:
    made = filler(5000, binary=binary, without=separator)
    assert len(made) == 5000 and separator.encode() not in made


def test_the_mask_is_random_and_never_zero() -> None:
    masks = {make_payload(plan(size=0)).frame[2:6] for _ in range(50)}
    assert len(masks) > 40 and all(any(mask) for mask in masks)


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize(
    ("more", "offset", "digits"),
    [
        ({}, 0, 8),
        ({"size": 3}, 0, 3),
        ({"size": 0}, 0, 0),
        ({"message": 'a"{stamp}"b'}, 3, 8),
        ({"message": "hi"}, 2, 0),
    ],
)
def test_a_nonce_has_its_place_in_an_echoed_message(
    more: dict[str, Any], offset: int, digits: int, deflate: bool
) -> None:
    made = make_payload(plan(deflate=deflate, **more), mask=b"\1\2\3\4")
    assert (made.nonce_offset, made.nonce_len, made.stamp_at) == (offset, digits, -1)
    frame = bytearray(made.frame)
    for i in range(digits):
        frame[made.nonce_at + i] = ord("x") ^ made.stamp_mask[i]
    content = str(read(bytes(frame), deflate=deflate)[1])
    assert content[offset : offset + digits] == "x" * digits
    assert len(content) == made.size


def test_messages_that_may_come_back_changed_have_no_nonce() -> None:
    for more in ({"any_reply": True}, {"merged_by": "-"}, {"scenario": Scenario.ROOM}):
        assert make_payload(plan(**more)).nonce_len == 0


def test_a_large_message_is_made_at_once_and_is_the_same_each_time() -> None:
    made = filler(3_000_000, binary=False)
    assert len(made) == 3_000_000 and made.endswith(b".")
    assert made[:500_000] == filler(500_001, binary=False)[:500_000]
