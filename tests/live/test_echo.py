"""The echo server, by clients that were not written here."""

from __future__ import annotations

import pytest

from tests.kit import until
from tests.kit.process import open_files, settled_files
from tests.live.foreign import Foreign, ask
from tests.live.servers import Servers, Site

pytestmark = [pytest.mark.live, pytest.mark.foreign]


@pytest.mark.parametrize("path", ["/wsecho", "/echo"])
async def test_echo_keeps_type_and_bytes(path: str, client: Foreign, site: Site) -> None:
    peer = await client.connect(site, path)
    for message in ("Hello Server!", bytes(range(256)), "", b"", "弹幕 🐍" * 1000, "\x00"):
        await peer.send(message)
        assert await peer.receive() == message
    await peer.send_fragments(["a message ", "in ", "", "four parts"])
    assert await peer.receive() == "a message in four parts"


async def test_the_echo_is_logged(client: Foreign, servers: Servers) -> None:
    site = servers.get("--log-level", "debug")
    peer = await client.connect(site, "/wsecho")
    await peer.send(f"logged by {client.name}\n")
    await peer.receive()
    await site.logged(f"recv: logged by {client.name}\\n")


async def test_a_close_is_answered_and_tcp_ends(client: Foreign, site: Site) -> None:
    before = await settled_files(site.pid)
    peer = await client.connect(site, "/wsecho")
    assert open_files(site.pid) == before + 1
    assert (await peer.close(1000, "done")).code == 1000
    await until(lambda: open_files(site.pid) == before)


async def test_the_same_over_tls(client: Foreign, servers: Servers) -> None:
    site = servers.get(scheme="wss")
    assert ask(site, "GET", "/")[0] == 200
    peer = await client.connect(site, "/ws", origin=site.address)
    await peer.send("secret")
    assert await peer.receive() == "secret"
    assert (await peer.close(1000)).code == 1000
