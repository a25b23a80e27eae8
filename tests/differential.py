"""``python -m tests.differential``: both engines on a million streams.

It runs tests/protocol/websocket/test_differential.py again and again, each time with another seed in a
process of its own: hypothesis keeps what it has seen.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: In one process; each example of hypothesis is followed by so many variants of it.
EXAMPLES, VARIANTS = 2_000, 24
STREAMS = "tests/protocol/websocket/test_differential.py"
COMMAND = ["-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", STREAMS]


def main(args: list[str] | None = None) -> int:
    """Exit code: 0 the engines agree, 1 they do not (and what pytest said is printed)."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=main.__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first process")
    options = parser.parse_args(args)
    sizes = {"FASTWS_DIFFERENTIAL_EXAMPLES": str(EXAMPLES), "FASTWS_DIFFERENTIAL_VARIANTS": str(VARIANTS)}
    env = {**os.environ, **sizes, "CI": "true"}
    seed, readers, encoders = options.seed, 0, 0
    while readers < options.cases:
        command = [sys.executable, *COMMAND, f"--hypothesis-seed={seed}"]
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, check=False)
        told = re.search(r"cases: (\d+) (\d+)", done.stdout)
        if done.returncode or told is None:
            print(f"seed {seed}:\n{done.stdout}\n{done.stderr}")
            return 1
        readers, encoders, seed = readers + int(told[1]), encoders + int(told[2]), seed + 1
        print(f"{readers} streams read, {encoders} messages encoded, the last seed {seed - 1}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
