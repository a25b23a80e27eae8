"""What the tests of hostile clients share: a server, looked at before and after, and a normal client."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.live.process import MIB, open_files, rss
from tests.live.raw import BINARY, Peer, close_frame, frame
from tests.live.servers import Servers, Site

__all__ = ["DEFLATE", "LIMIT", "MS", "bounded", "many", "request", "under_attack"]

MS = 0.001
#: The built-in limit of a message.
LIMIT = 1 << 20
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


@contextmanager
def under_attack(servers: Servers, engine: str | None, loop: str = "auto") -> Iterator[Site]:
    """A server with a normal client; at the end it must be as it was before the attacks."""
    with servers.start(engine=engine, loop=loop, traced=False) as site:
        warm_up(site)
        files, memory = open_files(site.pid), rss(site.pid)
        with canary(site) as saw:
            yield site
        assert saw["errors"] == []
        if site.engine != "wsproto":
            assert saw["p99"] < 100 * MS, saw
        deadline = time.monotonic() + 5
        while open_files(site.pid) > files and time.monotonic() < deadline:
            time.sleep(0.05)
        assert open_files(site.pid) == files
        assert rss(site.pid) - memory < 5 * MIB


def warm_up(site: Site) -> None:
    """Let the server make what it makes once: buffers, compressors, pages."""
    for fields in ([], [DEFLATE]):
        with Peer(site.port).upgrade("/echo", *fields) as peer:
            for size in (10, 100_000, LIMIT):
                peer.send(frame(BINARY, bytes(size)))
                peer.frame()
            peer.exchange(close_frame(1000))
    for path in ("/", "/chat", "/healthz", "/nowhere"):
        with Peer(site.port) as peer:
            peer.exchange(request(path, "Connection: close"))
    time.sleep(0.2)  # for the last of them to have gone


@contextmanager
def canary(site: Site) -> Iterator[dict[str, Any]]:
    """The normal client; what it saw is there when the block has ended."""
    saw: dict[str, Any] = {}
    command = [sys.executable, str(Path(__file__).with_name("canary.py")), str(site.port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield saw
        saw |= json.loads(process.communicate(timeout=10)[0])
    finally:
        process.kill()
        process.communicate()


@contextmanager
def many(site: Site, count: int) -> Iterator[list[Peer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Peer(site.port)) for _ in range(count)]


def bounded(site: Site, cpu: float, limit: float) -> None:
    """CPU bounds are for the C engine. The kernel counts in steps of 10 ms."""
    if site.engine != "wsproto":
        assert cpu <= limit + 20 * MS


def request(path: str, *fields: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    lines = [f"{method} {path} {version}", "Host: x", *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
