"""The attackers of a siege, in a process and a session of their own.

Run as ``python -m tests.siege.force ws|wss PORT COUNT SECONDS SEED``; it prints how often it made each.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

from tests.siege import attacks
from tests.siege.attackers import Target, attack_for


def main(args: list[str]) -> None:
    target = Target(int(args[1]), tls=args[0] == "wss")
    count, seconds, seed = int(args[2]), float(args[3]), int(args[4])
    chosen = attacks.ALL + (attacks.TLS if target.tls else [])
    made = asyncio.run(attack_for(target, chosen, count, seconds, random.Random(seed)))
    print(json.dumps(made))


if __name__ == "__main__":
    main(sys.argv[1:])
