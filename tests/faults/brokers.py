"""F6: what two nodes lose of each other's messages while their broker is away, and what they do not."""

from __future__ import annotations

import shutil

from tests.chaos.nodes import NodesPlan, besiege_nodes
from tests.faults.harness import Missing, Record, row

MS = 1000


@row("F6-redis", "Redis restarts, and stands still: two nodes with two workers each")
def redis(record: Record) -> None:
    _away(record, "redis", "redis-server")


@row("F6-nats", "NATS restarts, and stands still: two nodes with two workers each")
def nats(record: Record) -> None:
    _away(record, "nats", "nats-server")


def _away(record: Record, broker: str, program: str) -> None:
    if shutil.which(program) is None:
        raise Missing(f"{program} is not installed")
    still = record.choose(90.0, 3.0)
    plan = NodesPlan(
        broker=broker,
        seconds=record.choose(20.0, 8.0),
        clients=record.choose(200, 40),
        rate=record.choose(400.0, 100.0),
        worker_kills=0,
        still=still,
        # More than comes while it stands still: else the oldest is told as missed.
        history=record.choose(40_000, 5_000),
    )
    verdict = besiege_nodes(plan)
    record.equal("what must not be", dict(verdict.faults), {})
    record.equal("plain topics: messages that were reported missing", verdict.reported, verdict.missing)
    record.equal("with a history: messages told missing", verdict.missed, 0)
    record.equal("and epochs", verdict.epochs, 1)
    record.at_most("after its return another node is heard within", verdict.slowest_return, 2, "s")
    record.at_most("the longest publish, CPU time", verdict.longest_publish * MS, 1, "ms")
    local, away, back = (
        each * MS for each in (verdict.local_p99, verdict.local_p99_away, verdict.local_p99_back)
    )
    if record.full:
        record.at_most("p99 within a node meanwhile, times that before", away / local, 2)
    record.note(
        f"{verdict.sent:,} messages, {verdict.delivered:,} deliveries; down for 1 s, still for {still:g} s; "
        f"within a node p50 {verdict.local * MS:.2f} ms, meanwhile {verdict.local_away * MS:.2f} ms; p99 "
        f"{local:.1f} and {away:.1f} ms, and when it is back {back:.1f} ms"
    )
