"""``fastws.observe.metrics`` of a server and of a hub, in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import fastws
from fastws import Hub, Route
from fastws.meters.board import Board
from fastws.meters.meters import begin_measuring
from fastws.observe import Metrics, metrics
from fastws.observe.collector import metrics_of
from fastws.observe.processes import OpenFiles, boot_time, process_families
from fastws.observe.sources import OwnSource
from fastws.server.shared_page import Membership, SharedPage
from tests.kit import ManualLoop, RawClient, Recorder
from tests.kit.served import opened, served
from tests.observe.scrapes import Scrape, check_with_promtool


def scraped(found: Metrics) -> Scrape:
    body, content_type = found.text()
    assert content_type.startswith("text/plain; version=")
    return Scrape(body.decode())


def test_what_a_server_does_is_counted_by_route_code_and_status(loop: ManualLoop) -> None:
    handler = Recorder(echo=True)
    hub = Hub(broker="memory", policy="drop_oldest")
    hub.topic("rooms/*")
    hub.topic("exact")
    routes = [
        Route("/a", handler),
        Route("/b/{name}", handler),
        Route("/page", http=lambda _: fastws.Response()),
    ]
    server = served(loop, routes, limits={"send_queue": 2})
    early = opened(loop, server, path="/a")
    found = metrics(server)
    late = [opened(loop, server, path="/a"), opened(loop, server, path="/b/x")]
    for client in [early, *late]:
        client.text("hello")
    hub.subscribe(handler.sockets[1], "rooms/1")
    hub.subscribe(handler.sockets[2], "rooms/1")
    hub.subscribe(handler.sockets[2], "exact")
    hub.subscribe(handler.sockets[2], "other")
    loop.settle()
    for topic in ("rooms/1", "exact", "other"):
        hub.publish(topic, "to all")
    loop.settle()
    scrape = scraped(found)
    for route, number in (("", 1), ("/a", 1), ("/b/{name}", 1)):
        assert scrape.sum("fastws_connections", route=route) == number
        assert scrape.sum("fastws_messages_received_total", route=route) == 1
    assert scrape.sum("fastws_messages_sent_total") == 3 + 4
    assert server.counters.messages_sent == server.totals()["messages_sent"] == 7
    assert scrape.sum("fastws_topic_messages_total", topics="rooms/*") == 1
    assert scrape.sum("fastws_topic_deliveries_total", topics="rooms/*") == 2
    assert scrape.sum("fastws_topic_messages_total", topics="exact") == 1
    assert scrape.sum("fastws_topic_messages_total", topics="") == 1
    assert scrape.sum("fastws_handshakes_total", result="accepted") == 3
    assert scrape.sum("fastws_publish_seconds_count") == scrape.sum("fastws_delivery_seconds_count") == 1
    other = RawClient(server, loop)
    assert other.upgrade("/nowhere").status == 404
    page = RawClient(server, loop)
    page.get("/page")
    late[0].close(1000)
    handler.sockets[2].close_nowait(4001)
    early.vanish()
    loop.settle()
    scrape = scraped(found)
    assert scrape.sum("fastws_handshakes_total", result="not_found") == 1
    assert scrape.sum("fastws_http_requests_total", status="200") == 1
    assert scrape.sum("fastws_closes_total", route="/a", code="1000", initiator="client") == 1
    late[1].transport.lose()
    early.transport.lose()
    loop.settle()
    scrape = scraped(found)
    assert scrape.sum("fastws_closes_total", route="/b/{name}", code="4001", initiator="server") == 1
    assert scrape.sum("fastws_closes_total", route="", code="1006", initiator="none") == 1
    assert scrape.sum("fastws_connections") == 0
    check_with_promtool(scrape.text)
    with pytest.raises(AttributeError):
        _ = server.counters.nothing  # type: ignore[attr-defined]
    assert repr(server.counters).startswith("Counters({'connections': ")


@pytest.mark.parametrize(("policy", "label"), [("drop_oldest",) * 2, ("drop_newest",) * 2])
def test_drops_and_queues(loop: ManualLoop, policy: Any, label: str) -> None:
    handler = Recorder()
    hub = Hub(broker="memory", policy=policy)
    server = served(loop, Route("/", handler), limits={"send_queue": 2})
    found = metrics(server)
    client = opened(loop, server)
    hub.subscribe(handler.ws, "t")
    client.stall(1)
    for _ in range(5):
        hub.publish("t", "x" * 100)
        loop.settle()
    handler.ws.send_nowait("refused")
    scrape = scraped(found)
    assert scrape.sum("fastws_queue_bytes", route="/") == 2 * 102
    # The first was written, two wait.
    assert scrape.sum("fastws_dropped_total", policy=label) == 2
    assert scrape.sum("fastws_dropped_total", policy="send") == 1
    client.read()
    loop.settle()
    assert scraped(found).sum("fastws_queue_bytes") == 0
    client.stall(1)
    for _ in range(3):
        hub.publish("t", "x" * 100)
        loop.settle()
    assert scraped(found).sum("fastws_queue_bytes") > 0
    handler.ws.close_nowait()
    client.transport.lose()
    loop.settle()
    assert scraped(found).sum("fastws_queue_bytes") == 0


def test_an_eviction_and_a_ping(loop: ManualLoop) -> None:
    handler = Recorder()
    server = served(
        loop, Route("/", handler), limits={"send_queue": 1}, timeouts={"ping_interval": 5, "ping_timeout": 5}
    )
    hub = Hub(broker="memory")
    found = metrics(server)
    client = opened(loop, server)
    loop.advance(5.1)
    (ping,) = [each for each in client.frames() if each.opcode == 9]
    client.pong(ping.payload)
    loop.settle()
    assert scraped(found).sum("fastws_ping_seconds_count") == 1
    hub.subscribe(handler.ws, "t")
    client.stall(1)
    for _ in range(4):
        hub.publish("t", "x" * 100)
        loop.settle()
    client.transport.lose()
    loop.settle()
    scrape = scraped(found)
    assert scrape.sum("fastws_evicted_total", route="/") == 1
    assert scrape.sum("fastws_closes_total", code="1008", initiator="server") == 1
    assert scrape.sum("fastws_queue_bytes") == 0


def test_recoveries(loop: ManualLoop) -> None:
    handler = Recorder()
    server = served(loop, Route("/", handler))
    hub = Hub(broker="memory")
    hub.topic("kept/*", history=2)
    hub.topic("keys", mode="keyed")
    found = metrics(server)
    for _ in range(3):
        opened(loop, server)

    async def visit() -> None:
        hub.publish("kept/a", "1")
        hub.publish("keys", json=1, key="k")
        at, keys = await hub.position("kept/a"), await hub.position("keys")
        hub.subscribe(handler.sockets[0], "kept/a", since=at)
        hub.subscribe(handler.sockets[0], "keys", since=keys)
        for number in range(4):
            hub.publish("kept/a", str(number))
        hub.subscribe(handler.sockets[1], "kept/a", since=at)
        other = f"{'0' * len(at.epoch)}:1"
        hub.subscribe(handler.sockets[2], "kept/a", since=other)
        hub.subscribe(handler.sockets[2], "keys", since=other)

    loop.run(visit())
    scrape = scraped(found)
    assert scrape.sum("fastws_recoveries_total", result="resumed") == 2
    assert scrape.sum("fastws_recoveries_total", result="limit") == 1
    assert scrape.sum("fastws_recoveries_total", result="epoch") == 2


def test_a_hub_of_somebody_elses_server(loop: ManualLoop) -> None:
    handler = Recorder()
    server = served(loop, Route("/", handler))
    hub = Hub(broker="memory")
    hub.topic("merged", merge="\n")
    opened(loop, server)
    hub.subscribe(handler.ws, "merged")
    hub.subscribe(handler.ws, "free")
    found = metrics(hub)
    for topic in ("merged", "free"):
        hub.publish(topic, "m")
    loop.settle()
    scrape = scraped(found)
    assert scrape.sum("fastws_topic_messages_total", topics="merged") == 1
    assert scrape.sum("fastws_topic_messages_total", topics="") == 1
    assert "fastws_connections" not in scrape.names()
    check_with_promtool(scrape.text)


def test_a_route_of_its_own_and_a_registry(loop: ManualLoop) -> None:
    found: list[Metrics] = []
    server = served(loop, [Route("/metrics", http=lambda request: found[0](request))])
    found.append(metrics(server))
    client = RawClient(server, loop)
    client.get("/metrics", "Accept: application/openmetrics-text; version=1.0.0")
    loop.settle()
    answer = client.response()
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    assert families["fastws_loop_lag_seconds"].unit == "seconds"
    assert families["fastws_messages_sent"].type == "counter"
    registry = CollectorRegistry()
    registry.register(found[0])
    assert {family.name for family in registry.collect()} == set(families)


def test_a_worker_shows_the_numbers_of_all(loop: ManualLoop) -> None:
    page = SharedPage.create(2)
    page.board = Board.create(2)
    begin_measuring(page.board, 0)
    handler = Recorder(echo=True)
    server = served(loop, Route("/", handler))
    server.share(Membership(page, page.row(0)))
    found = metrics(server)
    other = begin_measuring(page.board, 0).__class__(page.board, 1)
    other.route_counters("/", server.own_counters).messages_received = 40
    client = opened(loop, server)
    client.text("one")
    loop.settle()
    scrape = scraped(found)
    assert scrape.sum("fastws_messages_received_total", route="/") == 41
    assert scrape.sum("fastws_tcp_connections") == 1
    assert server.totals()["messages_received"] == 41 and server.counters.messages_received == 1
    assert page.messages_received(1) == 40


def test_before_there_is_a_server() -> None:
    found = metrics_of(OwnSource(lambda: None, begin_measuring().board))
    scrape = scraped(found)
    assert scrape.sum("fastws_workers", state="ready") == scrape.sum("fastws_accepted_total") == 0
    assert scrape.sum("process_resident_memory_bytes") > 1e6


def test_what_has_no_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="not int"):
        metrics(3)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ImportError, match=r"pip install 'fastws-server\[metrics\]'"):
        metrics(Hub(broker="memory"))


def test_processes_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    def numbers(*pids: int) -> dict[str, float]:
        return {family.name: family.samples[0].value for family in process_families([os.getpid(), *pids])}

    alone = numbers()
    with subprocess.Popen(["sleep", "60"]) as child:
        both = numbers(child.pid, 2**22 + 1)  # the second has ended
        child.kill()
    assert both["process_open_fds"] > alone["process_open_fds"]
    assert both["process_resident_memory_bytes"] > alone["process_resident_memory_bytes"] / 2
    assert 1e9 < both["process_start_time_seconds"] <= time.time()
    with monkeypatch.context() as patched:
        patched.setattr("fastws.observe.processes.Path.read_text", lambda self: "")
        boot_time.cache_clear()
        assert boot_time() == 0.0
    boot_time.cache_clear()
    monkeypatch.setattr("os.path.exists", lambda path: False)
    assert numbers() == {}


def test_files_are_not_listed_for_each_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Linux before 6.2, which does not say how many there are."""
    now, listed = [0.0], [0]
    monkeypatch.setattr("os.stat", lambda path: os.stat_result([0] * 10))

    def listdir(path: str) -> list[str]:
        listed[0] += 1
        if path == "/proc/8/fd":
            raise FileNotFoundError(path)
        return ["file"] * listed[0]

    monkeypatch.setattr("os.listdir", listdir)
    files = OpenFiles(lambda: now[0])
    assert [files.of(7) for _ in range(100)] == [1] * 100 and listed[0] == 1
    assert files.of(8) == 0
    now[0] = 61.0
    assert files.of(7) == 1, "the list is made beside it"
    for thread in threading.enumerate():
        if thread.name == "fastws-files":
            thread.join()
    assert files.of(7) == 3 and listed[0] == 3
    files.keep([7])
    assert files.of(8) == 0 and files.of(7) == 3 and listed[0] == 4
