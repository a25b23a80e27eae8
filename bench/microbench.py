"""Runs bench/micro with pytest-benchmark, and keeps or compares its baseline."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson

from bench.launch import ROOT

__all__ = ["BASELINE", "compare_with_baseline", "save_baseline", "trimmed"]

BASELINE = Path(__file__).parent / "micro" / "baseline.json"
COLUMNS = "--benchmark-columns=min,median,iqr,rounds"
#: What a comparison reads; the rest of a benchmark's record would only make the file large.
KEPT = ("group", "name", "fullname", "params", "param", "extra_info", "options", "stats")


def compare_with_baseline(more: tuple[str, ...] = ()) -> int:
    """Run all of them beside the recorded figures; the exit status of pytest."""
    against = [f"--benchmark-compare={BASELINE}"] if BASELINE.exists() else []
    # Another machine than the baseline's is worth a warning, and no failure as warnings of tests are.
    against.append("-Wdefault::pytest_benchmark.logger.PytestBenchmarkWarning")
    return _pytest(COLUMNS, "--benchmark-group-by=fullname", *against, *more)


def save_baseline(more: tuple[str, ...] = ()) -> int:
    """Run all of them and record their figures; nothing is written when one fails."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder, "fresh.json")
        status = _pytest(COLUMNS, f"--benchmark-json={fresh}", *more)
        if status == 0:
            data = trimmed(orjson.loads(fresh.read_bytes()))
            BASELINE.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n")
    return status


def trimmed(data: dict[str, Any]) -> dict[str, Any]:
    """pytest-benchmark's record without the single timings, its times in whole tenths of nanoseconds."""
    benchmarks = []
    for benchmark in data["benchmarks"]:
        kept = {name: benchmark[name] for name in KEPT}
        stats = {name: value for name, value in benchmark["stats"].items() if name != "data"}
        kept["stats"] = {name: _rounded(value) for name, value in stats.items()}
        benchmarks.append(kept)
    return {**data, "benchmarks": benchmarks}


def _rounded(value: Any) -> Any:
    return round(value, 10) if isinstance(value, float) and value < 1 else value


def _pytest(*options: str) -> int:
    argv = [sys.executable, "-m", "pytest", "bench/micro", "-q", "--benchmark-only", *options]
    return subprocess.run(argv, cwd=ROOT).returncode
