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

#: Each with its name; every one is called CALLS times between two marks.
Work = tuple[str, Callable[[], object]]
WARM_UP, CALLS = 100, 300


def work() -> list[Work]:
    """What is counted, for each engine that is built."""
    found: list[Work] = []
    for name, engine in engines().items():
        reader = engine.Reader(False, 1 << 20, 16_384, 64, None)
        for stream in ("20 B", "16 x 20 B", "1 KiB text"):
            found.append((f"{name}: scan {stream}", partial(reader.receive, STREAMS[stream])))
        for kind, mask in (("", None), (" masked", MASK)):
            found.append(
                (f"{name}: encode 20 B{kind}", partial(engine.encode, TEXT, "t" * 20, mask, True, False))
            )
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
