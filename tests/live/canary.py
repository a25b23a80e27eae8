"""A normal client: echoes 20 times a second beside an attack, in a process of its own.

Run as ``python canary.py PORT``; it goes on until its stdin ends, then prints what it saw as JSON.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

INTERVAL = 0.05
UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def main() -> None:
    port = int(sys.argv[1])
    delays: list[float] = []
    errors: list[str] = []
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(UPGRADE)
        while not sock.recv(4096).endswith(b"\r\n\r\n"):
            pass
        print("ready", flush=True)
        while not select.select([sys.stdin], [], [], INTERVAL)[0]:
            # Masked with zeros.
            message = b"%010d" % len(delays)
            started = time.monotonic()
            try:
                sock.sendall(b"\x81\x8a\0\0\0\0" + message)
                received = sock.recv(4096)
                # Its own pings may come before the echo.
                while received[:1] == b"\x89":
                    received = received[2 + received[1] :] or sock.recv(4096)
                if received != b"\x81\x0a" + message:
                    errors.append(repr(received))
            except OSError as error:
                errors.append(repr(error))
                break
            delays.append(time.monotonic() - started)
    delays.sort()
    p99 = delays[int(len(delays) * 0.99)] if delays else 0.0
    print(json.dumps({"count": len(delays), "errors": errors, "p99": p99, "max": delays[-1:]}))


if __name__ == "__main__":
    main()
