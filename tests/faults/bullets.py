"""Bullet comments: what a flood costs where all see thirty of them a second, and each their own."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from tests.faults.harness import Record, Site, bench, row, server, start_bench

COMMENT = {"text": "{stamp}", "colour": 1}
SLOW = 100


@row("bullets", "5,000 comments a second into 1,000 viewers, beside 100 a second")
def bullets(record: Record) -> None:
    viewers, flood = record.choose(1_000, 50), record.choose(5_000, 250)
    rounds = record.choose(3, 1)
    with server("--no-access-log", app="tests.faults.bullets_app:routes") as site:
        costs = _alternate(rounds, flood, lambda rate: _ten_send(record, site, viewers, rate))
        _tell(record, "ten send", costs, flood, 1.1)
    with server("--no-access-log", app="tests.faults.bullets_app:routes") as site:
        costs = _alternate(rounds, flood, lambda rate: _viewers_send(record, site, viewers, rate))
        _tell(record, f"{viewers:,} viewers send", costs, flood, 2)


def _alternate(rounds: int, flood: int, measure: Any) -> dict[int, list[float]]:
    """Measure both rates in turn, because the machine is not equally fast all the time."""
    costs: dict[int, list[float]] = {SLOW: [], flood: []}
    for _ in range(rounds):
        for rate, found in costs.items():
            found.append(measure(rate))
    return costs


def _tell(record: Record, who: str, costs: dict[int, list[float]], flood: int, bound: float) -> None:
    slow, fast = median(costs[SLOW]), median(costs[flood])
    each = 1e6 * (fast - slow) / (flood - SLOW)
    record.note(
        f"{who}: {100 * slow:.0f} % of a core at {SLOW} a second, {100 * fast:.0f} % at {flood:,}: "
        f"{each:.1f} µs for each comment more"
    )
    if record.full:
        record.at_most(f"{who}: CPU at {flood:,} a second, times that at {SLOW}", fast / slow, bound)


def _ten_send(record: Record, site: Site, viewers: int, rate: int) -> float:
    """Cores of the server while ten clients, of a route of their own, send so many comments a second."""
    seconds = record.choose(4, 1)
    watching = start_bench(
        site, "idle", "--clients", str(viewers), "--duration", f"{seconds + 3}s", "--warmup", "0s",
        path="/feeds/bullets?topic=bullets",
    )  # fmt: skip
    try:
        result = bench(
            site, "fanout", "--clients", "10", "--publishers", "10", "--rate", str(rate), "--duration",
            f"{seconds}s", "--warmup", "1s", "--message", json.dumps(COMMENT), "--pid", str(site.pid),
            path="/comments",
        )  # fmt: skip
    finally:
        held, _ = watching.communicate(timeout=60)
    record.equal("viewers held", int(json.loads(held)["rate"]), viewers)
    cores: float = result["server"]["cores"]
    return cores


def _viewers_send(record: Record, site: Site, viewers: int, rate: int) -> float:
    """Cores of the server while its viewers send so many comments a second, all together."""
    command = json.dumps({"pub": "bullets", "d": COMMENT}, separators=(",", ":"))  # as a browser writes it
    result = bench(
        site, "fanout", "--clients", str(viewers), "--publishers", str(viewers), "--rate", str(rate),
        "--duration", f"{record.choose(4, 1)}s", "--warmup", "1s", "--message", command,
        "--pid", str(site.pid), path="/feeds/bullets?topic=bullets",
    )  # fmt: skip
    record.equal("viewers lost", result["lost"] + result["failed"], 0)
    cores: float = result["server"]["cores"]
    return cores
