"""The attackers of a siege, in a process and a session of their own.

Run as ``python -m tests.siege.force PORT COUNT SECONDS SEED``; it prints how often it made each attack.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

from tests.siege import attacks
from tests.siege.attackers import attack_for


def main(args: list[str]) -> None:
    port, count, seconds, seed = int(args[0]), int(args[1]), float(args[2]), int(args[3])
    made = asyncio.run(attack_for(port, attacks.ALL, count, seconds, random.Random(seed)))
    print(json.dumps(made))


if __name__ == "__main__":
    main(sys.argv[1:])
