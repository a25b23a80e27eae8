"""Bytes on the wire for either role, made without the code under test, and the engines to be tested."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from fastws.protocol.websocket.deflate import Inflater
from fastws.protocol.websocket.events import Event, More
from fastws.protocol.websocket.frames import Engine, engine

MASK = bytes.fromhex("37fa213d")


def _engines() -> list[Any]:
    reference = pytest.param(engine("wsproto"), id="wsproto")
    try:
        return [pytest.param(engine("c"), id="c"), reference]
    except ImportError:
        if os.environ.get("CI"):
            raise
        return [pytest.param(None, id="c", marks=pytest.mark.skip("the C engine is not built")), reference]


#: Both engines in one process; the C engine must be there in CI.
ENGINES = _engines()
BOTH_ENGINES = pytest.mark.parametrize("engine_", ENGINES)
BOTH_ROLES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
#: Those that are built, for a test that runs its rows on each.
BUILT: list[Engine] = [param.values[0] for param in ENGINES if param.values[0] is not None]


@dataclass(frozen=True)
class Frame:
    """One frame, or the beginning of one: its header as an unmasked sender writes it, and its payload."""

    head: bytes
    payload: bytes = b""

    def wire(self, *, masked: bool) -> bytes:
        if not masked:
            return self.head + self.payload
        head = bytes([self.head[0], self.head[1] | 0x80]) + self.head[2:]
        return head + MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(self.payload))


@dataclass(frozen=True)
class Case:
    """What a peer sends, and the events that it must give, the same in both roles."""

    name: str
    frames: Sequence[Frame]
    events: Sequence[Event]
    limits: dict[str, int] = field(default_factory=dict)
    deflate: bool = False
    #: What is incomplete at the end: nothing, a message between two frames, or a frame.
    pending: Literal["", "message", "frame"] = ""


def frame(head: str, payload: bytes = b"") -> Frame:
    """A frame whose header stands there in hexadecimal digits."""
    return Frame(bytes.fromhex(head), payload)


def sized(first: int, payload: bytes) -> Frame:
    """A frame with the right length in its header."""
    size = len(payload)
    if size <= 125:
        return Frame(bytes([first, size]), payload)
    if size <= 0xFFFF:
        return Frame(bytes([first, 126]) + size.to_bytes(2, "big"), payload)
    return Frame(bytes([first, 127]) + size.to_bytes(8, "big"), payload)


def wire(frames: Iterable[Frame], *, client: bool) -> bytes:
    """What a reader in the role ``client`` is sent: a client's frames are masked (RFC 6455, section 5.1)."""
    return b"".join(one.wire(masked=not client) for one in frames)


def new_reader(engine: Engine, *, client: bool, deflate: bool = False, **limits: int) -> Any:
    """A reader with the defaults of the tests: 1 MiB, 1,000 fragments, 4 empty ones in a row."""
    return engine.Reader(
        limits.get("max_message_size", 1024 * 1024),
        limits.get("max_fragments", 1000),
        limits.get("max_empty_fragments", 4),
        Inflater() if deflate else None,
        client=client,
    )


def receive_all(reader: Any, data: bytes) -> list[Event]:
    """The events of ``data``; wherever the reader stops because it has inflated enough, it goes on."""
    events: list[Event] = reader.receive(data)
    while events and isinstance(events[-1], More):
        events[-1:] = reader.receive(b"")
    return events


def feed(reader: Any, data: bytes, *, step: int | None = None) -> list[Event]:
    """The events of ``data``, whole or in pieces of ``step`` bytes."""
    size = step or max(len(data), 1)
    return [event for at in range(0, len(data), size) for event in receive_all(reader, data[at : at + size])]
