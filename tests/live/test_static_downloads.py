"""Static files through a real server: large ones arrive whole. Attacks on them: tests/hostile."""

from __future__ import annotations

import http.client
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.helpers import Child, running

pytestmark = pytest.mark.live

LARGE = random.Random(1).randbytes(3_000_000)


class Client:
    """The standard library's HTTP client, and raw sockets, for one running server."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.address = urlsplit(child.address()).netloc

    def get(
        self, target: str, method: str = "GET", **headers: str
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            connection.request(method, target, headers={k.replace("_", "-"): v for k, v in headers.items()})
            response = connection.getresponse()
            return response.status, response.read(), response.headers
        finally:
            connection.close()

    def raw(self, request: bytes) -> socket.socket:
        host, port = self.address.rsplit(":", 1)
        sock = socket.create_connection((host, int(port)), timeout=10)
        sock.sendall(request)
        return sock


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    root = tmp_path_factory.mktemp("served")
    (root / "files").mkdir()
    (root / "files" / "large.bin").write_bytes(LARGE)
    folder: Path = tmp_path_factory.mktemp("server")
    with running(folder, "serve", "--port", 0, "--no-access-log", "--static", root / "files") as child:
        yield Client(child)
        assert "Traceback" not in child.stderr()


def test_a_large_file_arrives_whole(client: Client) -> None:
    status, body, headers = client.get("/static/large.bin")
    assert (status, len(body)) == (200, len(LARGE))
    assert body == LARGE
    assert client.get("/static/large.bin", "HEAD")[:2] == (200, b"")
    assert client.get("/static/large.bin", If_None_Match=headers["ETag"])[:2] == (304, b"")
    status, body, headers = client.get("/static/large.bin", Range="bytes=1000000-2499999")
    assert (status, headers["Content-Range"]) == (206, "bytes 1000000-2499999/3000000")
    assert body == LARGE[1_000_000:2_500_000]
    assert client.get("/static/large.bin", Range="bytes=3000000-")[0] == 416


def test_a_download_answers_the_next_request_too(client: Client) -> None:
    ask = b"GET /static/large.bin HTTP/1.1\r\nHost: x\r\n\r\n"
    with client.raw(ask + b"HEAD /static/large.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as sock:
        received = b"".join(iter(lambda: sock.recv(1 << 20), b""))
    first, _, rest = received.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert rest[: len(LARGE)] == LARGE
    assert rest[len(LARGE) :].startswith(b"HTTP/1.1 200 ")
    assert rest.endswith(b"\r\n\r\n")
