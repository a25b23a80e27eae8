"""What a request tells of the TLS of its connection, and mutual TLS."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws import ASGI, Request, Response, Route, WebSocket
from fastws.asgi.scope import _distinguished_name
from fastws.cli.tls import server_context
from tests.kit import ManualLoop, Recorder
from tests.server.sites import Site


def client_context(files: Path, *, certificate: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files / "ca.pem"))
    if certificate:
        context.load_cert_chain(files / "own.pem")
    return context


@pytest.mark.live
@pytest.mark.parametrize("reqs", [ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
async def test_the_certificate_of_a_client(files: Path, reqs: int) -> None:
    seen: list[Any] = []
    scopes: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        assert ws.request is not None
        tls: Any = ws.request.tls
        seen.append((tls.version, tls.cipher, tls.peer_certificate, tls.peer_certificate_der))
        await ws.send(repr(tls))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    context = server_context(
        str(files / "own.pem"), None, None, ca_certs=str(files / "ca.pem"), cert_reqs=reqs
    )
    routes = [Route("/own", handler), ASGI(app, lifespan="off")]
    async with fastws.serve(routes, "127.0.0.1", ssl=context) as server:
        url = f"wss://localhost:{server.port}"
        known = client_context(files, certificate=True)
        async with fastws.connect(f"{url}/own", ssl=known) as ws:
            assert await ws.recv() == "<TLS TLSv1.3>"
        async with fastws.connect(f"{url}/app", ssl=known) as ws:
            await ws.wait_closed()
        unknown = client_context(files, certificate=False)
        if reqs == ssl.CERT_REQUIRED:
            with pytest.raises((OSError, fastws.HandshakeError)):
                await fastws.connect(f"{url}/own", ssl=unknown)
        else:
            async with fastws.connect(f"{url}/own", ssl=unknown) as ws:
                await ws.recv()
            assert seen[1][2:] == (None, None)
    version, cipher, certificate, der = seen[0]
    assert version == "TLSv1.3"
    assert cipher[1:] == ("TLSv1.3", 256)
    assert certificate["subject"] == ((("organizationName", "Ann, Bob"),), (("commonName", "ann"),))
    extension = scopes[0]["extensions"]["tls"]
    assert extension["tls_version"] == 0x0304
    assert extension["cipher_suite"] == 0x1302
    assert extension["client_cert_name"] == "CN=ann,O=Ann\\, Bob"
    assert [ssl.PEM_cert_to_DER_cert(each) for each in extension["client_cert_chain"]] == [der]
    assert (extension["server_cert"], extension["client_cert_error"]) == (None, None)


def test_without_tls_and_behind_a_proxy(loop: ManualLoop) -> None:
    seen: list[Any] = []
    scopes: list[Any] = []

    def page(request: Request) -> Response:
        seen.append(request.tls)
        return Response()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    site = Site(loop, Route("/", http=page), ASGI(app, lifespan="off"), proxy_headers=True)
    for fields in ((), ("X-Forwarded-Proto: https",)):
        for path in ("/", "/app"):
            client = site.client(peername=("127.0.0.1", 1))
            client.get(path, *fields)
            loop.settle()
    assert seen == [False, True]
    assert [scope["extensions"] for scope in scopes] == [{}, {}]


def test_after_the_end_nothing_is_known(loop: ManualLoop) -> None:
    recorder = Recorder()
    site = Site(loop, Route("/", recorder))
    client = site.client(ssl_object=object())
    client.upgrade()
    tls: Any = recorder.ws.request.tls
    assert bool(tls)
    assert (tls.version, tls.cipher, tls.peer_certificate, tls.cipher_suite) == (None,) * 4


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ((), ""),
        (((("commonName", 'a,+"\\<>;b'),),), r"CN=a\,\+\"\\\<\>\;b"),
        (((("commonName", "#a "),),), r"CN=\#a\ "),
        (((("commonName", " "),),), r"CN=\ "),
        (
            ((("countryName", "DE"), ("userId", "x")), (("emailAddress", "a@b"),)),
            "emailAddress=a@b,C=DE+UID=x",
        ),
    ],
)
def test_a_name_as_text(subject: Any, name: str) -> None:
    assert _distinguished_name(subject) == name
