"""A normal client: echoes 20 times a second beside an attack, in a process of its own.

Run as ``python canary.py PORT [CAFILE]``, with a CAFILE over TLS. Each line on its stdin is a question
what it saw since the last one, answered with a line of JSON; it goes on until its stdin ends. Each time
it asks a mirror too, a process that does nothing else: what that takes is the machine's share.
"""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import sys
import time

INTERVAL = 0.05
UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def mirror() -> socket.socket:
    """Fork a process that sends back what it gets."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        while data := theirs.recv(100):
            theirs.sendall(data)
        os._exit(0)
    theirs.close()
    return ours


class Canary:
    def __init__(self, sock: socket.socket, mirror: socket.socket) -> None:
        self.sock = sock
        self.mirror = mirror
        self.mirrored: list[float] = []
        self.data = b""
        self.count = 0
        self.delays: list[float] = []
        self.errors: list[str] = []

    def open(self) -> None:
        self.sock.sendall(UPGRADE)
        while not self.sock.recv(4096).endswith(b"\r\n\r\n"):
            pass

    def echo(self) -> None:
        # Masked with zeros.
        message = b"%010d" % self.count
        self.count += 1
        started = time.monotonic()
        try:
            self.sock.sendall(b"\x81\x8a\0\0\0\0" + message)
            received = self.read()
            if received != message:
                self.errors.append(repr(received))
        except OSError as error:
            self.errors.append(repr(error))
        ended = time.monotonic()
        self.delays.append(ended - started)
        self.mirror.sendall(message)
        self.mirror.recv(100)
        self.mirrored.append(time.monotonic() - ended)

    def read(self) -> bytes:
        """The payload of the next frame that is no ping; those get their pong."""
        while True:
            while len(self.data) < 2 or len(self.data) < 2 + self.data[1]:
                received = self.sock.recv(4096)
                if not received:
                    raise ConnectionError("the server has ended")
                self.data += received
            first, payload = self.data[0], self.data[2 : 2 + self.data[1]]
            self.data = self.data[2 + self.data[1] :]
            if first != 0x89:
                return payload
            self.sock.sendall(b"\x8a" + bytes([0x80 | len(payload)]) + bytes(4) + payload)

    def report(self) -> str:
        delays, self.delays = sorted(self.delays), []
        errors, self.errors = self.errors, []
        p99 = delays[int(len(delays) * 0.99)] if delays else 0.0
        worst, self.mirrored = max(self.mirrored, default=0.0), []
        return json.dumps({"count": len(delays), "errors": errors[:3], "p99": p99, "machine": worst})


def main() -> None:
    reflection = mirror()
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10) as plain:
        sock = plain
        if len(sys.argv) > 2:
            context = ssl.create_default_context(cafile=sys.argv[2])
            sock = context.wrap_socket(plain, server_hostname="127.0.0.1")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        canary = Canary(sock, reflection)
        canary.open()
        print("ready", flush=True)
        following = time.monotonic()
        while True:
            canary.echo()
            following = max(following + INTERVAL, time.monotonic())
            while select.select([sys.stdin], [], [], max(0.0, following - time.monotonic()))[0]:
                if not sys.stdin.readline():
                    return
                print(canary.report(), flush=True)


if __name__ == "__main__":
    main()
