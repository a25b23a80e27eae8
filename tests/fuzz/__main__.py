"""``python -m tests.fuzz``: run each target for a while; what breaks it is added to the corpus."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
CORPUS = FOLDER / "corpus"
PYTHON_TARGETS = (
    "request_head",
    "frames_server",
    "frames_client",
    "extensions",
    "deflate",
    "static_path",
    "connection",
)
C_TARGET = "frames_c"


def main(args: list[str] | None = None) -> int:
    """Exit code: 0 nothing found, 1 something found, or a tool is missing that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=main.__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join([*PYTHON_TARGETS, C_TARGET]))
    parser.add_argument("--seconds", type=int, default=30, help="for each target")
    parser.add_argument("--jobs", type=int, default=1, help="targets that run at the same time")
    parser.add_argument("--grow", action="store_true", help="keep inputs that reach new lines")
    options = parser.parse_args(args)
    unknown = set(options.targets) - {*PYTHON_TARGETS, C_TARGET}
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    with ThreadPoolExecutor(options.jobs) as jobs:
        held = jobs.map(
            lambda target: fuzz(target, options.seconds, options.grow),
            options.targets or [*PYTHON_TARGETS, C_TARGET],
        )
        return 0 if all(list(held)) else 1


def fuzz(target: str, seconds: int, grow: bool) -> bool:
    """Run one target; True when it held."""
    missing = "clang" if target == C_TARGET and not shutil.which("clang") else ""
    if target != C_TARGET and importlib.util.find_spec("atheris") is None:
        missing = "atheris"
    if missing:
        print(f"SKIPPED fuzz {target}: {missing} is not installed", flush=True)
        return os.environ.get("TESTS_REQUIRE_FUZZ") != "1"
    seeds = CORPUS / target
    seeds.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "new").mkdir()
        command = build_c(work) if target == C_TARGET else [sys.executable, "-m", "tests.fuzz.target", target]
        options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", "-print_final_stats=1"]
        ran = _run([*command, *options, f"-artifact_prefix={work}/", str(work / "new"), str(seeds)])
        for crash in [*work.glob("crash-*"), *work.glob("timeout-*"), *work.glob("oom-*")]:
            shutil.copy(crash, seeds / crash.name)
            print(f"FOUND {seeds / crash.name}", flush=True)
        if grow and ran.returncode == 0:
            _grow(command, work, seeds)
    units = [line.split()[-1] for line in ran.stderr.splitlines() if "number_of_executed_units" in line]
    print(
        f"{target}: {'held' if ran.returncode == 0 else 'BROKEN'}, {' '.join(units) or '?'} inputs",
        flush=True,
    )
    if ran.returncode:
        told = [line for line in ran.stderr.splitlines() if not line.startswith(("INFO:", "#", "stat::"))]
        print("\n".join([ran.stdout[-2000:], *told])[-4000:])
    return ran.returncode == 0


def _grow(command: list[str], work: Path, seeds: Path) -> None:
    """Add the few of the new inputs that reach what no other does, under names of their content."""
    merged = work / "merged"
    merged.mkdir()
    _run([*command, "-merge=1", str(merged), str(seeds), str(work / "new")])
    known = {path.read_bytes() for path in seeds.iterdir()}
    for path in sorted(merged.iterdir(), key=lambda path: path.stat().st_size):
        data = path.read_bytes()
        if data not in known and len(data) <= 512:
            (seeds / hashlib.sha1(data, usedforsecurity=False).hexdigest()[:12]).write_bytes(data)


def build_c(work: Path) -> list[str]:
    """Compile the C target and return the command that runs it."""
    variables = sysconfig.get_config_vars()
    include = sysconfig.get_path("include")
    library = f"-L{variables['LIBDIR']}", f"-Wl,-rpath,{variables['LIBDIR']}"
    version = sysconfig.get_config_var("LDVERSION")
    flags = ["-g", "-O1", "-fwrapv", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    binary = work / C_TARGET
    parts = map(str, sorted((ROOT / "fastws/protocol/websocket").glob("_frames_*.c")))
    made = _run(
        ["clang", *flags, f"-I{include}", str(FOLDER / "frames.c"), *parts, "-o", str(binary), *library]
        + [f"-lpython{version}", "-lm", "-ldl"]
    )
    if made.returncode:
        raise SystemExit(f"the C target cannot be built: {made.stderr[-2000:]}")
    return [str(binary), "-detect_leaks=0"]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [*sys.path, os.environ.get("PYTHONPATH")])])
    # malloc: the sanitizer sees every object. Interpreted, so that atheris sees every line.
    env = {**os.environ, "PYTHONPATH": path, "PYTHONMALLOC": "malloc", "FASTWS_COMPILED": "0"}
    env["PYTHONHOME"] = sys.base_prefix
    return subprocess.run(command, capture_output=True, text=True, errors="replace", env=env, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
