"""The matrix: every cell by name. To add one is to add an entry here."""

from __future__ import annotations

from bench.model import Cell, Metric

__all__ = ["CELLS", "ECHO_PATH", "FEED_PATH", "PATIENCE", "QUICK_CELLS", "WARMUP"]

#: Seconds beyond those of a turn: connecting thousands of clients to a slow server takes its time.
PATIENCE = 90.0
#: Seconds before each measurement.
WARMUP = 0.4
ECHO_PATH = "/wsecho"
FEED_PATH = "/feed"

MESSAGES = Metric("rate", "messages", "/s", more_is_better=True)
DELIVERIES = Metric("rate", "deliveries", "/s", more_is_better=True)
HANDSHAKES = Metric("rate", "handshakes", "/s", more_is_better=True)
CPU = Metric("cpu_us", "server CPU each", "µs", more_is_better=False)
CLIENT_CPU = Metric("cpu_us", "client CPU each", "µs", more_is_better=False)
STALENESS = Metric("p99_ms", "staleness, p99", "ms", more_is_better=False)
FRESH = Metric("fresh_p99_ms", "fresh again after a stall, p99", "ms", more_is_better=False)
LIVE = Metric("p99_ms", "live again, p99", "ms", more_is_better=False)
STAYED = Metric("stayed_p99_ms", "latency of who stayed, p99", "ms", more_is_better=False)
RSS = Metric("rss_kb", "RSS per connection", "KB", more_is_better=False)
IMPORT = Metric("import_ms", "import", "ms", more_is_better=False)


def _echo(name: str, title: str, options: str, *also: str) -> Cell:
    return Cell(name, title, "echo", frozenset({"echo", *also}), (MESSAGES, CPU), tuple(options.split()))


def _fanout(name: str, title: str, options: str, *also: str, first: Metric = DELIVERIES) -> Cell:
    metrics = (first, CPU if first is DELIVERIES else DELIVERIES)
    return Cell(name, title, "fanout", frozenset({"broadcast", *also}), metrics, tuple(options.split()))


def _room(clients: int) -> Cell:
    title = f"room of {clients}, all speak, all hear, 64 B"
    options = ("--clients", str(clients), "--size", "64")
    # A turn is no shorter than a round, and a round of 400 takes the slowest more than a second.
    short, turns = (2.0, 2) if clients > 100 else (1.0, 5)
    needs, metrics = frozenset({"broadcast"}), (DELIVERIES, CPU)
    return Cell(f"room-{clients}", title, "room", needs, metrics, options, short_seconds=short, turns=turns)


def _connect(clients: int) -> Cell:
    needs = frozenset({"echo", "connect"})
    options = ("--clients", str(clients))
    return Cell("connect", f"handshakes, {clients} at a time", "connect", needs, (CPU, HANDSHAKES), options)


def _idle(name: str, clients: int, kind: str, *also: str) -> Cell:
    title = f"{clients:,} open {kind} connections that have spoken once"
    needs = frozenset({"echo", "idle", *also})
    options = ("--clients", str(clients), "--speak-once")
    return Cell(name, title, "idle", needs, (RSS,), options, seconds=1.0, turns=1)


def _feed(name: str, title: str, scenario: str, options: str, *metrics: Metric) -> Cell:
    return Cell(name, title, scenario, frozenset({"feed"}), metrics, tuple(options.split()), turns=1)


def _client(name: str, title: str, options: str) -> Cell:
    """The row of a server is here that of its library's client, all against one bare server."""
    needs = frozenset({"client"})
    return Cell(
        f"client-{name}", f"client: {title}", "client", needs, (MESSAGES, CLIENT_CPU), tuple(options.split())
    )


def _import() -> Cell:
    title = "time to import, beyond Python with asyncio"
    return Cell("import", title, "import", frozenset({"import"}), (IMPORT,), seconds=None, turns=1)


_ALL = (
    _echo("echo-16", "echo 20 B, 16 clients", "--clients 16 --size 20"),
    _echo("echo-200", "echo 20 B, 200 clients", "--clients 200 --size 20"),
    _echo("echo-16x16", "echo 20 B, 16 clients × 16 outstanding", "--clients 16 --size 20 --depth 16"),
    _echo("echo-16k", "echo 16 KiB, 16 clients", "--clients 16 --size 16384 --binary"),
    _echo("echo-1m", "echo 1 MiB, 20 clients", "--clients 20 --size 1048576 --binary"),
    _fanout(
        "fanout-1",
        "fan-out of 64 B to 1,000, one outstanding",
        "--clients 1000 --size 64 --window 1",
        first=CPU,
    ),
    _fanout("fanout-16", "fan-out of 64 B to 1,000, 16 outstanding", "--clients 1000 --size 64 --window 16"),
    _room(100),
    _room(400),
    _connect(16),
    _idle("idle", 8000, "plain"),
    _idle("idle-tls", 1500, "TLS", "tls"),
    _echo("tls-echo", "echo 20 B over TLS, 16 clients", "--clients 16 --size 20", "tls"),
    _fanout(
        "tls-fanout",
        "fan-out of 64 B over TLS to 500, 16 outstanding",
        "--clients 500 --size 64 --window 16",
        "tls",
    ),
    _fanout(
        "deflate",
        "broadcast of 1 KiB of JSON with deflate to 1,000",
        "--clients 1000 --size 1024 --window 1 --deflate",
        "deflate",
    ),
    _fanout(
        "deflate-16",
        "broadcast of 1 KiB of JSON with deflate to 1,000, 16 outstanding",
        "--clients 1000 --size 1024 --window 16 --deflate",
        "deflate",
    ),
    _feed(
        "feed",
        "feed: 64 B to 1,000, 45 a second",
        "feed",
        "--clients 1000 --size 64 --rate 45",
        CPU,
        DELIVERIES,
    ),
    # As many bytes as a message of the feed has.
    Cell(
        "feed-plain",
        "the same without a feed: 116 B to 1,000, 45 a second",
        "fanout",
        frozenset({"feed", "plain"}),
        (CPU, DELIVERIES),
        ("--clients", "1000", "--size", "116", "--rate", "45"),
        turns=1,
    ),
    _feed(
        "keyed",
        "2,000 changes a second of 500 keys to 100, of whom 20 stall for 2 s",
        "keyed",
        "--topic table --clients 100 --stalled 20 --rate 2000",
        CPU,
        STALENESS,
    ),
    # The server changes the keys itself: so many publishers would be a load of their own.
    _feed(
        "keyed-fast",
        "2,000 changes a second of 500 keys to 800",
        "keyed",
        "--topic table --moved-by moves --clients 800 --rate 2000 --duration 8s",
        CPU,
        STALENESS,
    ),
    _feed(
        "keyed-slow",
        "the same beside 100 that stall for 4 s and 100 that read 20 KB/s",
        "keyed",
        "--topic table --moved-by moves --clients 1000 --stalled 100 --stall 4s --slow 100 --rate 2000 "
        "--duration 8s",
        CPU,
        STALENESS,
        FRESH,
    ),
    _feed(
        "resume",
        "8,000 clients of a feed come back at once, with 20 missed messages each",
        "resume",
        "--clients 8000 --stayers 100 --missed 20",
        CPU,
        LIVE,
        STAYED,
    ),
    _client("echo", "echo 20 B, 16 connections", "--connections 16 --depth 1 --size 20"),
    _client("16", "echo 20 B, 16 connections × 16 outstanding", "--connections 16 --depth 16 --size 20"),
    _client("1m", "echo 1 MiB, 4 connections", "--connections 4 --depth 1 --size 1048576 --binary"),
    _import(),
)

#: By name, in the order of the report.
CELLS: dict[str, Cell] = {cell.name: cell for cell in _ALL}
QUICK_CELLS = ("echo-16", "echo-16x16", "fanout-16", "room-100", "connect")
