"""The families of metrics, made of the integers that a server and its workers write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from fastws.connection.counters import COUNTER_NAMES
from fastws.meters.board import Board, Kind, Series
from fastws.meters.histogram import BOUNDS
from fastws.observe.processes import process_families
from fastws.observe.sources import Source

__all__ = ["families", "topic_families"]

#: Counters by route: the name, the help, and what of a server's counters it is.
BY_ROUTE = (
    ("messages_received", "Messages that clients have sent.", "messages_received"),
    ("messages_sent", "Messages that were sent to clients.", "messages_sent"),
    ("bytes_received", "Bytes of frames that clients have sent, within TLS.", "bytes_received"),
    ("bytes_sent", "Bytes of frames that were sent to clients, within TLS.", "bytes_sent"),
    ("evicted", "Clients that were closed or cut because they were too slow.", "evicted"),
)
#: Those that are labelled with a policy of slow clients.
POLICIES = {"drop_oldest": "dropped_oldest", "drop_newest": "dropped_newest"}

#: Counters that the board has by name: the metric, its help, its labels.
BOARD_COUNTERS = {
    "http": ("http_requests", "Responses to requests, also to handshakes that were refused.", ("status",)),
    "recovery": (
        "recoveries",
        "Clients that came back to a topic with a position: resumed, or why they could not be.",
        ("result",),
    ),
}
#: Histograms of seconds: the metric and its help.
HISTOGRAMS = {
    "publish": (
        "publish_seconds",
        "Time to write one turn's publications to all sockets, of one turn in 16.",
    ),
    "delivery": (
        "delivery_seconds",
        "Time from the first publish of a turn until the kernel has the messages, of one turn in 16.",
    ),
    "ping": ("ping_seconds", "Round trips of keep-alive pings."),
    "loop_lag": ("loop_lag_seconds", "How much later than due the event loop ran a timer."),
    "bus_lag": ("bus_lag_seconds", "Round trips of a question to all other workers over the bus."),
}

Found = list[tuple[Series, list[int]]]


def families(source: Source) -> Iterator[Metric]:
    """Return what one scrape of a server and its workers gives."""
    named = [series for series in source.board.series() if series.kind is not Kind.CLOSES]
    found = [(series, source.board.sums(series)) for series in named]
    own = source.own()
    yield GaugeMetricFamily(
        "fastws_tcp_connections", "TCP connections that are open.", value=source.connections()
    )
    yield CounterMetricFamily(
        "fastws_accepted", "TCP connections that were accepted.", value=own["connections"]
    )
    yield CounterMetricFamily(
        "fastws_limited", "Connections and handshakes answered 429, by limits on addresses.",
        value=own["limited"],
    )  # fmt: skip
    yield from by_route(found, own)
    yield handshakes(found, own)
    yield closes(source.board)
    yield from board_counters(found)
    yield from topic_families(found)
    workers = GaugeMetricFamily("fastws_workers", "Processes that serve, by state.", labels=["state"])
    for state, number in sorted(source.workers().items()):
        workers.add_metric([state], number)
    yield workers
    yield from process_families(source.pids())


def routes_of(found: Found, own: dict[str, int]) -> dict[str, dict[str, int]]:
    """Return the counters of each route; "" has what was open before somebody measured."""
    routes = {
        series.labels[0]: dict(zip(COUNTER_NAMES, numbers, strict=True))
        for series, numbers in found
        if series.kind is Kind.COUNTERS and series.name == "route"
    }
    if own["websockets_opened"]:
        routes[""] = own
    return routes


def by_route(found: Found, own: dict[str, int]) -> Iterator[Metric]:
    """Return the metrics of WebSockets."""
    routes = sorted(routes_of(found, own).items())

    def gauge(name: str, text: str, value: Callable[[dict[str, int]], int]) -> Metric:
        family = GaugeMetricFamily(f"fastws_{name}", text, labels=["route"])
        for route, counters in routes:
            family.add_metric([route], value(counters))
        return family

    yield gauge(
        "connections", "WebSockets that are open.",
        lambda counters: counters["websockets_opened"] - counters["websockets_closed"],
    )  # fmt: skip
    yield gauge(
        "queue_bytes", "Bytes of messages that wait for clients whose sockets are full.",
        lambda counters: counters["queue_bytes"],
    )  # fmt: skip
    for name, text, counter in BY_ROUTE:
        family = CounterMetricFamily(f"fastws_{name}", text, labels=["route"])
        for route, counters in routes:
            family.add_metric([route], counters[counter])
        yield family
    dropped = CounterMetricFamily(
        "fastws_dropped",
        "Messages that slow clients were not sent, by the policy of their topic; send: by a send that does "
        "not wait, or told as a gap.",
        labels=["route", "policy"],
    )
    for route, counters in routes:
        rest = counters["messages_dropped"]
        for policy, counter in POLICIES.items():
            dropped.add_metric([route, policy], counters[counter])
            rest -= counters[counter]
        dropped.add_metric([route, "send"], max(rest, 0))
    yield dropped


def handshakes(found: Found, own: dict[str, int]) -> Metric:
    """Return the handshakes: those that opened a WebSocket, and why others were refused."""
    family = CounterMetricFamily(
        "fastws_handshakes", "Requests to upgrade, by what came of them.", labels=["result"]
    )
    opened = sum(counters["websockets_opened"] for counters in routes_of(found, own).values())
    family.add_metric(["accepted"], opened)
    for series, (number,) in of_name(found, "handshake"):
        family.add_metric(series.labels, number)
    return family


def closes(board: Board) -> Metric:
    """Return what ended the WebSockets."""
    family = CounterMetricFamily(
        "fastws_closes",
        "WebSockets that have ended, by close code and by who closed; none: TCP ended without a close frame.",
        labels=["route", "code", "initiator"],
    )
    for *labels, number in board.closes():
        family.add_metric(labels, number)
    return family


def board_counters(found: Found) -> Iterator[Metric]:
    """Return what the board has as plain counters."""
    for name, (metric, text, labels) in BOARD_COUNTERS.items():
        family = CounterMetricFamily(f"fastws_{metric}", text, labels=labels)
        for series, (number,) in of_name(found, name):
            family.add_metric(series.labels, number)
        yield family
    brokers = of_name(found, "broker_up")
    if brokers:
        up = GaugeMetricFamily("fastws_broker_up", "1 while the broker can be reached.", labels=["broker"])
        for series, (number,) in brokers:
            up.add_metric(series.labels, int(number > 0))
        yield up
    for name in ("ping", "loop_lag"):
        yield from histogram(found, name)


def topic_families(found: Found) -> Iterator[Metric]:
    """Return what topics have: by the pattern or name that was declared, "" is for all others."""
    messages = CounterMetricFamily(
        "fastws_topic_messages",
        "Messages that topics had for clients of a worker; one counts in each worker where somebody listens.",
        labels=["topics"],
    )
    deliveries = CounterMetricFamily(
        "fastws_topic_deliveries", "The same, times the clients that keep up.", labels=["topics"]
    )
    for series, numbers in of_name(found, "topics"):
        counters = dict(zip(COUNTER_NAMES, numbers, strict=True))
        messages.add_metric(series.labels, counters["messages_received"])
        deliveries.add_metric(series.labels, counters["messages_sent"])
    yield messages
    yield deliveries
    for name in ("publish", "delivery", "bus_lag"):
        yield from histogram(found, name)


def of_name(found: Found, name: str) -> Found:
    return [(series, numbers) for series, numbers in found if series.name == name]


def histogram(found: Found, name: str) -> Iterable[Metric]:
    """Return a histogram of seconds; Prometheus' buckets have all that is below their bound."""
    metric, text = HISTOGRAMS[name]
    for _, numbers in of_name(found, name):
        bounds = [*map(repr, BOUNDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(numbers[: len(bounds)]), strict=True))
        yield HistogramMetricFamily(
            f"fastws_{metric}", text, buckets=buckets, sum_value=numbers[-1] / 1e9, unit="seconds"
        )
