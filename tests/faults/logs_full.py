"""F10: the disk on which the logs are is full, and later has room again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from tests.faults.harness import Missing, Record, Site, eventually, herd, row, server
from tests.kit.process import cpu_seconds
from tests.live.raw import Peer

DISK = 1024 * 1024
#: The server's own view of the file system: both of its logs are on a disk of one MiB.
MOUNTED = """
mount -t tmpfs -o size=1m none "$LOGS" || exit 99
exec "$@" >"$LOGS/stdout" 2>"$LOGS/stderr"
"""


@row("F10", "the disk of the logs, 1 MiB, is full")
def full(record: Record) -> None:
    if shutil.which("unshare") is None or not _may_mount():
        raise Missing("nobody may mount a tmpfs here: that needs root, and unshare")
    seconds = record.choose(180, 3)
    # At the same time, each with a server and a disk of its own.
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(_fill, record, form, seconds) for form in ("text", "json")]:
            done.result()
    if record.full:
        record.note(f"shortened: full for {seconds // 60} minutes instead of 10")


def _may_mount() -> bool:
    command = ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=4k none /mnt"]
    return subprocess.run(command, capture_output=True).returncode == 0


def _fill(record: Record, form: str, seconds: float) -> None:
    prefix = ("unshare", "-m", "sh", "-c", MOUNTED, "sh")
    with (
        tempfile.TemporaryDirectory() as folder,
        server("--log-format", form, prefix=prefix, output=folder, env={"LOGS": folder}) as site,
        herd(site, 20, kind="echo", interval=0.2) as normal,
    ):
        normal.stats()
        time.sleep(seconds / 3)
        before = normal.stats()
        ballast = site.folder / "ballast"
        ballast.write_bytes(bytes(DISK // 2))
        _ask_until_full(site)
        with Peer(site.port) as plain:
            cpu, until, asked = cpu_seconds(site.pid), time.monotonic() + seconds, 0
            while time.monotonic() < until:
                _ask(plain)
                asked += 1
                time.sleep(0.002)
            cpu = cpu_seconds(site.pid) - cpu
            during = normal.stats()
            size = _logged(site)
            ballast.unlink()
            resumed = eventually(lambda: _ask(plain) or _logged(site) > size, 5)
        lines = (site.folder / "stdout").read_text(errors="replace").splitlines()
        errors = site.stderr()
    record.equal(f"{form}: echoes lost or wrong", before["ended"] + during["ended"] + during["disorder"], 0)
    bound = max(2 * before["delays"]["p99"], 10.0)
    record.at_most(f"{form}: echoes' p99 while the disk is full", during["delays"]["p99"], bound, "ms")
    record.at_most(
        f"{form}: server's CPU for {asked / seconds:.0f} requests a second",
        cpu / seconds * 100,
        50,
        "% of a core",
    )
    record.at_most(f"{form}: lines again, once there is room", resumed, 5, "s")
    missing = sum(map(int, re.findall(r"(\d+) lines of the log could not be written", "\n".join(lines))))
    record.at_least(f"{form}: lines that the log says are missing", missing, 1)
    record.equal(f"{form}: tracebacks", errors.count("Traceback"), 0)
    if form == "json":
        record.at_most("json: lines that are torn", sum(not _is_json(line) for line in lines if line), 1)


def _ask(plain: Peer) -> None:
    plain.send(b"GET /nowhere/%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 1000))
    plain.response()


def _ask_until_full(site: Site) -> None:
    """Requests until the log grows no more."""
    with Peer(site.port) as plain:
        size = -1
        while size != _logged(site):
            size = _logged(site)
            for _ in range(20):
                _ask(plain)


def _logged(site: Site) -> int:
    return os.stat(site.folder / "stdout").st_size


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
