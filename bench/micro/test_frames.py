"""Frames in and out: each engine, and what wsproto and websockets do for the same bytes."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.frames import Frame
from websockets.frames import Opcode as WebsocketsOpcode
from websockets.protocol import Protocol, Side
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from bench.micro.material import MASK, STREAMS, TEXT, engines

ENGINES = engines()
LIMITS = (1 << 20, 16_384, 64)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("name", ENGINES)
def test_scan(benchmark: Any, name: str, stream: str) -> None:
    benchmark.group = f"scan {stream}"
    reader = ENGINES[name].Reader(*LIMITS, None, client=False)
    assert benchmark(reader.receive, STREAMS[stream])


@pytest.mark.parametrize("stream", STREAMS)
def test_scan_by_wsproto_itself(benchmark: Any, stream: str) -> None:
    benchmark.group = f"scan {stream}"
    connection = Connection(ConnectionType.SERVER)

    def scan(data: bytes) -> list[Any]:
        connection.receive_data(data)
        return list(connection.events())

    assert benchmark(scan, STREAMS[stream])


@pytest.mark.parametrize("stream", STREAMS)
def test_scan_by_websockets(benchmark: Any, stream: str) -> None:
    benchmark.group = f"scan {stream}"
    protocol = Protocol(Side.SERVER, max_size=1 << 20)

    def scan(data: bytes) -> list[Any]:
        protocol.receive_data(data)
        return protocol.events_received()

    assert benchmark(scan, STREAMS[stream])


@pytest.mark.parametrize("name", ENGINES)
def test_scan_of_a_frame_cut_in_three(benchmark: Any, name: str) -> None:
    benchmark.group = "scan 20 B cut in three"
    reader, data = ENGINES[name].Reader(*LIMITS, None, client=False), STREAMS["20 B"]

    def scan() -> list[Any]:
        return reader.receive(data[:1]) + reader.receive(data[1:12]) + reader.receive(data[12:])

    assert len(benchmark(scan)) == 1


@pytest.mark.parametrize("size", [20, 1024, 65536])
@pytest.mark.parametrize("mask", [None, MASK], ids=["server", "client"])
@pytest.mark.parametrize("name", ENGINES)
def test_encode(benchmark: Any, name: str, mask: bytes | None, size: int) -> None:
    benchmark.group = f"encode {size} B, {'client' if mask else 'server'}"
    assert len(benchmark(ENGINES[name].encode, TEXT, "t" * size, mask)) > size


@pytest.mark.parametrize("size", [20, 1024, 65536])
def test_encode_by_wsproto_itself(benchmark: Any, size: int) -> None:
    benchmark.group = f"encode {size} B, server"
    connection = Connection(ConnectionType.SERVER)
    assert len(benchmark(connection.send, TextMessage("t" * size))) > size


@pytest.mark.parametrize("size", [20, 1024, 65536])
def test_encode_by_websockets(benchmark: Any, size: int) -> None:
    benchmark.group = f"encode {size} B, server"
    text = "t" * size

    def serialize() -> bytes:
        return Frame(WebsocketsOpcode.TEXT, text.encode()).serialize(mask=False, extensions=[])

    assert len(benchmark(serialize)) > size
