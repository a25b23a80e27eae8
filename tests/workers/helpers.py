"""Waits for what processes do. Each has an end, which only a test that fails comes to."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.cli.helpers import PATIENCE, Child

__all__ = ["UPGRADE", "ask", "opened", "said", "until"]

UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.01)


def said(server: Child, text: str, times: int = 1) -> Callable[[], bool]:
    """Whether the log of a server has a text so many times."""
    return lambda: server.stderr().count(text) >= times


def opened(address: str, path: str = "/echo") -> socket.socket:
    """A WebSocket as a bare socket, whose client answers nothing, not even a close."""
    parts = urlsplit(address)
    client = socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE)
    client.sendall(UPGRADE % path.encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        assert byte, head
        head += byte
    assert head.startswith(b"HTTP/1.1 101 "), head
    return client


def ask(client: socket.socket, path: str = "/healthz", *, close: bool = True) -> bytes:
    """The answer to a request; all that comes to the end of the connection."""
    end = b"Connection: close\r\n" if close else b""
    client.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path.encode(), end))
    answer = b""
    while data := client.recv(65536):
        answer += data
    return answer
