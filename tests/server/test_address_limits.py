"""Limits on what a client does in a second and on what an address has open, as clients see them."""

from __future__ import annotations

from typing import Any

import pytest

from fastws import Route
from fastws.protocol.http.addresses import address_of
from fastws.server.address_limits import SWEEP_SIZE, AddressLimiter
from fastws.server.server import Server
from tests.kit import ManualLoop, RawClient, Recorder
from tests.kit.served import served

# -- in a second, per connection --------------------------------------------------------------------


def test_the_message_after_the_last_one_closes(loop: ManualLoop) -> None:
    recorder = Recorder()
    server = served(loop, Route("/", recorder), limits={"messages_per_second": 100})
    client = RawClient(server, loop)
    client.upgrade()
    for _ in range(3):
        for number in range(100):
            client.text(str(number))
        loop.advance(1.0)
    assert len(recorder.messages()) == 300
    client.frames()
    for number in range(101):
        client.text(str(number))
    loop.settle()
    assert len(recorder.messages()) == 400
    assert recorder.closes() == [(1008, "too many messages")]
    assert client.frames()[-1].payload[:2] == (1008).to_bytes(2, "big")


def test_early_frames_count_and_a_route_has_its_own_limit(loop: ManualLoop) -> None:
    strict, loose = Recorder(), Recorder()
    server = served(
        loop,
        [
            Route("/strict", strict, limits={"bytes_per_second": 15}),
            Route("/loose", loose, limits={"bytes_per_second": None}),
        ],
        limits={"bytes_per_second": 1_000_000},
    )
    frame = b"\x81\x82\0\0\0\0hi"
    RawClient(server, loop).upgrade("/strict", early=frame * 2)
    RawClient(server, loop).upgrade("/loose", early=frame * 2)
    loop.settle()
    assert strict.messages() == ["hi"]
    assert strict.closes() == [(1008, "too many bytes")]
    assert loose.messages() == ["hi", "hi"]
    assert loose.closes() == []


def test_a_client_that_is_over_its_limit_hurts_no_other(loop: ManualLoop) -> None:
    recorder = Recorder(echo=True)
    server = served(loop, Route("/", recorder), limits={"messages_per_second": 2})
    noisy, quiet = RawClient(server, loop), RawClient(server, loop)
    for client in (noisy, quiet):
        client.upgrade()
    for _ in range(9):
        noisy.text("x")
    quiet.text("still here")
    loop.settle()
    assert quiet.texts() == ["still here"]


# -- per address ------------------------------------------------------------------------------------


def connect(server: Server, loop: ManualLoop, host: str) -> RawClient:
    return RawClient(server, loop, peername=(host, 40000))


def test_one_address_has_so_many_connections_open(loop: ManualLoop) -> None:
    server = served(loop, Route("/", Recorder()), limit_connections_per_address=3)
    clients = [connect(server, loop, "192.0.2.1") for _ in range(3)]
    assert [client.upgrade().status for client in clients] == [101] * 3
    excess = [connect(server, loop, "192.0.2.1") for _ in range(20)]
    loop.settle()
    answers = [client.response() for client in excess]
    assert {(answer.status, answer.headers["connection"]) for answer in answers} == {(429, "close")}
    assert answers[0].headers["retry-after"] == "1"
    assert connect(server, loop, "192.0.2.2").upgrade().status == 101
    assert server.counters.limited == 20
    # A place that becomes free is there at once, though those who were refused still linger.
    clients[0].vanish()
    clients[0].connection.abort()
    loop.settle()
    assert connect(server, loop, "192.0.2.1").upgrade().status == 101
    loop.advance(6.0)
    assert len(server.connections) == 4


def test_connections_that_say_nothing_count(loop: ManualLoop) -> None:
    server = served(loop, Route("/", Recorder()), limit_connections_per_address=2)
    for _ in range(2):
        connect(server, loop, "192.0.2.1")
    last = connect(server, loop, "192.0.2.1")
    loop.settle()
    assert last.response().status == 429


def test_one_address_shakes_hands_so_often_in_a_second(loop: ManualLoop) -> None:
    server = served(
        loop,
        Route("/", Recorder(), http=lambda request: _page()),
        limit_handshakes_per_address=2,
    )
    statuses = [connect(server, loop, "192.0.2.1").upgrade().status for _ in range(4)]
    assert statuses == [101, 101, 429, 429]
    assert connect(server, loop, "192.0.2.2").upgrade().status == 101
    # Pages are no handshakes.
    client = connect(server, loop, "192.0.2.1")
    client.get()
    loop.settle()
    assert client.response().status == 200
    loop.advance(1.0)
    assert connect(server, loop, "192.0.2.1").upgrade().status == 101


def _page() -> Any:
    from fastws import Response

    return Response(200, "page")


def test_behind_a_proxy_the_client_counts_and_not_the_proxy(loop: ManualLoop) -> None:
    server = served(
        loop,
        Route("/", Recorder()),
        proxy_headers=True,
        forwarded_allow_ips=["10.0.0.0/8"],
        limit_connections_per_address=1,
        limit_handshakes_per_address=2,
    )

    def through(host: str) -> int:
        return connect(server, loop, "10.0.0.1").upgrade("/", f"X-Forwarded-For: {host}").status

    assert [through("192.0.2.1"), through("192.0.2.2"), through("192.0.2.1")] == [101, 101, 429]
    # Who is no proxy cannot speak for others.
    assert connect(server, loop, "192.0.2.9").upgrade("/", "X-Forwarded-For: 192.0.2.3").status == 101
    late = connect(server, loop, "192.0.2.9")
    loop.settle()
    assert late.response().status == 429


@pytest.mark.parametrize(
    ("peer", "counts_as"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1, 0, 0), "192.0.2.1"),
        (("2001:db8::1", 1, 0, 0), "20010db800000000"),
        (("2001:db8::ffff:0:0:2", 9, 0, 0), "20010db800000000"),
        (("2001:db8:0:1::1", 1, 0, 0), "20010db800000001"),
        (("fe80::1%eth0", 1, 0, 2), "fe80000000000000"),
        (("unknown", 1), None),
        ("", None),
        (None, None),
    ],
)
def test_what_an_address_counts_as(peer: Any, counts_as: str | None) -> None:
    assert address_of(peer) == counts_as


def test_peers_without_an_address_are_not_limited() -> None:
    addresses = AddressLimiter(1, 1)
    assert all(addresses.enter(number, "") and addresses.shake_hands("", 0.0) for number in range(9))
    addresses.leave(3)


def test_addresses_are_forgotten() -> None:
    addresses = AddressLimiter(None, 1)
    now = 0.0
    for number in range(20 * SWEEP_SIZE):
        host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        assert addresses.shake_hands((host, 1), now)
        assert not addresses.shake_hands((host, 1), now)
        now += 0.01
    assert len(addresses._handshakes) <= SWEEP_SIZE
