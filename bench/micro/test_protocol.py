"""The handshake, and the machine with messages going through it."""

from __future__ import annotations

from typing import Any

from websockets.server import ServerProtocol
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection

from bench.micro.material import HANDSHAKE, MASK, STREAMS
from fastws.config import Limits
from fastws.protocol.websocket.events import Ping
from fastws.protocol.websocket.frames import Opcode, encode
from fastws.protocol.websocket.handshake import check_upgrade
from fastws.protocol.websocket.machine import Machine

LIMITS = Limits()


def opened() -> Machine:
    machine = Machine.server(LIMITS)
    (request,) = machine.receive(HANDSHAKE, len(HANDSHAKE))
    assert check_upgrade(request) is None
    assert machine.accept(request, LIMITS).startswith(b"HTTP/1.1 101 ")
    return machine


def test_handshake(benchmark: Any) -> None:
    benchmark.group = "handshake"
    benchmark(opened)


def test_handshake_by_wsproto_itself(benchmark: Any) -> None:
    benchmark.group = "handshake"

    def handshake() -> bytes:
        connection = WSConnection(ConnectionType.SERVER)
        connection.receive_data(HANDSHAKE)
        assert list(connection.events())
        return connection.send(AcceptConnection())

    assert benchmark(handshake).startswith(b"HTTP/1.1 101 ")


def test_handshake_by_websockets(benchmark: Any) -> None:
    benchmark.group = "handshake"

    def handshake() -> bytes:
        protocol = ServerProtocol()
        protocol.receive_data(HANDSHAKE)
        (request,) = protocol.events_received()
        protocol.send_response(protocol.accept(request))  # type: ignore[arg-type]
        return protocol.data_to_send()[0]

    assert benchmark(handshake).startswith(b"HTTP/1.1 101 ")


def test_machine_echo(benchmark: Any) -> None:
    benchmark.group = "machine: echo of 20 B"
    machine, data = opened(), STREAMS["20 B"]

    def echo() -> list[bytes]:
        return [machine.encode(message) for message in machine.receive(data, len(data))]

    assert len(benchmark(echo)) == 1


def test_machine_ping(benchmark: Any) -> None:
    benchmark.group = "machine: ping answered"
    machine, data = opened(), encode(int(Opcode.PING), b"are you there", MASK)

    def answer() -> bytes | None:
        (event,) = machine.receive(data, len(data))
        assert type(event) is Ping
        return machine.answer(event)

    assert benchmark(answer) == encode(int(Opcode.PONG), b"are you there")
