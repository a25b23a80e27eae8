"""URLs: ports, zones, and the name that a certificate must have."""

from __future__ import annotations

import socket

import pytest

import fastws
from fastws.client.proxy import parse_proxy
from fastws.client.redirects import HandshakeTarget, follow
from fastws.client.url import certificate_name, parse_url
from fastws.protocol.http.messages import Response
from tests.client.loops import both_loops
from tests.client.peers import Certificates, HTTPProxy, echo, listening

pytestmark = pytest.mark.live


@pytest.mark.parametrize(
    "url", ["ws://host:0/", "wss://host:0/", "ws://[::1]:0/", "ws://host:00/", "ws://h:65536/"]
)
def test_ports_that_are_none(url: str) -> None:
    with pytest.raises(fastws.InvalidURL):
        fastws.connect(url)
    with pytest.raises(fastws.InvalidURL):
        parse_proxy(f"http:{url.partition(':')[2]}")
    with pytest.raises(fastws.HandshakeRefused, match="leads nowhere"):
        follow(HandshakeTarget(parse_url("ws://a/"), (), None), Response(302, headers={"Location": url}))


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_ports_beside_the_url(port: int) -> None:
    with pytest.raises(ValueError, match="port is from 1 to 65535"):
        fastws.connect("ws://a/", port=port)


def test_an_empty_port_is_the_schemes_own() -> None:
    assert [parse_url(url).port for url in ("ws://a:/", "wss://a:/")] == [80, 443]


@pytest.mark.parametrize(
    ("url", "host", "authority", "again"),
    [
        ("ws://[::1%251]/", "::1%1", "[::1]", "ws://[::1%251]/"),
        ("ws://[fe80::1%25eth0]:81/x?y", "fe80::1%eth0", "[fe80::1]:81", "ws://[fe80::1%25eth0]:81/x?y"),
        ("wss://[fe80::1%eth0]/", "fe80::1%eth0", "[fe80::1]", "wss://[fe80::1%25eth0]/"),
    ],
)
def test_a_zone(url: str, host: str, authority: str, again: str) -> None:
    address = parse_url(url)
    assert (address.host, address.authority, address.url) == (host, authority, again)
    assert parse_url(address.url) == address
    followed = follow(HandshakeTarget(address, (), None), Response(302, headers={"Location": "/next"}))
    assert followed is not None
    assert (followed.address.host, followed.first) == (host, True)


@both_loops
async def test_a_zone_is_for_this_machine_alone() -> None:
    async def host_field(ws: fastws.WebSocket) -> None:
        assert ws.request is not None
        await ws.send(ws.request.headers["host"])

    zone = next(index for index, name in socket.if_nameindex() if name == "lo")
    async with fastws.serve(host_field, "::1") as server:
        for local_addr in (None, ("::1", 0)):
            url = f"ws://[::1%25{zone}]:{server.port}/"
            async with fastws.connect(url, local_addr=local_addr) as ws:
                assert await ws.recv() == f"[::1]:{server.port}"


@both_loops
async def test_a_proxy_is_told_no_zone() -> None:
    async with fastws.serve(echo, "127.0.0.1") as server:
        proxy = HTTPProxy(server.port)
        async with (
            listening(proxy.talk) as port,
            fastws.connect("ws://[fe80::1%25eth0]:81/", proxy=f"http://127.0.0.1:{port}"),
        ):
            pass
    assert proxy.heads[0].startswith("CONNECT [fe80::1]:81 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("app.test.", "app.test"),
        ("app.test", "app.test"),
        ("fe80::1%eth0", "fe80::1"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_the_name_in_a_certificate(host: str, name: str) -> None:
    assert certificate_name(host) == name


@pytest.mark.parametrize("way", ["direct", "named", "proxy"])
@both_loops
async def test_a_final_dot_is_no_part_of_the_certificates_name(way: str, tls: Certificates) -> None:
    named: list[str | None] = []
    tls.server.sni_callback = lambda _sock, name, _context: named.append(name)  # type: ignore[assignment]
    try:
        async with fastws.serve(echo, "127.0.0.1", ssl=tls.server) as server:
            proxy = HTTPProxy(server.port)
            async with listening(proxy.talk) as port:
                options = {
                    "direct": {"host": "127.0.0.1", "port": server.port},
                    "named": {"host": "127.0.0.1", "port": server.port, "server_hostname": "server.test."},
                    "proxy": {"proxy": f"http://127.0.0.1:{port}"},
                }[way]
                url = "wss://127.0.0.1/" if way == "named" else "wss://server.test./"
                async with fastws.connect(url, ssl=tls.client, **options) as ws:  # type: ignore[arg-type]
                    await ws.send("hello")
                    assert await ws.recv() == "hello"
    finally:
        tls.server.sni_callback = None  # type: ignore[assignment]
    assert named == ["server.test"]
