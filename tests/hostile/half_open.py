"""P2, in a network namespace of its own: ``unshare --net ... python -m tests.hostile.half_open ENGINE FORM``.

The server has one end of a pair of devices, the clients, in a second namespace, have the other; then
the link goes down, and nobody says goodbye. Exit code 77: such devices cannot be had here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.cli.helpers import running
from tests.hostile.payloads import request
from tests.kit.process import MIB, open_files, rss
from tests.live.raw import Peer
from tests.live.servers import child_environment

SERVER, CLIENTS = "10.77.0.1", "10.77.0.2"
CANARY = Path(__file__).with_name("canary.py")
#: Opens many WebSockets, says so, and holds them.
CROWD = """
import socket, sys, time
sys.path.insert(0, %r)
from tests.live.raw import upgrade
socks = []
for _ in range(%d):
    sock = socket.create_connection((%r, %d), 10)
    sock.sendall(upgrade("/parting"))
    while not sock.recv(4096).endswith(b"\\r\\n\\r\\n"):
        pass
    socks.append(sock)
print("open", flush=True)
time.sleep(600)
"""


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stderr.strip(), file=sys.stderr)
        sys.exit(77)


def play(engine: str, long: bool) -> None:
    count, limit = (1000, 45.0) if long else (100, 8.0)
    options = [] if long else ["--ws-ping-interval=1", "--ws-ping-timeout=1"]
    options += ["--host=0.0.0.0", "--port=0", "--loop", "auto" if engine == "c" else "asyncio"]
    ip("link", "set", "lo", "up")
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(["unshare", "--net", "sleep", "600"]) as other,
        child_environment(traced=False, engine=engine),
        running(Path(folder), "serve", "tests.hostile.apps:routes", *options) as child,
    ):
        try:
            await_namespace(other.pid)
            ip("link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", str(other.pid))
            ip("addr", "add", f"{SERVER}/30", "dev", "v0")
            ip("link", "set", "v0", "up")
            inside = ["nsenter", "--net", "--target", str(other.pid)]
            subprocess.run([*inside, "ip", "addr", "add", f"{CLIENTS}/30", "dev", "v1"], check=True)
            subprocess.run([*inside, "ip", "link", "set", "v1", "up"], check=True)
            port = int(child.address().rpartition(":")[2])
            vanish(child, port, inside, count, limit)
        finally:
            other.kill()


def await_namespace(pid: int) -> None:
    """Until ``unshare`` has made a namespace for the process and become it."""
    while os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net"):
        time.sleep(0.02)


def vanish(child: object, port: int, inside: list[str], count: int, limit: float) -> None:
    pid = child.process.pid  # type: ignore[attr-defined]
    canary = subprocess.Popen(
        [sys.executable, str(CANARY), str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    code = CROWD % (str(Path(__file__).parents[2]), count, SERVER, port)
    try:
        assert canary.stdin is not None and canary.stdout is not None
        assert canary.stdout.readline() == "ready\n"
        before = open_files(pid)
        tell(port)
        while open_files(pid) > before:  # until that connection has gone
            time.sleep(0.02)
        files, memory = open_files(pid), rss(pid)
        with subprocess.Popen([*inside, sys.executable, "-c", code], stdout=subprocess.PIPE) as crowd:
            try:
                assert crowd.stdout is not None and crowd.stdout.readline() == b"open\n"
                assert open_files(pid) == files + count
                ip("link", "set", "v0", "down")
                started = time.monotonic()
                while open_files(pid) > files:
                    assert time.monotonic() - started < limit, f"{open_files(pid) - files} are left"
                    time.sleep(0.05)
            finally:
                crowd.kill()
        assert rss(pid) - memory < 5 * MIB
        assert tell(port)["closes"] == [1006] * count
        canary.stdin.write("?\n")
        canary.stdin.flush()
        saw = json.loads(canary.stdout.readline())
        assert saw["count"] and not saw["errors"], saw
    finally:
        canary.kill()
        canary.communicate()
    assert child.stop() == 0  # type: ignore[attr-defined]
    assert "Traceback" not in child.stderr()  # type: ignore[attr-defined]


def tell(port: int) -> dict[str, list[int]]:
    with Peer(port) as peer:
        peer.send(request("/parting", "Connection: close"))
        told: dict[str, list[int]] = json.loads(peer.response()[1])
        return told


if __name__ == "__main__":
    play(sys.argv[1], sys.argv[2] == "long")
