"""``python -m tests.chaos``: clients that are cut, workers and the keeper that are killed, and nothing lost.

300 plain clients of a topic with a history on two workers, 500 messages a second, sockets cut at random by a
proxy, five ``kill -9`` of workers and one of the keeper: each client has every position exactly once, or was
told. Exit code: 0 it was so, and those who came back knew within 250 ms where they go on (p99); 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import sys

from tests.chaos.siege import Plan, besiege

#: Milliseconds.
RETURN_P99 = 250.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=500.0, help="messages a second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}", flush=True)
    verdict = besiege(Plan(**vars(options)))
    p50, p99 = (1000 * verdict.percentile(part) for part in (0.5, 0.99))
    print(f"messages sent {verdict.sent:,}, numbered {verdict.numbered:,} in {verdict.epochs} epochs")
    print(f"deliveries {verdict.delivered:,}, each position once; told missed {verdict.missed:,}")
    print(f"cuts {verdict.cuts:,}, workers killed {verdict.kills}, keepers killed {verdict.keeper_kills}")
    print(f"returns {len(verdict.returns):,}: p50 {p50:.0f} ms, p99 {p99:.0f} ms (bound {RETURN_P99:.0f} ms)")
    print(f"told: {dict(verdict.told)}; closed or refused: {dict(verdict.codes)}")
    for fault, count in verdict.faults.items():
        print(f"WRONG {fault}: {count}")
    if verdict.faults:
        print(verdict.log[-5000:])
    return 1 if verdict.faults or p99 > RETURN_P99 else 0


if __name__ == "__main__":
    sys.exit(main())
