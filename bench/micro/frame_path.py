"""The frame path, called so that callgrind can count its instructions. Run by ``instructions.py``.

Before and after what counts stands a call of getppid(2), at which callgrind writes a part of its output.
Prints the names in the order of the parts: number 2, 4, 6...
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import partial

from bench.micro.material import MASK, STREAMS, TEXT, engines
from fastws.protocol.websocket.frames import encode

#: Each with its name; every one is called CALLS times between two marks.
Work = tuple[str, Callable[[], object]]
WARM_UP, CALLS = 100, 300

#: Objects above 512 bytes come from malloc(3), whose instructions depend on all that was allocated before.
SMALL = {
    "20 B": STREAMS["20 B"],
    "16 x 20 B": STREAMS["16 x 20 B"],
    "400 B ASCII": encode(TEXT, "t" * 400, MASK),
    "400 B text": encode(TEXT, "tü" * 133, MASK),
}


def work() -> list[Work]:
    """What is counted, all on the C engine: of the other, the packages it calls make most of the count."""
    engine = engines()["c"]
    reader = engine.Reader(1 << 20, 16_384, 64, None, client=False)
    found: list[Work] = [(f"scan {name}", partial(reader.receive, data)) for name, data in SMALL.items()]
    for kind, mask in (("server", None), ("client", MASK)):
        for size in (20, 400):
            call = partial(engine.encode, TEXT, "t" * size, mask)
            found.append((f"encode {size} B, {kind}", call))
    return found


def main() -> None:
    phases = work()
    gc.disable()
    for _, call in phases:
        for _ in range(WARM_UP):
            call()
        os.getppid()
        for _ in range(CALLS):
            call()
        os.getppid()
    print("\n".join(name for name, _ in phases))


if __name__ == "__main__":
    main()
