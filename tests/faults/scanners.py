"""What others' tools say: slowhttptest (slow heads, bodies, reads and ranges), and testssl.sh over TLS."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.faults.harness import Missing, Record, Site, eventually, herd, row, server

#: Its modes, with what each needs beside the common options.
MODES = {
    "slow heads": ["-H"],
    "slow bodies": ["-B", "-s", "8192"],
    "slow reads": ["-X", "-w", "10", "-y", "20", "-n", "2", "-z", "8", "-k", "3"],
    "ranges": ["-R", "-a", "5", "-b", "3000"],
}


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed")
    return found


@row("slowhttptest", "slowhttptest: slow heads, bodies and reads, and ranges")
def slow_http(record: Record) -> None:
    tool("slowhttptest")
    for name, options in MODES.items():
        with (
            tempfile.TemporaryDirectory() as large,
            server("--no-access-log", "--static", f"/large={large}") as site,
            herd(site, 1, kind="echo", interval=0.05) as normal,
        ):
            # More than the kernel takes for one who does not read.
            (Path(large) / "file").write_bytes(bytes(8 << 20))
            files = site.files()
            normal.stats()
            seconds = _slow(record, site, name, options)
            seen = normal.stats()
            record.at_most(f"{name}: canary's p99", seen["delays"]["p99"], 100, "ms")
            record.equal(f"{name}: canary's errors", seen["ended"] + seen["disorder"], 0)
            eventually(lambda site=site, files=files: site.files() <= files, 15)  # type: ignore[misc]
            record.at_most(f"{name}: files more, afterwards", site.files() - files, 0)
            record.note(seconds)


def _slow(record: Record, site: Site, name: str, options: list[str]) -> str:
    count, rate, length = record.choose((1000, 200, 30), (50, 50, 3))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        path = "/large/file" if name in ("slow reads", "ranges") else "/"
        command = [tool("slowhttptest"), *options, "-g", "-o", str(out), "-c", str(count), "-r", str(rate)]
        command += ["-l", str(length), "-i", "2", "-p", "3", "-u", f"http://127.0.0.1:{site.port}{path}"]
        subprocess.run(command, check=False, capture_output=True, timeout=length + 60)
        with out.with_suffix(".csv").open(newline="") as file:
            lines = list(csv.DictReader(file, skipinitialspace=True))
    lines = [{key.strip(): (value or "0").strip() for key, value in line.items() if key} for line in lines]
    up = [float(line["Service Available"]) > 0 for line in lines]
    record.at_least(f"{name}: seconds that the service answered, of all", sum(up) / len(up) * 100, 100, "%")
    most = max(int(line["Connected"]) for line in lines)
    return f"{name}: {count:,} connections; open at most {most:,}, closed in the end {lines[-1]['Closed']}"


#: What testssl.sh calls worth telling although nothing is wrong with the server.
KNOWN = {
    "cert_chain_of_trust",  # the authority is one's own, as `fastws cert` makes it
    "cert_revocation",  # and so it names no place where revoked certificates are listed
    "engine_problem",  # of the openssl that testssl.sh itself runs
}
#: Whether browsers may never come without TLS again is for a site to say, not for a server.
HSTS = ("--header", "Strict-Transport-Security: max-age=31536000; includeSubDomains")


@row("testssl", "testssl.sh: only the chain that nobody else trusts may be found")
def tls(record: Record) -> None:
    program = tool("testssl")
    with (
        server("--no-access-log", *HSTS, tls=True, clean=False) as site,
        tempfile.TemporaryDirectory() as folder,
    ):
        out = Path(folder) / "out.json"
        checks = [] if record.full else ["--protocols"]
        command = [program, "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", *checks]
        command += ["--jsonfile", str(out), f"https://127.0.0.1:{site.port}"]
        subprocess.run(command, check=False, capture_output=True, timeout=600)
        findings: list[dict[str, Any]] = json.loads(out.read_text())
        bad = [each for each in findings if each["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN")]
        others = [f"{each['id']}: {each['finding']}" for each in bad if each["id"] not in KNOWN]
        record.at_least("findings in all, harmless ones too", len(findings), 10)
        record.equal("findings beside the chain of the own authority", "; ".join(others) or "none", "none")
        record.equal("process alive", site.alive(), wanted=True)
        record.note("; ".join(f"{each['id']} ({each['severity']}): {each['finding']}" for each in bad))
