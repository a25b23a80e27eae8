"""Limits per address and per second, counted exactly over real sockets, on either loop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.live.raw import TEXT, Peer, frame, upgrade
from tests.live.servers import Servers, Site

pytestmark = pytest.mark.live


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "uvloop":
        pytest.importorskip("uvloop")
    return name


@contextmanager
def crowd(site: Site, count: int) -> Iterator[list[tuple[Peer, int]]]:
    """Clients that all ask for a WebSocket before one of them reads, each with the status it got."""
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(site.port)) for _ in range(count)]
        for peer in peers:
            peer.send(upgrade())
        yield [(peer, int(peer.head().split()[1])) for peer in peers]


def test_connections_of_one_address(servers: Servers, loop: str) -> None:
    with servers.start("--limit-connections-per-address=50", loop=loop) as site, crowd(site, 80) as clients:
        admitted = [peer for peer, status in clients if status == 101]
        assert len(admitted) == 50
        assert {status for _, status in clients} == {101, 429}
        for peer in admitted:
            peer.send(frame(TEXT, b"here"))
            assert peer.frame().payload == b"here"
        for peer in admitted[:10]:
            peer.reset()
        # Their places are free as soon as the server has seen them go, and no more than theirs.
        new: list[Peer] = []
        with ExitStack() as stack:
            while len(new) < 10:
                peer = stack.enter_context(Peer(site.port))
                peer.send(upgrade())
                if int(peer.head().split()[1]) == 101:
                    new.append(peer)
            with crowd(site, 5) as late:
                assert {status for _, status in late} == {429}


def test_handshakes_of_one_address_in_a_second(servers: Servers, loop: str) -> None:
    with servers.start("--limit-handshakes-per-address=20", loop=loop) as site:
        for _ in range(3):
            began = time.monotonic()
            with crowd(site, 60) as clients:
                admitted = sum(status == 101 for _, status in clients)
            # A slow machine may need more than a second for them; each further one admits 20 more.
            seconds = int(time.monotonic() - began)
            assert 20 <= admitted <= 20 * (1 + seconds)
            time.sleep(1.1)


def test_messages_of_one_connection_in_a_second(servers: Servers, loop: str) -> None:
    with servers.start("--limit-messages-per-second=100", loop=loop) as site:
        with Peer(site.port).upgrade() as peer:
            for _ in range(2):
                peer.send(frame(TEXT, b"x") * 100)
                assert [peer.frame().payload for _ in range(100)] == [b"x"] * 100
                time.sleep(1.1)
        with Peer(site.port).upgrade() as peer:
            outcome = peer.exchange(frame(TEXT, b"x") * 150)
        assert [each.payload for each in outcome.frames[:-1]] == [b"x"] * 100
        assert (outcome.code, outcome.ended) == (1008, True)


def test_bytes_of_one_connection_in_a_second(servers: Servers, loop: str) -> None:
    with servers.start("--limit-bytes-per-second=10000", loop=loop) as site:
        within = frame(TEXT, b"x" * 992)  # 1,000 bytes with its head
        with Peer(site.port).upgrade() as peer:
            peer.send(within * 10)
            assert [len(peer.frame().payload) for _ in range(10)] == [992] * 10
            outcome = peer.exchange(frame(TEXT, b"x"))
        assert (outcome.frames, outcome.code) == (outcome.frames[:1], 1008)
