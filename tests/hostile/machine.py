"""Attacks on what the process and the network lend: file descriptors, and peers that are still there."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hostile.harness import LONG, Arena, cpu_now
from tests.kit.process import open_files
from tests.live.raw import TEXT, Peer, frame

ROOT = Path(__file__).parents[2]


def no_descriptors(arena: Arena) -> None:
    """More clients than files: those who are in go on, few lines tell it, and the next free file serves."""
    site = arena.site
    soft, hard = resource.prlimit(site.pid, resource.RLIMIT_NOFILE)
    room = open_files(site.pid) + 40
    with ExitStack() as stack:
        stack.callback(resource.prlimit, site.pid, resource.RLIMIT_NOFILE, (soft, hard))
        served = [stack.enter_context(arena.peer()).upgrade() for _ in range(25)]
        resource.prlimit(site.pid, resource.RLIMIT_NOFILE, (room, hard))
        lines = len(site.child.stderr().splitlines())
        cpu, started = cpu_now(site.pid), time.monotonic()
        excess = [stack.enter_context(Peer(site.port)) for _ in range(arena.choose(60, 400))]
        for _ in range(arena.choose(20, 600)):
            for peer in served:
                peer.send(frame(TEXT, b"still here"))
                assert peer.no_ping().payload == b"still here"
            time.sleep(0.1)
        seconds = time.monotonic() - started
        told = len(site.child.stderr().splitlines()) - lines
        assert told <= seconds + 1, f"{told} lines in {seconds:.1f} s"
        arena.quick(cpu_now(site.pid) - cpu, 0.2 * seconds, f"in {seconds:.1f} s of no files")
        for peer in excess + served[:20]:
            peer.sock.close()
        # Plain asyncio runs out again with those in the backlog who are gone, and waits a second each time.
        patience = 1.5 if arena.engine == "c" else 1.5 + len(excess) / 25
        arena.until(lambda: served_again(arena), patience, "a new client is served")


def served_again(arena: Arena) -> bool:
    try:
        with arena.peer() as late:
            late.upgrade()
            return True
    except (OSError, EOFError):
        return False


def half_open(arena: Arena) -> None:
    """Peers whose network goes away: pings find out, and the application is told once for each."""
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    namespace = ["unshare", "--net", "--map-root-user", "--user"]
    if subprocess.run([*namespace, "true"], capture_output=True).returncode != 0:
        pytest.skip("a network namespace of its own is not permitted here")
    command = [*namespace, sys.executable, "-m", "tests.hostile.half_open", arena.engine]
    done = subprocess.run(
        [*command, "long" if LONG else "short"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    if done.returncode == 77:
        pytest.skip(f"no pair of network devices: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
