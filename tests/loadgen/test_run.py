"""Whole runs against servers of the websockets package, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from fastws.cli.dev_ca import ensure_authority, issue, subject_name
from fastws.loadgen import LoadgenError, Plan, Progress, Result, Scenario, run
from tests.loadgen.servers import Chat, Handler, accept, echo, raw_server, websockets_server

pytestmark = pytest.mark.live


def bench(url: str, scenario: str, **values: Any) -> Result:
    """A short run of few clients."""
    short = {"clients": 4, "duration": 0.4, "warmup": 0.1, **values}
    return run(Plan(url=url, scenario=Scenario(scenario), **short))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"depth": 8, "size": 20},
        {"size": 0},
        {"size": 100_000, "binary": True},
        {"rate": 200.0},
        {"processes": 2},
        {"processes": 2, "rate": 201.0},
    ],
    ids=str,
)
def test_echo(values: dict[str, Any]) -> None:
    with websockets_server(echo) as url:
        made = bench(url, "echo", **values)
    assert made.ok and made.reach == 1.0 and made.expected > 10, made.errors
    assert made.latency is not None and 0 < made.latency["p50"] <= made.latency["max"] < 2000
    if "rate" in values:
        assert made.expected == pytest.approx(values["rate"] * 0.5, abs=2)


@pytest.mark.parametrize(
    ("values", "chat"),
    [
        ({}, {}),
        ({"window": 8, "publishers": 3}, {}),
        ({"rate": 100.0, "publishers": 2}, {}),
        ({"processes": 2, "window": 2}, {}),
        ({"processes": 2, "rate": 50.0}, {}),
        ({"to_others": True, "window": 4, "publishers": 2}, {"to_others": True}),
        ({"merged_by": "\n", "window": 8, "publishers": 4}, {"joined_by": "\n"}),
        ({"message": '{"text":"{stamp}"}', "window": 2}, {}),
    ],
    ids=str,
)
def test_fanout(values: dict[str, Any], chat: dict[str, Any]) -> None:
    with websockets_server(Chat(**chat)) as url:
        made = bench(url, "fanout", **values)
    assert made.ok and made.reach == 1.0 and made.received > 20, (made.errors, made.remarks)
    hearers = 3 if "to_others" in chat else 4
    assert made.rate == pytest.approx(made.sent_rate * hearers, rel=0.3)
    assert made.latency is not None and made.latency["p50"] > 0


@pytest.mark.parametrize("scenario", ["echo", "fanout"])
@pytest.mark.parametrize("size", [20, 3000])
def test_deflate(scenario: str, size: int) -> None:
    handler = echo if scenario == "echo" else Chat()
    with websockets_server(handler, compression="deflate") as url:
        made = bench(url, scenario, deflate=True, size=size)
    assert made.ok and made.reach == 1.0, made.errors
    assert made.latency is not None


@pytest.mark.parametrize("chat", [{}, {"joined_by": "\n"}], ids=str)
def test_room(chat: dict[str, Any]) -> None:
    with websockets_server(Chat(**chat)) as url:
        made = bench(url, "room", merged_by=chat.get("joined_by"))
    assert made.ok and made.reach == 1.0, made.errors
    assert made.rounds_rate is not None and made.rounds_rate > 5
    assert made.rate == pytest.approx(made.rounds_rate * 16, rel=0.3)


def test_room_by_the_clock() -> None:
    with websockets_server(Chat(to_others=True)) as url:
        made = bench(url, "room", rate=20.0, to_others=True)
    # Ten rounds are due; one that would begin late in the last moments is not begun any more.
    assert made.ok and made.expected in (8 * 4 * 3, 9 * 4 * 3, 10 * 4 * 3)
    assert made.rounds_rate == pytest.approx(20, abs=8)


@pytest.mark.parametrize("values", [{}, {"rate": 40.0}, {"processes": 2}], ids=str)
def test_connect(values: dict[str, Any]) -> None:
    closes = []

    async def counting(ws: ServerConnection) -> None:
        await ws.wait_closed()
        closes.append(ws.close_code)

    with websockets_server(counting) as url:
        made = bench(url, "connect", **values)
    assert made.ok and made.unit == "handshakes/s" and made.latency is not None
    assert made.opened == len(closes) and set(closes) == {1000}
    if "rate" in values:
        # One that is due late in the last moments is not begun any more.
        assert made.opened == made.expected and 15 < made.opened <= 20


def test_idle_clients_are_held_and_may_speak_once() -> None:
    received: list[str | bytes] = []
    most = 0

    async def listening(ws: ServerConnection) -> None:
        nonlocal most
        most = max(most, len(ws.server.connections))
        async for message in ws:
            received.append(message)

    with websockets_server(listening) as url:
        made = bench(url, "idle", clients=50, speak_once=True, size=5, pid=os.getpid())
    assert made.ok and made.rate == most == len(received) == 50
    assert made.latency is not None
    assert made.server is not None and made.server.rss_mb > 0 and made.server.cpu_us is None


def test_what_the_server_costs_is_measured_with_its_pid() -> None:
    with websockets_server(echo) as url:
        made = bench(url, "echo", pid=os.getpid())
    assert made.server is not None and made.server.cpu_us is not None
    # The server is a thread of this process; a message costs it between 1 us and 10 ms.
    assert 1 < made.server.cpu_us < 10_000 and 0 < made.server.cores < 3


def test_headers_and_subprotocol_arrive() -> None:
    seen = []

    async def looking(ws: ServerConnection) -> None:
        assert ws.request is not None
        seen.append((ws.request.headers.get("X-A"), ws.request.path, ws.subprotocol))
        await echo(ws)

    with websockets_server(looking, subprotocols=["v2"]) as url:
        made = bench(f"{url}a?b=c", "echo", headers=(("X-A", "b"),), subprotocols=("v1", "v2"))
    assert made.ok and set(seen) == {("b", "/a?b=c", "v2")}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context for localhost, and the file of the authority that vouches for it."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = ensure_authority(folder)
    issued = issue(authority, folder, [subject_name("localhost")], 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certfile, issued.keyfile)
    return context, authority.path


@pytest.mark.parametrize(
    ("scenario", "values"),
    [
        ("echo", {"depth": 4}),
        ("echo", {"size": 100_000, "depth": 3}),
        ("fanout", {"window": 4}),
        ("connect", {}),
        ("idle", {}),
    ],
)
def test_tls(tls: tuple[ssl.SSLContext, Path], scenario: str, values: dict[str, Any]) -> None:
    handler = Chat() if scenario == "fanout" else echo
    with websockets_server(handler, ssl=tls[0]) as url:
        made = bench(url, scenario, insecure=True, **values)
    assert made.ok and made.reach == 1.0, made.errors


def test_certificates_are_verified(tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with websockets_server(echo, ssl=tls[0]) as url:
        with pytest.raises(LoadgenError, match=r"TLS failed: .*certificate"):
            bench(url, "echo")
        monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
        assert bench(url.replace("127.0.0.1", "localhost"), "echo").ok
        with pytest.raises(LoadgenError, match="TLS failed: IP address mismatch"):
            bench(url, "echo")


def test_plain_and_tls_do_not_mix(tls: tuple[ssl.SSLContext, Path]) -> None:
    with websockets_server(echo) as url, pytest.raises(LoadgenError, match="TLS failed"):
        bench(url.replace("ws:", "wss:"), "echo")
    with (
        websockets_server(echo, ssl=tls[0]) as url,
        pytest.raises(LoadgenError, match="no client could open"),
    ):
        bench(url.replace("wss:", "ws:"), "echo")


def test_progress_is_told_while_it_goes_on() -> None:
    seen: list[Progress] = []
    with websockets_server(echo) as url:
        run(Plan(url=url, scenario=Scenario.ECHO, clients=2, duration=1.6, warmup=0.3), seen.append)
    assert len(seen) >= 3 and {"measuring"} <= {each.phase for each in seen}
    last = [each for each in seen if each.phase == "measuring"][-1]
    assert last.clients == 2 and last.moment is not None and last.moment.rate > 0 and last.moment.p99 > 0


def test_latency_counts_from_when_a_message_was_due() -> None:
    """A server that stops for 0.3 s delays all that was due meanwhile, not only what was on the way."""

    async def stopping(ws: ServerConnection) -> None:
        count = 0
        async for message in ws:
            count += 1
            if count == 50:
                time.sleep(0.3)
            await ws.send(message)

    with websockets_server(stopping) as url:
        made = bench(url, "echo", clients=1, rate=200.0, duration=1.0, warmup=0.0)
    assert made.latency is not None and made.reach == 1.0
    # 60 of 200 were due while it stood still: the slowest quarter waited, the p90 longer than 100 ms.
    assert made.latency["p90"] > 100 and made.latency["max"] > 250


def test_answers_that_never_come_count_with_their_age() -> None:
    async def silent_after_20(ws: ServerConnection) -> None:
        count = 0
        async for message in ws:
            count += 1
            if count <= 20:
                await ws.send(message)

    with websockets_server(silent_after_20) as url:
        made = bench(url, "echo", clients=1, rate=100.0, duration=0.5, warmup=0.0)
    assert made.received == 20 and made.expected == 50 and made.reach == pytest.approx(0.4)
    assert made.latency is not None and made.latency["p90"] > 1900  # they were waited for for 2 s


def test_messages_that_a_server_drops_show_in_reach_and_do_not_stop_the_run() -> None:
    with websockets_server(Chat(drop_every=10)) as url:
        made = bench(url, "fanout", rate=100.0)
    assert made.reach == pytest.approx(0.9, abs=0.01) and not made.errors
    with websockets_server(Chat(drop_every=10)) as url:
        made = bench(url, "fanout", duration=1.2)
    assert made.reach is not None and 0.8 < made.reach < 1
    assert [error.kind for error in made.errors] == ["stalled"] and not made.ok


def test_other_messages_do_not_count_as_answers() -> None:
    async def greeting(ws: ServerConnection) -> None:
        await ws.send("welcome")
        await echo(ws)

    async def prefixing(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send(f"you said {message!s}")

    with websockets_server(greeting) as url:
        made = bench(url, "echo")
        assert made.ok and made.other == 4 and made.reach == 1.0
    with websockets_server(prefixing) as url:
        made = bench(url, "echo")
        assert made.rate == 0 and not made.ok and "--any-reply" in made.remarks[-1]
        made = bench(url, "echo", any_reply=True)
        assert made.ok and made.reach == 1.0


def test_clients_that_are_dropped_leave_a_partial_result() -> None:
    async def dropping(ws: ServerConnection) -> None:
        if ws.id.int % 2:
            asyncio.get_running_loop().call_later(0.2, asyncio.ensure_future, ws.close(1001, "going away"))
        await echo(ws)

    with websockets_server(dropping) as url:
        made = bench(url, "echo", clients=40, duration=0.6)
    assert 0 < made.lost < 40 and made.rate > 0 and not made.ok
    assert [error.kind for error in made.errors] == ["closed"]
    assert any("clients were lost before the end" in remark for remark in made.remarks)


def test_a_server_that_ends_ends_the_run() -> None:
    def talk(connection: socket.socket, number: int) -> None:
        accept(connection)
        time.sleep(0.5)

    with raw_server(talk) as url:
        made = bench(url, "idle", duration=3600.0)
    assert made.lost == 4 and made.rate == 0 and not made.ok


def test_a_server_that_lets_some_in_is_measured_with_those() -> None:
    async def slowly(ws: ServerConnection) -> None:
        await echo(ws)

    def full(connection: ServerConnection, request: object) -> Any:
        return connection.respond(503, "full\n") if len(connection.server.connections) > 5 else None

    with websockets_server(slowly, process_request=full) as url:
        made = bench(url, "echo", clients=10, at_once=1)
    assert made.opened + made.failed == 10 and 0 < made.failed < 10 and made.rate > 0
    assert [error.text for error in made.errors] == [
        "the server refused the upgrade with status 503 Service Unavailable"
    ]


def test_nobody_who_listens() -> None:
    nobody = "ws://127.0.0.1:1/"
    with pytest.raises(LoadgenError, match="no client could open .*: could not connect: Connection refused"):
        bench(nobody, "echo", clients=1000)
    made = bench(nobody, "connect")
    assert made.opened == 0 and made.errors[0].kind == "connect" and not made.ok


def test_a_pid_of_nobody() -> None:
    with pytest.raises(LoadgenError, match="there is no such process"):
        bench("ws://127.0.0.1:1/", "echo", pid=2**22 + 1)


def test_an_interrupt_gives_what_was_measured() -> None:
    def interrupt(progress: Progress) -> None:
        if progress.phase == "measuring" and progress.moment is not None and progress.moment.at > 0.2:
            os.kill(os.getpid(), signal.SIGINT)

    with websockets_server(echo) as url:
        plan = Plan(url=url, scenario=Scenario.ECHO, clients=4, duration=3600.0, warmup=0.1)
        made = run(plan, interrupt)
    assert made.interrupted and made.rate > 0 and 0 < made.seconds < plan.duration and not made.ok


@pytest.mark.parametrize(
    ("scenario", "values"),
    [
        ("echo", {"depth": 4}),
        ("echo", {"processes": 2}),
        ("fanout", {"window": 8}),
        ("room", {}),
        ("connect", {}),
        ("idle", {}),
    ],
)
def test_a_run_in_turns_counts_all_that_was_asked_in_them_and_nothing_else(
    scenario: str, values: dict[str, Any]
) -> None:
    chat = Chat()
    heard = 0  # connections and messages, of the echo server
    taken = []

    async def counting(ws: ServerConnection) -> None:
        nonlocal heard
        heard += 1
        async for message in ws:
            heard += 1
            await ws.send(message)

    def turns() -> Iterator[int]:
        for number in range(3):
            time.sleep(0.3)
            taken.append(chat.heard + heard)
            yield number

    short: dict[str, Any] = {"clients": 4, "duration": 0.2, "warmup": 0.1, **values}
    plan = Plan(url="", scenario=Scenario(scenario), **short)
    with websockets_server(chat if scenario in ("fanout", "room") else counting) as url:
        begun = time.monotonic()
        made = run(replace(plan, url=url, pid=os.getpid()), turns=turns())
        elapsed = time.monotonic() - begun
    assert made.ok and made.reach == 1.0 and len(taken) == 3, made.errors
    assert made.server is not None and made.server.cores > 0
    if scenario == "idle":
        return
    # Three turns of 0.2 s, each from when it really began, and what was still under way; but neither the
    # warm-up nor the pauses.
    assert 0.5 < made.seconds <= elapsed - 3 * 0.3 - 0.1
    # The rate is a sum of rates, each by the time of its process: by the shortest time it is no overestimate.
    counted = made.rate * min(load.wall for load in made.loads)
    assert 0 < counted < made.received + 1
    if taken[0] > 2 * plan.clients * max(plan.depth, plan.window):
        # The total has the warm-up too. On a busy machine nothing may have been answered in it.
        assert counted < made.received
    assert made.latency is not None


def test_without_a_turn_there_is_nothing_to_report() -> None:
    with websockets_server(echo) as url, pytest.raises(LoadgenError, match="no turn was taken"):
        run(Plan(url=url, scenario=Scenario.ECHO, clients=2), turns=())


def test_turns_end_with_ctrl_c_and_those_before_count() -> None:
    def turns() -> Iterator[int]:
        yield 0
        raise KeyboardInterrupt

    with websockets_server(echo) as url:
        plan = Plan(url=url, scenario=Scenario.ECHO, clients=2, duration=0.2, warmup=0)
        made = run(plan, turns=turns())
    assert made.interrupted and made.seconds > 0.1 and made.rate > 0


def test_clients_that_wait_long_for_their_turn_are_no_silent_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def turns() -> Iterator[int]:
        yield 0
        time.sleep(5)
        yield 1

    plan = Plan(url="", scenario=Scenario.ECHO, clients=2, duration=0.1, warmup=0)
    with websockets_server(echo, ping_interval=0.5, ping_timeout=3.5) as url:
        made = run(replace(plan, url=url), turns=turns())
    assert made.ok, made.errors


def test_turns_after_a_loss_do_not_wait_long_for_what_cannot_come() -> None:
    async def drops_the_first(ws: ServerConnection) -> None:
        lost.append(ws)
        if len(lost) == 1:
            await ws.recv()
            await ws.close(1011)
        await echo(ws)

    lost: list[ServerConnection] = []
    with websockets_server(drops_the_first) as url:
        plan = Plan(url=url, scenario=Scenario.ECHO, clients=3, duration=0.1, warmup=0)
        made = run(plan, turns=range(2))
    assert made.lost == 1 and not made.ok and made.seconds < 5


@pytest.mark.parametrize("scenario", ["echo", "idle"])
def test_clients_take_several_urls_in_turn_and_open_over_a_ramp(scenario: str) -> None:
    opened: list[list[float]] = [[], []]

    def noted(server: int) -> Handler:
        async def handle(ws: ServerConnection) -> None:
            opened[server].append(time.monotonic())
            await echo(ws)

        return handle

    with websockets_server(noted(0)) as url, websockets_server(noted(1)) as other:
        made = bench(url, scenario, more_urls=(other,), ramp=0.3, clients=7, processes=2)
    assert made.ok, made.errors
    assert [len(moments) for moments in opened] == [4, 3]
    moments = [*opened[0], *opened[1]]
    assert max(moments) - min(moments) > 0.2
