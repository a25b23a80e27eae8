"""``python -m tests.chaos``: clients that are cut, workers and the keeper that are killed, and nothing lost.

300 plain clients of a topic with a history on two workers, 500 messages a second, sockets cut at random by a
proxy, five ``kill -9`` of workers and one of the keeper: each client has every position exactly once, or was
told. Exit code: 0 it was so, and those who came back knew within 250 ms where they go on (p99); 1 otherwise.

With ``--broker redis`` or ``--broker nats``: two nodes with two workers each, whose broker is restarted by
SIGTERM and stands still for four seconds, and three ``kill -9`` of workers. Half of the clients have a topic
with a history. What is published there has an id and is sent again until it is acknowledged, over lines that
are cut too: it has one position, and each client has each position once, or was told. The other half has a
plain topic, of which what is missing is what was reported. (Of a plain topic who comes or goes in an outage
may be told of more than it can know of: of what was lost before its first message and behind its last one.)
0 also says that another node's messages came within 2 s of the broker's return, and that those of the own
node took at most twice as long (p50) while it was away.
"""

from __future__ import annotations

import argparse
import os
import sys

from tests.chaos.nodes import BROKERS, NodesPlan, besiege_nodes
from tests.chaos.siege import Plan, besiege

#: Milliseconds.
RETURN_P99 = 250.0
#: Seconds from the return of the broker; and how many times as long a message within a node may take.
BACK_SECONDS, LOCAL_TIMES = 2.0, 2.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=500.0, help="messages a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--broker", choices=BROKERS, help="two nodes that share by this one")
    options = vars(parser.parse_args())
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}", flush=True)
    if options["broker"] is not None:
        return nodes(NodesPlan(**options))
    del options["broker"]
    verdict = besiege(Plan(**options))
    p50, p99 = (1000 * verdict.percentile(part) for part in (0.5, 0.99))
    print(f"messages sent {verdict.sent:,}, numbered {verdict.numbered:,} in {verdict.epochs} epochs")
    print(f"deliveries {verdict.delivered:,}, each position once; told missed {verdict.missed:,}")
    print(f"cuts {verdict.cuts:,}, workers killed {verdict.kills}, keepers killed {verdict.keeper_kills}")
    print(f"returns {len(verdict.returns):,}: p50 {p50:.0f} ms, p99 {p99:.0f} ms (bound {RETURN_P99:.0f} ms)")
    print(f"told: {dict(verdict.told)}; closed or refused: {dict(verdict.codes)}")
    for fault, count in verdict.faults.items():
        print(f"WRONG {fault}: {count}")
    if verdict.faults:
        print(verdict.log[-8000:])
    return 1 if verdict.faults or p99 > RETURN_P99 else 0


def nodes(plan: NodesPlan) -> int:
    """Besiege two nodes."""
    verdict = besiege_nodes(plan)
    print(f"messages sent {verdict.sent:,}; numbered {verdict.numbered:,} in {verdict.epochs} epoch(s)")
    print(f"sent again with their id, and not numbered again: {verdict.repeated:,}")
    print(f"deliveries {verdict.delivered:,}, no double; with a history told missed {verdict.missed:,}")
    print(f"plain topics, who stayed: missing {verdict.missing:,}, reported {verdict.reported:,}")
    between = f"missing {verdict.missing_between:,}, reported {verdict.reported_between:,}"
    print(f"plain topics, who came and went: {between}")
    print(f"cuts {verdict.cuts:,}, workers killed {verdict.kills}")
    for outage in verdict.outages:
        back = outage.returned - outage.end
        print(f"{outage.what} for {outage.end - outage.start:.1f} s: another node heard after {back:.2f} s")
    local, away = 1000 * verdict.local, 1000 * verdict.local_away
    print(f"within a node p50 {local:.2f} ms, while the broker was away {away:.2f} ms")
    print(f"told: {dict(verdict.told)}; closed or refused: {dict(verdict.codes)}")
    if verdict.slowest_return > BACK_SECONDS:
        verdict.faults[f"back after more than {BACK_SECONDS:g} s"] += 1
    if away > LOCAL_TIMES * local:
        verdict.faults[f"more than {LOCAL_TIMES:g} times as long within a node"] += 1
    for fault, count in verdict.faults.items():
        print(f"WRONG {fault}: {count}")
    if verdict.faults:
        print(verdict.log[-8000:])
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
