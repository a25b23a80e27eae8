"""The storm after a cut: what is measured, and what is wrong with a server is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastws.loadgen.feed_client import FeedClient, command, percentiles, stamped
from fastws.loadgen.plan import LoadgenError, PlanError
from fastws.loadgen.storm import Storm, run_storm
from tests.cli.helpers import running
from tests.kit import read_frames

APP = """
import fastws

hub = fastws.Hub()
hub.topic("bench", history=1000)
hub.topic("short", history=3)


def may_subscribe(client, topic):
    return topic != "secret"


feed = fastws.Feed(hub, may_subscribe=may_subscribe, may_publish=fastws.anyone)
routes = [fastws.Route("/feed", feed), fastws.Route("/silent", fastws.Handler())]
"""

QUICK = {"clients": 20, "stayers": 3, "missed": 4, "rate": 40.0, "calm": 0.2}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("feed")
    (folder / "app.py").write_text(APP)
    with running(folder, "serve", "app:routes", "--port", 0) as child:
        yield child.address().replace("http", "ws", 1)


def test_all_come_back_where_they_were(url: str) -> None:
    result = run_storm(Storm(url=f"{url}/feed", **QUICK, spread=0.1))  # type: ignore[arg-type]
    assert (result.returned, result.resumed, result.wrong, result.errors) == (20, 20, 0, {})
    assert result.ok
    assert (
        result.before.keys() == result.meanwhile.keys() == result.live.keys() == {"p50", "p90", "p99", "max"}
    )
    shown = dict(result.rows())
    assert shown["returned"].startswith("20 of 20 clients in ")
    assert result.to_json()["storm"]["topic"] == "bench"


def test_who_has_missed_too_much_has_not_resumed(url: str) -> None:
    result = run_storm(Storm(url=f"{url}/feed", topic="short", **QUICK))  # type: ignore[arg-type]
    assert (result.returned, result.resumed, result.ok) == (20, 0, False)


@pytest.mark.parametrize(
    ("path", "topic", "error"),
    [
        ("/feed", "plain", "topic 'plain' keeps no messages"),
        ("/feed", "secret", "refused: forbidden"),
        ("/nothing", "bench", "the server answered 404"),
    ],
)
def test_what_is_no_such_feed(url: str, path: str, topic: str, error: str) -> None:
    with pytest.raises(LoadgenError, match=error):
        run_storm(Storm(url=url + path, topic=topic, **QUICK))  # type: ignore[arg-type]


def test_nobody_listens(unused_tcp_port: int) -> None:
    with pytest.raises(LoadgenError, match="no client could open"):
        run_storm(Storm(url=f"ws://127.0.0.1:{unused_tcp_port}/", **QUICK))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad", [{"clients": 0}, {"rate": 0.0}, {"rate": 51.0}, {"spread": -1.0}, {"calm": 0.0}]
)
def test_bad_values(bad: dict[str, float]) -> None:
    with pytest.raises(PlanError):
        Storm(url="ws://127.0.0.1/", **bad)  # type: ignore[arg-type]


# -- one client -------------------------------------------------------------------------------------


class Wire:
    """What a client has written."""

    def __init__(self) -> None:
        self.written = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


def text(payload: bytes) -> bytes:
    return bytes([0x81, len(payload)]) + payload


def opened() -> tuple[FeedClient, Wire, list[FeedClient]]:
    client, wire, live = FeedClient("127.0.0.1", "/feed?topic=a"), Wire(), []
    client.on_live = live.append
    client.connection_made(wire)  # type: ignore[arg-type]
    assert wire.written.startswith(b"GET /feed?topic=a HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    wire.written = b""
    client.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    return client, wire, live


def test_it_counts_by_positions_wherever_reads_cut_them() -> None:
    said = b"".join(
        map(
            text,
            [
                b'{"hello":{"ping":10}}',
                b'{"t":"a","sync":{"at":"e:7","resumed":true}}',
                b'{"t":"a","at":"e:8","d":"x"}',
                b'{"t":"a","at":"e:9","d":"x"}',
                b'{"t":"a","live":"e:9"}',
                b'{"t":"a","at":"e:11","d":"x"}',
                b'{"t":"a","at":"e:11","d":"x"}',
            ],
        )
    )
    for step in (1, 7, len(said)):
        client, _, live = opened()
        for start in range(0, len(said), step):
            client.data_received(said[start : start + step])
        assert (client.since, client.resumed, client.messages, client.offset) == ("e:7", True, 4, 11)
        assert client.wrong == 2  # 10 was missing, and 11 came twice
        assert live == [client] and client.live_at is not None


def test_it_answers_pings_and_tells_why_it_ended() -> None:
    client, wire, live = opened()
    client.data_received(b"\x89\x02hi")
    ((pong,), _) = read_frames(wire.written)
    assert (pong.opcode, pong.payload, pong.masked) == (0xA, b"hi", True)
    client.data_received(b"\x88\x09\x03\xf0too bad")
    assert client.failure == "closed with 1008 too bad"
    assert live == [client]
    client.connection_lost(None)
    assert client.failure == "closed with 1008 too bad"


def test_a_command_is_a_masked_text() -> None:
    for size in (10, 200):
        ((frame,), _) = read_frames(command(pub="a", d="x" * size))
        assert frame.masked
        assert frame.payload == b'{"pub":"a","d":"%b"}' % (b"x" * size)


def test_latency_counts_from_when_a_message_was_due() -> None:
    client, _, _ = opened()
    client.data_received(text(b'{"t":"a","live":"e:0"}'))
    assert client.live_at is not None
    client.data_received(text(b'{"t":"a","at":"e:1","d":"%b"}' % stamped(client.live_at - 5, 64).encode()))
    (latency,) = client.latencies
    assert 5 <= latency < 60


def test_percentiles() -> None:
    assert percentiles([]) == {}
    assert percentiles([0.001 * number for number in range(101)]) == pytest.approx(
        {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    )
