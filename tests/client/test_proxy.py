"""HTTP and SOCKS proxies, from the argument and from the environment."""

from __future__ import annotations

import base64
import sys

import pytest

import fastws
from fastws.client.proxy import Proxy, from_environment, parse_proxy
from fastws.client.url import parse_url
from tests.client.loops import both_loops
from tests.client.peers import Certificates, HTTPProxy, SOCKSProxy, answer, answering, echo, fields, listening

pytestmark = pytest.mark.live


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("proxy_scheme", ["http", "https"])
@both_loops
async def test_a_tunnel_by_connect(scheme: str, proxy_scheme: str, tls: Certificates) -> None:
    secure = scheme == "wss"
    async with fastws.serve(echo, "127.0.0.1", ssl=tls.server if secure else None) as server:
        proxy = HTTPProxy(server.port)
        over_tls = {"ssl": tls.server} if proxy_scheme == "https" else {}
        async with (
            listening(proxy.talk, **over_tls) as port,
            fastws.connect(
                f"{scheme}://server.test:1234/",
                proxy=f"{proxy_scheme}://us%40er:pass@127.0.0.1:{port}",
                proxy_ssl=tls.client if over_tls else None,
                ssl=tls.client if secure else None,
            ) as ws,
        ):
            await ws.send("x" * 100_000)
            assert await ws.recv() == "x" * 100_000
    assert proxy.heads[0].startswith("CONNECT server.test:1234 HTTP/1.1\r\n")
    credentials = base64.b64encode(b"us@er:pass").decode()
    assert fields(proxy.heads[0])["proxy-authorization"] == f"Basic {credentials}"


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("login", [None, (b"user", b"secret")])
@both_loops
async def test_a_socks_proxy(scheme: str, login: tuple[bytes, bytes] | None, tls: Certificates) -> None:
    secure = scheme == "wss"
    async with fastws.serve(echo, "127.0.0.1", ssl=tls.server if secure else None) as server:
        proxy = SOCKSProxy(server.port, login=login)
        async with listening(proxy.talk) as port:
            user = "" if login is None else "user:secret@"
            async with fastws.connect(
                f"{scheme}://server.test/",
                proxy=f"socks5h://{user}127.0.0.1:{port}",
                ssl=tls.client if secure else None,
            ) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
    assert proxy.destinations == [(3, b"server.test")], "the name is the proxy's to resolve"


@both_loops
async def test_socks5_resolves_here() -> None:
    async with fastws.serve(echo, "127.0.0.1") as server:
        proxy = SOCKSProxy(server.port)
        async with listening(proxy.talk) as port:
            ws = await fastws.connect("ws://10.1.2.3/", proxy=f"socks5://127.0.0.1:{port}")
            await ws.send("hello")
            assert await ws.recv() == "hello"
            await ws.close()
    assert proxy.destinations == [(1, bytes([10, 1, 2, 3]))]


@both_loops
async def test_a_socks_proxy_that_refuses_or_is_not_there(unused_tcp_port: int) -> None:
    async with listening(SOCKSProxy(0, reply=2).talk) as port:
        with pytest.raises(fastws.ProxyError, match="SOCKS proxy refused"):
            await fastws.connect("ws://server.test/", proxy=f"socks5h://127.0.0.1:{port}")
    with pytest.raises(OSError, match="no connection to the proxy"):
        await fastws.connect("ws://server.test/", proxy=f"socks5h://127.0.0.1:{unused_tcp_port}")


@both_loops
async def test_a_socks_proxy_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(ImportError, match="pip install python-socks"):
        await fastws.connect("ws://server.test/", proxy="socks5://127.0.0.1:1")


@both_loops
async def test_a_refusal_carries_the_answer() -> None:
    talk = answering(answer(407, "Proxy-Authenticate: Basic", body=b"who are you?"))
    async with listening(talk) as port:
        with pytest.raises(fastws.ProxyError, match="refused with status 407") as caught:
            await fastws.connect("ws://server.test/", proxy=f"http://127.0.0.1:{port}")
    response = caught.value.response
    assert response is not None
    assert (response.status, response.body) == (407, b"who are you?")
    assert response.headers["proxy-authenticate"] == "Basic"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the proxy is none"),
        (b"", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\n", "the proxy is none|closed the connection"),
        (b"HTTP/1.1 200 OK\r\n\r\nearly", "sent data before we did"),
    ],
)
@both_loops
async def test_a_proxy_that_is_none(data: bytes, error: str) -> None:
    async with listening(answering(data)) as port:
        with pytest.raises(fastws.ProxyError, match=error):
            await fastws.connect("ws://server.test/", proxy=f"127.0.0.1:{port}")


@both_loops
async def test_a_proxy_that_says_nothing_is_left_in_time() -> None:
    async def silent(reader: object, writer: object) -> None:
        await reader.read()  # type: ignore[attr-defined]

    async with listening(silent) as port:
        with pytest.raises(TimeoutError, match="no WebSocket within 0.05 s"):
            await fastws.connect("ws://server.test/", proxy=f"http://127.0.0.1:{port}", open_timeout=0.05)


@both_loops
async def test_the_server_behind_the_proxy_must_prove_its_name(tls: Certificates) -> None:
    async with fastws.serve(echo, "127.0.0.1", ssl=tls.server) as server:
        proxy = HTTPProxy(server.port)
        async with listening(proxy.talk) as port:
            with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
                await fastws.connect("wss://other.test/", proxy=f"http://127.0.0.1:{port}", ssl=tls.client)


class TestEnvironment:
    @pytest.mark.parametrize(
        ("url", "host"),
        [
            ("ws://a.test/", "plain.test"),
            ("wss://a.test/", "secure.test"),
            ("ws://skip.test/", None),
            ("ws://x.skip.test:81/", None),
            ("ws://[2001:db8::1]/", "plain.test"),
            ("ws://127.0.0.1/", None),
            ("ws://[::1]/", None),
            ("ws://[::1%25lo]/", None),
            ("ws://[::ffff:127.0.0.1]/", None),
            ("ws://[::ffff:127.1.2.3]/", None),
            ("wss://localhost/", None),
            ("wss://app.localhost/", None),
        ],
    )
    def test_which(self, url: str, host: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "http://plain.test:3128")
        monkeypatch.setenv("HTTPS_PROXY", "https://secure.test")
        monkeypatch.setenv("no_proxy", "skip.test")
        proxy = from_environment(parse_url(url))
        assert (proxy and proxy.host) == host

    def test_all_proxy_is_for_the_rest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert from_environment(parse_url("wss://a.test/")) is None
        monkeypatch.setenv("all_proxy", "socks5://all.test")
        assert from_environment(parse_url("wss://a.test/")) == Proxy("socks5", "all.test", 1080)

    @both_loops
    async def test_it_is_asked_unless_told_not_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with fastws.serve(echo, "127.0.0.1") as server:
            proxy = HTTPProxy(server.port)
            async with listening(proxy.talk) as port:
                monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
                async with fastws.connect("ws://server.test/") as ws:
                    await ws.send("hello")
                    assert await ws.recv() == "hello"
                with pytest.raises(OSError):
                    await fastws.connect("ws://server.invalid/", proxy=None)
        assert len(proxy.heads) == 1


def test_addresses_of_proxies() -> None:
    assert parse_proxy("proxy.test:3128") == Proxy("http", "proxy.test", 3128)
    assert parse_proxy("socks5h://u:p%3A@[::1]") == Proxy("socks5h", "::1", 1080, "u", "p:")
    assert parse_proxy("http://[fe80::1%25eth0]:3128") == Proxy("http", "fe80::1%eth0", 3128)
    assert parse_proxy("http://b\xfccher.test") == Proxy("http", "xn--bcher-kva.test", 80)
    assert Proxy("http", "a", 1, "user").authorization == "Basic dXNlcjo="
    for bad in ("ftp://a", "http://", "http://a:port", "http://[::1", "http://u:pw@a b", "http://u:pw@a..b"):
        with pytest.raises(fastws.InvalidURL) as caught:
            parse_proxy(bad)
        assert "pw" not in str(caught.value)
    with pytest.raises(fastws.InvalidURL):
        fastws.connect("ws://a/", proxy="gopher://a")
    with pytest.raises(ValueError, match="does not go with"):
        fastws.connect("ws://a/", proxy="http://a", unix="/tmp/socket")
