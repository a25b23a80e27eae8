"""A keyed topic under load: what is counted, and what is wrong with a server is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import bench
from fastws.loadgen.keyed import Keyed, run_keyed
from fastws.loadgen.keyed_client import EMPTY, END, KeyedClient, State
from fastws.loadgen.plan import LoadgenError, PlanError
from fastws.testing import ManualLoop
from tests.cli.helpers import running

APP = """
import fastws

hub = fastws.Hub()
hub.topic("bench", mode="keyed", every=0.005)
hub.topic("stream", history=10)


def may_subscribe(client, topic):
    return topic != "secret"


feed = fastws.Feed(hub, may_subscribe=may_subscribe, may_publish=fastws.anyone)
routes = [fastws.Route("/feed", feed)]
"""

QUICK: dict[str, Any] = {"clients": 6, "keys": 20, "rate": 200.0, "duration": 0.6, "stall": 0.2}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("feed")
    (folder / "app.py").write_text(APP)
    with running(folder, "serve", "app:routes", "--port", 0) as child:
        yield child.address().replace("http", "ws", 1) + "/feed"


def test_all_hold_the_same_in_the_end(url: str) -> None:
    for stalled in (0, 2):  # the second time the topic has values already
        result = run_keyed(Keyed(url=url, **QUICK, stalled=stalled))
        assert (result.exact, result.wrong, result.errors) == (6, 0, {})
        assert result.ok
        assert result.values >= result.messages > 0
        assert result.staleness.keys() == {"p50", "p90", "p99", "max"}
        shown = dict(result.rows())
        assert shown["final state"] == "exact at 6 of 6 clients"
        assert ("fresh again after" in shown) == bool(stalled)
        assert result.to_json()["plan"]["keys"] == 20


def test_a_topic_without_keys_is_told(url: str) -> None:
    result = run_keyed(Keyed(url=url, topic="stream", **QUICK | {"clients": 1, "rate": 20.0}))
    assert not result.ok
    assert list(result.errors) == ["refused: bad_request this topic has no keys"]


def test_a_feed_that_refuses(url: str) -> None:
    with pytest.raises(LoadgenError, match="refused: forbidden"):
        run_keyed(Keyed(url=url, topic="secret", **QUICK))


def test_nobody_listens(unused_tcp_port: int) -> None:
    with pytest.raises(LoadgenError, match="no client could open"):
        run_keyed(Keyed(url=f"ws://127.0.0.1:{unused_tcp_port}/", **QUICK))


@pytest.mark.parametrize(
    "bad",
    [
        {"clients": 0},
        {"rate": 0.0},
        {"stalled": 101},
        {"stall": 9.0},
        {"keys": 0},
        {"slow": 100},
        {"stalled": 50, "slow": 50},
        {"slow_rate": 0},
    ],
)
def test_bad_values(bad: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        Keyed(url="ws://127.0.0.1/", **bad)


def test_every_45_changes_need_a_connection() -> None:
    assert [Keyed(url="", rate=rate).publishers for rate in (1.0, 45.0, 46.0, 10_000.0)] == [1, 1, 2, 223]


def test_an_older_value_is_wrong_and_a_removed_one_is_gone() -> None:
    client = KeyedClient("127.0.0.1", "/")

    def hears(**said: object) -> None:
        client._take(0x1, orjson.dumps({"t": "bench", **said}))

    hears(snap={"a": [7, 0.0], "b": [8, 0.0]})
    hears(set={"a": [9, 1.0]}, rm=["b"])
    assert (client.state.held, client.wrong) == ({"a": [9, 1.0]}, 0)
    hears(set={"a": [8, 1.0]})
    assert client.wrong == 1
    hears(clear=True)
    assert (client.state.held, client.messages, client.values) == ({}, 4, 4)
    client.forget()
    assert (client.messages, client.values) == (0, 0)


def said(key: str, number: int, due: float = 1.0) -> bytes:
    return orjson.dumps({"t": "bench", "set": {key: [number, due]}})


def test_what_many_are_sent_is_read_once_and_each_is_checked() -> None:
    start = State({})
    first = start.after(said("a", 1))
    assert start.after(said("a", 1)) is first
    other = start.after(said("a", 2))
    assert other.state is not first.state and other.state.held == {"a": [2, 1.0]}
    # Who went another way has its own mistakes.
    assert [state.after(said("a", 1)).wrong for state in (first.state, other.state)] == [0, 1]
    for number in range(3, 9):
        start.after(said("a", number))
    assert start.after(said("a", 1)) is not first, "a state forgets what nobody was sent for long"


def test_the_end_that_a_server_tells_has_no_age() -> None:
    change = EMPTY.after(said(END, 100, 7.0))
    assert (change.oldest, change.newest, change.values) == (None, None, 1)


def test_a_server_changes_the_keys_itself_beside_clients_that_do_not_keep_up(tmp_path: Path) -> None:
    folder = Path(bench.__file__).parent / "servers"
    with running(tmp_path, "serve", "feeds:routes", "--app-dir", folder, "--port", 0) as child:
        url = child.address().replace("http", "ws", 1) + "/feed"
        for _ in range(2):  # the second time the topic has values, and the end of the first
            plan = Keyed(url=url, topic="table", moved_by="moves", stalled=1, slow=1, slow_rate=900, **QUICK)
            result = run_keyed(plan)
            assert (result.exact, result.wrong, result.errors) == (6, 0, {})
            assert result.ok and not result.saturated
            assert 0 < result.published <= 210 and result.kept_up > 0
            assert result.staleness and result.fresh
    assert plan.publishers == 1 and plan.late == 2


def test_a_slow_client_stops_reading_for_as_long_as_its_bytes_take() -> None:
    class Transport:
        """Notes whether it reads."""

        reads = True

        def pause_reading(self) -> None:
            self.reads = False

        def resume_reading(self) -> None:
            self.reads = True

        def write(self, data: bytes) -> None:
            pass

    client, transport = KeyedClient("127.0.0.1", "/"), Transport()
    client.slow_rate, client.live_at, client._opened = 100.0, 0.0, True
    client._transport = transport  # type: ignore[assignment]

    async def hears() -> None:
        payload = said("a", 1)
        client.data_received(bytes([0x81, len(payload)]) + payload)

    with ManualLoop() as loop:
        loop.run(hears())
        assert client.values == 1 and not transport.reads
        loop.advance(0.2)
        assert not transport.reads
        loop.advance(0.5)
        assert transport.reads
