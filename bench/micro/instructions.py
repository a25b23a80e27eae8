"""Instructions counted by callgrind: the same on a busy machine as on an idle one.

The figures depend on the interpreter and the compiler, so there is one set for each minor version
of Python, each architecture and each level of optimisation.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

import fastws
from bench.launch import ROOT
from bench.micro.feed_paths import MOST
from bench.micro.frame_path import CALLS
from bench.micro.material import engines
from bench.micro.paths import PATHS

__all__ = [
    "RECORD", "Difference", "NothingToCount", "Share", "check", "compare", "count", "key", "record", "shares",
]  # fmt: skip

RECORD = Path(__file__).parent / "instructions.json"
#: A compiler's patch release moves a count by a percent or two; a change worth knowing of by more.
TOLERANCE = 0.05
#: What the paths are counted with in turn: the least of them has nothing in it that is due to addresses.
LAYOUTS = ("0", "100", "200")
Counts = dict[str, int]


class NothingToCount(Exception):
    """Valgrind is not installed, or what is recorded is not built: nothing can be counted."""


@dataclass(frozen=True, slots=True)
class Difference:
    name: str
    recorded: int | None
    counted: int | None

    @property
    def close(self) -> bool:
        if self.recorded is None or self.counted is None:
            return False
        return abs(self.counted - self.recorded) <= TOLERANCE * self.recorded

    def __str__(self) -> str:
        if self.counted is None:
            return f"{self.name}: recorded {self.recorded:,}, but not counted"
        if self.recorded is None:
            return f"{self.name}: {self.counted:,} instructions, not recorded yet"
        percent = 100 * (self.counted / self.recorded - 1)
        verdict = "" if self.close else f": NOT within {TOLERANCE:.0%}"
        recorded = f"recorded {self.recorded:,} ({percent:+.1f} %)"
        return f"{self.name}: {self.counted:,} instructions, {recorded}{verdict}"


@dataclass(frozen=True, slots=True)
class Share:
    """What a path costs, in costs of another one, and what it may cost."""

    name: str
    other: str
    times: float
    most: float

    @property
    def held(self) -> bool:
        return self.times <= self.most

    def __str__(self) -> str:
        verdict = "" if self.held else f": NOT at most {self.most}"
        return f"{self.name}: {self.times:.3f} times {self.other} (at most {self.most}){verdict}"


def key() -> str:
    """Which set of figures is meant here, such as ``cpython-3.11-x86_64-O3``.

    Extensions are compiled as their Python was: Debian's has -O2 and a protected stack, which is 10 %
    more instructions in places.
    """
    version = ".".join(platform.python_version_tuple()[:2])
    levels = re.findall(r"-(O\w)", sysconfig.get_config_var("CFLAGS") or "")
    level = levels[-1] if levels else "O0"
    return f"{platform.python_implementation().lower()}-{version}-{platform.machine()}-{level}"


def count() -> Counts:
    """Run both programs under callgrind: instructions of one call, by name. Raises NothingToCount."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise NothingToCount("valgrind is not installed")
    if "c" not in engines():
        raise NothingToCount("the C engine is not built")
    if not _is_compiled():
        raise NothingToCount("the hot path is not compiled")
    calls = {name: rounds * each for name, (rounds, each, _) in PATHS.items()}
    totals = _run(valgrind, "bench.micro.frame_path")
    for classes in LAYOUTS:
        for name, total in _run(valgrind, "bench.micro.paths", classes).items():
            totals[name] = min(total, totals.get(name, total))
    return {name: total // calls.get(name, CALLS) for name, total in totals.items()}


def _is_compiled() -> bool:
    file = sys.modules[fastws.Hub.__module__].__file__
    return file is not None and not file.endswith(".py")


def _run(valgrind: str, module: str, *arguments: str) -> Counts:
    """Run one of the programs: all instructions between its marks, by name."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        tool = [valgrind, "--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={out}"]
        done = subprocess.run(
            [*tool, sys.executable, "-m", module, *arguments],
            cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "0"},
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{module} does not run under valgrind: {done.stderr.strip()[-300:]}")
        names = done.stdout.splitlines()
        parts = [Path(f"{out}.{2 * (number + 1)}").read_text() for number in range(len(names))]
    return {name: _total(part) for name, part in zip(names, parts, strict=True)}


def _total(part: str) -> int:
    found = re.search(r"^totals: (\d+)", part, re.MULTILINE)
    assert found is not None
    return int(found[1])


def compare(recorded: Counts, counted: Counts) -> list[Difference]:
    """All that either side has; what one lacks is a difference too."""
    names = list(dict.fromkeys([*recorded, *counted]))
    return [Difference(name, recorded.get(name), counted.get(name)) for name in names]


def shares(counted: Counts) -> list[Share]:
    """How the paths that are bound to another one compare with it."""
    return [
        Share(name, other, counted[name] / counted[other], most)
        for (name, other), most in MOST.items()
        if name in counted and other in counted
    ]


def check(tell: Callable[[str], None], file: Path = RECORD) -> bool:
    """Count and compare; False when a figure has moved, or a path costs too much beside another one.

    What cannot be checked is said, and passes.
    """
    recorded = _load(file).get(key())
    if recorded is None:
        tell(f"SKIPPED: no instruction counts are recorded for {key()}")
        return True
    try:
        counted = count()
    except NothingToCount as reason:
        tell(f"SKIPPED: {reason}; instruction counts are not checked")
        return True
    differences, compared = compare(recorded, counted), shares(counted)
    for line in (*differences, *compared):
        tell(str(line))
    return all(each.close for each in differences) and all(each.held for each in compared)


def record(tell: Callable[[str], None], file: Path = RECORD) -> None:
    """Count, and write the figures down for this Python and architecture. Raises NothingToCount."""
    counted = count()
    for line in (*compare(_load(file).get(key(), {}), counted), *shares(counted)):
        tell(str(line))
    everything = {**_load(file), key(): counted}
    file.write_bytes(orjson.dumps(everything, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")


def _load(file: Path) -> dict[str, Counts]:
    if not file.exists():
        return {}
    figures: dict[str, Counts] = orjson.loads(file.read_bytes())
    return figures
