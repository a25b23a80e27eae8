"""A process and its children out of /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fastws.loadgen import procstat
from fastws.loadgen.plan import LoadgenError
from fastws.loadgen.procstat import ServerProbe

#: 30 MB, and 0.2 s of CPU.
BUSY = """import time; data = b"x" * 30_000_000; end = time.process_time() + 0.2
while time.process_time() < end: pass
"""
TELL = "print(1, flush=True); time.sleep(9)"
CHILD = BUSY + TELL
IN_A_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
WITH_A_NAME = "import ctypes; ctypes.CDLL(None).prctl(15, b') R 1 (', 0, 0, 0); "


@contextmanager
def python(code: str) -> Iterator[subprocess.Popen[bytes]]:
    """A child that has come to its first line of output."""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert child.stdout is not None and child.stdout.readline()
        yield child
    finally:
        os.killpg(child.pid, 9)
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


@pytest.mark.parametrize("code", [WITH_A_NAME + BUSY + TELL, IN_A_CHILD])
def test_cpu_and_memory_are_those_of_the_whole_family(code: str) -> None:
    with python(code) as child:
        usage = ServerProbe(child.pid)()
    assert 0.2 <= usage.cpu < 3
    assert 30_000_000 < usage.rss < 300_000_000


def test_cpu_of_this_process_is_what_the_system_says() -> None:
    assert procstat.cpu_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.05)


def test_without_the_exact_clock_there_are_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(clock: int) -> float:
        raise OSError

    exact = procstat.cpu_seconds(os.getpid())
    monkeypatch.setattr(time, "clock_gettime", refused)
    assert procstat.cpu_seconds(os.getpid()) == pytest.approx(exact, abs=0.2)


def test_a_process_that_is_not_there_is_told() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(LoadgenError, match="there is no such process"):
        ServerProbe(child.pid)
    assert procstat.rss_bytes(child.pid) == 0 and procstat.cpu_seconds(child.pid) == 0
