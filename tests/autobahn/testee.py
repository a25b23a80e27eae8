"""What the suite tests: an echo server, and a client that echoes. Each is a process of its own.

``python -m tests.autobahn.testee server [CERTIFICATES]`` prints its port;
``python -m tests.autobahn.testee client URL [CERTIFICATES]`` runs every case that the suite has.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path
from typing import Any

import uvloop

import fastws
from fastws.protocol.websocket.frames import ENGINE

AGENT = "fastws"
#: The suite sends messages of 16 MiB, and one of 1 MiB in 65,536 fragments.
LIMITS = {
    "max_message_size": 64 * 1024 * 1024,
    "max_fragments": 1_000_000,
    "send_queue": 100_000,
    "send_queue_bytes": 256 * 1024 * 1024,
}
#: Everything is compressed, however short.
COMPRESSION = fastws.Compression(threshold=1)


class Echo(fastws.Handler):
    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        ws.send_nowait(message)


class CaseClient(Echo):
    """Echoes until the suite closes; ``closed`` is done then."""

    def __init__(self) -> None:
        self.closed = asyncio.get_running_loop().create_future()

    def on_close(self, ws: fastws.WebSocket, code: int, reason: str) -> None:
        self.closed.set_result(None)


async def serve(certificates: Path | None) -> None:
    tls: ssl.SSLContext | None = None
    if certificates is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificates / "server.pem", certificates / "server-key.pem")
    server = await fastws.serve(
        Echo(), "127.0.0.1", 0, ssl=tls, limits=LIMITS, compression=COMPRESSION, access_log=False
    )
    print(server.port, ENGINE, flush=True)
    await server.serve_forever()


async def run_cases(url: str, certificates: Path | None) -> None:
    options: dict[str, Any] = {"limits": LIMITS, "compression": COMPRESSION}
    if certificates is not None:
        options["ssl"] = ssl.create_default_context(cafile=certificates / "ca.pem")
    async with fastws.connect(f"{url}/getCaseCount", **options) as ws:
        count = int(await ws.recv())
    for case in range(1, count + 1):
        client = CaseClient()
        ws = await fastws.connect(f"{url}/runCase?case={case}&agent={AGENT}", handler=client, **options)
        await client.closed
        await ws.wait_closed()
    async with fastws.connect(f"{url}/updateReports?agent={AGENT}", **options) as ws:
        await ws.wait_closed()


def main(role: str, *args: str) -> None:
    if role == "server":
        work = serve(Path(args[0]) if args else None)
    else:
        work = run_cases(args[0], Path(args[1]) if args[1:] else None)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


if __name__ == "__main__":
    main(*sys.argv[1:])
