"""Every rival that is installed does the same: echo in the message's own type, broadcast to all."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.sync.client import ClientConnection, connect

from bench.certificate import make_certificate
from bench.launch import Running, StartError, running
from bench.rivals import Server, catalogue, extra, record

pytestmark = pytest.mark.live

SERVERS = catalogue()
MESSAGES = ("héllo", "", b"\x00\xff", b"")


def installed(name: str, *needs: str) -> Server:
    server = SERVERS[name]
    if not set(needs) <= server.can:
        pytest.skip(f"{name} takes no part in {' + '.join(needs)}")
    if missing := record(server).missing:
        pytest.skip(f"{name}: {missing}")
    return server


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    return installed(request.param)


@pytest.fixture
def alive(server: Server) -> Iterator[Running]:
    with running(server, None) as process:
        yield process


def client(server: Running, path: str, **options: object) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}{path}", open_timeout=20, **options)  # type: ignore[arg-type]


def test_echo_returns_each_message_in_its_own_type(server: Server, alive: Running) -> None:
    if "echo" not in server.can:
        pytest.skip("broadcasts only")
    with client(alive, "/wsecho", compression=None) as ws:
        for message in MESSAGES:
            ws.send(message)
            assert ws.recv(timeout=20) == message


def test_echo_of_one_mebibyte(server: Server, alive: Running) -> None:
    if "echo" not in server.can:
        pytest.skip("broadcasts only")
    with client(alive, "/wsecho", compression=None, max_size=None) as ws:
        ws.send(b"\x5a" * 2**20)
        assert ws.recv(timeout=20) == b"\x5a" * 2**20


def test_broadcast_reaches_all_and_the_sender(server: Server, alive: Running) -> None:
    if "broadcast" not in server.can:
        pytest.skip("echoes only")
    with client(alive, server.broadcast, compression=None) as one, client(alive, server.broadcast) as two:
        # Who has heard itself is in the room; by its own word, for it may hear the other's first.
        for ws, word in ((one, "one"), (two, "two")):
            ws.send(word)
            hear(ws, word)
        one.send("news")
        hear(one, "news")
        hear(two, "news")


def hear(ws: ClientConnection, text: str) -> None:
    """Receive until a message is ``text``, or has it on a line of its own (a merge)."""
    while text not in str(ws.recv(timeout=20)).split("\n"):
        pass


def test_deflate_is_negotiated_where_the_catalogue_says_so(server: Server, alive: Running) -> None:
    if "deflate" not in server.can:
        pytest.skip("has no permessage-deflate")
    with client(alive, server.broadcast, compression="deflate") as ws:
        assert [extension.name for extension in ws.protocol.extensions] == ["permessage-deflate"]
        ws.send("x" * 2000)
        assert ws.recv(timeout=20) == "x" * 2000


@pytest.mark.parametrize("name", [name for name in SERVERS if "tls" in SERVERS[name].can])
async def test_tls(name: str, tmp_path: Path) -> None:
    # Not the client with threads: it reads and writes one SSL object from two of them.
    files = make_certificate(tmp_path)
    with running(installed(name, "tls"), None, files) as server:
        context = ssl.create_default_context(cafile=files[0])
        url = f"wss://127.0.0.1:{server.port}/wsecho"
        async with asyncio.timeout(20), connect_async(url, ssl=context) as ws:
            await ws.send("over TLS")
            assert await ws.recv() == "over TLS"


def test_an_extra_server_does_not_have_this_checkout_on_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be another build of ours."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    script = tmp_path / "server.py"
    script.write_text("import os\nraise SystemExit(os.environ['PYTHONPATH'])\n")
    with (
        pytest.raises(StartError, match=f"ended at its start: {tmp_path}$"),
        running(extra(f"other={sys.executable} {script}"), None),
    ):
        pass
