"""The C engine against bytes that a scripted server sends: whole, and cut at every place."""

from __future__ import annotations

import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fastws.loadgen._loadgen import Generator
from fastws.loadgen.errors import KINDS
from fastws.loadgen.plan import Plan, Scenario
from fastws.loadgen.target import Target, resolve
from fastws.loadgen.worker import Share, make_generator
from tests.loadgen.servers import accept, raw_server

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
#: Messages of a fan-out that other processes publish: this one only listens.
LISTEN = Plan(url="", scenario=Scenario.FANOUT, clients=2, processes=2)
NOW = 0
#: A run ends when the server has been silent for so long; what it says in parts comes 0.05 s apart.
SILENCE = 0.5


def stamp(at: int = NOW) -> bytes:
    return b"~" + bytes(ord(ALPHABET[at >> (6 * i) & 63]) for i in range(7, -1, -1))


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True, rsv1: bool = False) -> bytes:
    first = (0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    return (
        struct.pack("!BBH", first, 126, size) if size < 65536 else struct.pack("!BBQ", first, 127, size)
    ) + payload


def deflate(payload: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def generator(url: str, plan: Plan, clients: int, process: int = 1) -> Generator:
    """One that is the last of ``plan``'s processes and has this many clients."""
    whole = replace(plan, url=url, clients=clients * plan.processes)
    target = Target(
        address="127.0.0.1",
        port=int(url.rsplit(":")[-1].strip("/")),
        tls=False,
        name="127.0.0.1",
        host="localhost",
        path="/",
    )
    return make_generator(Share(whole, (target,), process % plan.processes, time.monotonic_ns()))


def listen(url: str, plan: Plan, clients: int) -> tuple[dict[str, int], list[tuple[int, int, int]]]:
    """Counters and errors of clients that only listen, until nothing more comes."""
    one = generator(url, plan, clients)
    assert one.open(64) <= clients
    begin = time.monotonic_ns()
    counters, before = one.counters(), None
    while counters != before:
        before = counters
        now = time.monotonic_ns()
        one.run(begin=begin, start=now, end=now + int(SILENCE * 1e9), drain=0.0, until_drained=False)
        counters = one.counters()
    errors = one.errors()
    one.close(0.1)
    return counters, errors


def say(stream: bytes, *, cut: bool, extra: bytes = b"") -> Callable[[socket.socket, int], None]:
    """A server that sends ``stream`` after its 101, to each client cut at another place."""

    def talk(connection: socket.socket, number: int) -> None:
        accept(connection, extra)
        connection.sendall(stream[: number if cut else len(stream)])
        if cut:
            time.sleep(0.05)
            connection.sendall(stream[number:])
        while connection.recv(4096):
            pass

    return talk


MESSAGE = stamp() + b" and more"
WITH_DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"

#: name: (plan, stream, messages that count, messages that do not)
STREAMS: dict[str, tuple[Plan, bytes, int, int]] = {
    "text": (LISTEN, frame(MESSAGE), 1, 0),
    "binary": (LISTEN, frame(MESSAGE, 2), 1, 0),
    "several": (LISTEN, frame(MESSAGE) * 3 + frame(stamp()), 4, 0),
    "16-bit length": (LISTEN, frame(stamp() + bytes(200)), 1, 0),
    "fragments": (
        LISTEN,
        frame(MESSAGE[:4], fin=False) + frame(b"", 0, fin=False) + frame(MESSAGE[4:], 0),
        1,
        0,
    ),
    "a ping between fragments": (
        LISTEN,
        frame(MESSAGE[:4], fin=False) + frame(b"hi", 9) + frame(MESSAGE[4:], 0),
        1,
        0,
    ),
    "a name before the stamp": (LISTEN, frame(b"~bob~: " + MESSAGE), 1, 0),
    "no stamp": (LISTEN, frame(b"welcome") + frame(MESSAGE) + frame(b""), 1, 2),
    "a stamp of no such time": (LISTEN, frame(b"~________") + frame(MESSAGE), 1, 1),
    "merged": (replace(LISTEN, merged_by="\n"), frame(b"\n".join([MESSAGE] * 3)) + frame(MESSAGE), 4, 0),
    "merged fragments": (
        replace(LISTEN, merged_by="\n"),
        frame(MESSAGE + b"\n", fin=False) + frame(MESSAGE, 0),
        2,
        0,
    ),
    "compressed": (
        replace(LISTEN, deflate=True),
        frame(deflate(MESSAGE), rsv1=True) * 2 + frame(MESSAGE),
        3,
        0,
    ),
    "compressed and merged": (
        replace(LISTEN, deflate=True, merged_by="\n"),
        frame(deflate(b"\n".join([MESSAGE] * 30)), rsv1=True),
        30,
        0,
    ),
}


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize("name", STREAMS)
def test_messages_are_counted_wherever_the_stream_is_cut(name: str, cut: bool) -> None:
    plan, stream, received, other = STREAMS[name]
    clients = min(len(stream), 60) if cut else 3
    with raw_server(say(stream, cut=cut, extra=WITH_DEFLATE if plan.deflate else b"")) as url:
        counters, errors = listen(url, plan, clients)
    assert errors == []
    assert (counters["received"], counters["other"]) == (received * clients, other * clients)


#: name: (plan, stream, kind, detail)
FAILURES: dict[str, tuple[Plan, bytes, str, int]] = {
    "masked": (LISTEN, b"\x81\x84abcdtext", "protocol", 1002),
    "reserved opcode": (LISTEN, b"\x83\x00", "protocol", 1002),
    "reserved bit": (LISTEN, b"\xa1\x00", "protocol", 1002),
    "compressed without leave": (LISTEN, b"\xc1\x00", "protocol", 1002),
    "a long ping": (LISTEN, frame(bytes(126), 9), "protocol", 1002),
    "a continuation of nothing": (LISTEN, frame(b"x", 0), "protocol", 1002),
    "a message within another": (LISTEN, frame(b"x", fin=False) + frame(b"x"), "protocol", 1002),
    "not deflate": (replace(LISTEN, deflate=True), frame(b"\xff" * 20, rsv1=True), "protocol", 1007),
    "close": (LISTEN, frame(struct.pack("!H", 1001) + b"bye", 8), "closed", 1001),
    "close without a code": (LISTEN, frame(b"", 8), "closed", 1005),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_ends_a_connection_has_a_name(name: str) -> None:
    plan, stream, kind, detail = FAILURES[name]
    with raw_server(say(stream, cut=True, extra=WITH_DEFLATE if plan.deflate else b"")) as url:
        counters, errors = listen(url, plan, len(stream))
    assert errors == [(KINDS.index(kind), detail, len(stream))]
    assert (counters["lost"], counters["alive"]) == (len(stream), 0)


def test_frames_may_come_with_the_101() -> None:
    def talk(connection: socket.socket, number: int) -> None:
        accept(connection, more=frame(MESSAGE) + frame(MESSAGE)[:5])
        time.sleep(0.05)
        connection.sendall(frame(MESSAGE)[5:])
        connection.recv(1)

    with raw_server(talk) as url:
        counters, errors = listen(url, LISTEN, 2)
    assert (counters["received"], errors) == (4, [])


def test_a_ping_is_answered_and_a_close_is_sent_at_the_end() -> None:
    received: list[bytes] = []

    def talk(connection: socket.socket, number: int) -> None:
        accept(connection)
        connection.sendall(frame(b"abc", 9))
        while data := connection.recv(4096):
            received.append(data)

    with raw_server(talk) as url:
        counters, _ = listen(url, LISTEN, 1)
    assert counters["pings"] == 1
    sent = b"".join(received)
    pong, close = sent[:9], sent[9:]
    assert pong[:2] == b"\x8a\x83"
    assert bytes(a ^ b for a, b in zip(pong[6:], pong[2:5], strict=True)) == b"abc"
    assert close[:2] == b"\x88\x82" and len(close) == 8


def test_a_lost_connection_is_told_from_one_that_was_reset() -> None:
    def talk(connection: socket.socket, number: int) -> None:
        accept(connection)
        if number:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with raw_server(talk) as url:
        _, errors = listen(url, LISTEN, 2)
    assert sorted(KINDS[kind] for kind, _, _ in errors) == ["eof", "socket"]


REPLIES = {
    "not HTTP": (b"220 mail.example.org ready\r\n\r\n", "upgrade", 0),
    "refused": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "refused", 403),
    "no upgrade": (b"HTTP/1.1 101 X\r\nConnection: upgrade\r\n\r\n", "upgrade", 1),
    "no connection": (b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n", "upgrade", 2),
    "no token": (b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "upgrade", 3),
    "wrong token": (
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "upgrade",
        3,
    ),
    "an endless head": (b"HTTP/1.1 101 X\r\n" + b"a: b\r\n" * 4000, "upgrade", 5),
    "nothing": (b"", "eof", 0),
}


@pytest.mark.parametrize("name", REPLIES)
def test_an_answer_that_is_no_upgrade_has_a_name(name: str) -> None:
    reply, kind, detail = REPLIES[name]

    def talk(connection: socket.socket, number: int) -> None:
        connection.recv(4096)
        for byte in reply[:100]:
            connection.sendall(bytes([byte]))
        connection.sendall(reply[100:])
        connection.shutdown(socket.SHUT_WR)
        connection.recv(4096)

    with raw_server(talk) as url:
        one = generator(url, LISTEN, 1)
        assert one.open(1) == 0
    assert [(KINDS[kind], detail) for kind, detail, _ in one.errors()] == [(kind, detail)]
    assert one.counters()["failed"] == 1
    assert one.note() == ("HTTP/1.1 403 Forbidden" if name == "refused" else "")


def test_an_extension_that_was_not_offered_is_refused() -> None:
    with raw_server(lambda connection, number: accept(connection, WITH_DEFLATE)) as url:
        one = generator(url, LISTEN, 1)
        assert one.open(1) == 0
    assert one.errors() == [(KINDS.index("upgrade"), 4, 1)]


def test_deflate_that_was_declined_is_an_error() -> None:
    with raw_server(lambda connection, number: accept(connection)) as url:
        one = generator(url, replace(LISTEN, deflate=True), 1)
        assert one.open(1) == 0
    assert one.errors() == [(KINDS.index("deflate"), 0, 1)]


def test_a_server_that_never_answers_is_given_up() -> None:
    with raw_server(lambda connection, number: connection.recv(4096) and connection.recv(1)) as url:
        one = generator(url, replace(LISTEN, connect_timeout=0.2), 3)
        assert one.open(3) == 0
    assert one.errors() == [(KINDS.index("timeout"), 0, 3)]


def test_stop_ends_a_run_and_everything_can_be_asked_meanwhile() -> None:
    def talk(connection: socket.socket, number: int) -> None:
        accept(connection)
        assert runs.wait(5)  # what comes before the run has no latency
        connection.sendall(frame(MESSAGE))
        connection.recv(1)

    runs = threading.Event()
    with raw_server(talk) as url:
        one = generator(url, LISTEN, 2)
        one.open(2)
        now = time.monotonic_ns()
        minute = {"begin": now, "start": now, "end": now + 60 * 10**9, "drain": 0.0, "until_drained": False}
        thread = threading.Thread(target=one.run, kwargs=minute)
        thread.start()
        time.sleep(0.1)
        with pytest.raises(RuntimeError, match="runs already"):
            one.run(begin=now, start=now, end=now, drain=0.0, until_drained=False)
        runs.set()
        while one.counters()["received"] < 2:
            time.sleep(0.01)
        assert one.interval()[0] == 2
        assert one.interval() == (0, 0, 0, 0)
        one.stop()
        thread.join(2)
        assert not thread.is_alive()
        one.close(0.1)


SETTINGS: dict[str, Any] = {
    "scenario": 0,
    "endpoints": [("127.0.0.1", 1, "localhost")],
    "handshakes": [(b"GET / HTTP/1.1\r\n\r\n", b"x" * 28)],
    "frame": b"\x81\x80abcd",
    "clients": 1,
    "senders": 1,
    "depth": 1,
    "window": 1,
    "rate": 0.0,
    "phase": 0.0,
    "size": 0,
    "stamp_at": -1,
    "stamp_mask": bytes(8),
    "separator": -1,
    "deflate": False,
    "send_once": False,
    "tls": False,
    "verify": True,
    "base": 0,
    "limit": 1.0,
    "to_others": False,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"scenario": 5},
        {"clients": 0},
        {"senders": 2},
        {"depth": 0},
        {"window": 0},
        {"rate": -1.0},
        {"stamp_mask": b"short"},
        {"stamp_at": 1},
        {"endpoints": []},
        {"endpoints": [("localhost", 1, "localhost")]},
        {"endpoints": [("1" * 100, 1, "localhost")]},
        {"endpoints": [("%1", 1, "localhost")]},
        {"handshakes": []},
        {"handshakes": [(b"x", b"short")]},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Generator(**{**SETTINGS, **wrong})


@pytest.mark.parametrize("host", ["::1", "::1%1"])
def test_an_ipv6_address_and_one_initialisation_only(host: str) -> None:
    one = Generator(**{**SETTINGS, "endpoints": [(host, 1, "localhost")]})
    assert one.open(1) == 0
    assert one.counters()["failed"] == 1
    with pytest.raises(RuntimeError, match="already"):
        one.__init__(**SETTINGS)


def test_the_target_of_localhost_is_where_somebody_listens() -> None:
    with raw_server(lambda connection, number: None) as url:
        assert resolve(url.replace("127.0.0.1", "localhost")).address == "127.0.0.1"
