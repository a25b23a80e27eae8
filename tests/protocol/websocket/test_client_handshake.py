"""The client's side of the handshake: its request, and what it takes for an acceptance."""

from __future__ import annotations

import pytest

from fastws.config import Compression
from fastws.errors import HandshakeError, HandshakeRefused
from fastws.protocol.http.messages import Response
from fastws.protocol.websocket.deflate import DeflateParams
from fastws.protocol.websocket.handshake import (
    check_accept,
    check_upgrade,
    new_key,
    request_head,
)
from tests.protocol.websocket.upgrades import ACCEPT, KEY, upgrade


def test_new_key() -> None:
    keys = {new_key() for _ in range(1000)}
    assert len(keys) == 1000
    assert all(check_upgrade(upgrade(Sec_WebSocket_Key=key.decode())) is None for key in keys)


def test_request_head() -> None:
    assert request_head(host="x:81", target="/a?b", key=KEY) == (
        b"GET /a?b HTTP/1.1\r\nHost: x:81\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    head = request_head(
        host="x",
        target="/",
        key=KEY,
        origin="http://x",
        subprotocols=["a", "b"],
        compression=Compression(context_takeover=True),
        headers=[("Cookie", "c=d"), ("host", "y")],
    )
    assert head == (
        b"GET / HTTP/1.1\r\nOrigin: http://x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        b"Cookie: c=d\r\nhost: y\r\n\r\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"target": "a"},
        {"target": ""},
        {"target": "/a b"},
        {"target": "/\xe9"},
        {"target": "/\r\n"},
        {"target": "/a\n"},
        {"host": "x\r\nA: b"},
        {"origin": "http://x\r\n"},
        {"subprotocols": ["a b"]},
        {"subprotocols": [""]},
        {"headers": [("A", "\n")]},
        {"headers": [("A b", "c")]},
    ],
)
def test_request_head_that_would_split(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        request_head(**{"host": "x", "target": "/", "key": KEY, **arguments})  # type: ignore[arg-type]


def switching(**fields: str | list[str] | None) -> Response:
    given = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT}
    pairs = []
    for name, value in {**given, **{name.replace("_", "-"): value for name, value in fields.items()}}.items():
        values = value if isinstance(value, list) else [] if value is None else [value]
        pairs += [(name, value) for value in values]
    return Response(101, headers=pairs)


@pytest.mark.parametrize(
    ("response", "agreed"),
    [
        (switching(), (None, None)),
        (switching(Upgrade="WebSocket", Connection="keep-alive, upgrade"), (None, None)),
        (switching(Sec_WebSocket_Protocol="b"), ("b", None)),
        (
            switching(Sec_WebSocket_Extensions="permessage-deflate; server_no_context_takeover"),
            (None, DeflateParams(True, True)),
        ),
    ],
)
def test_check_accept(response: Response, agreed: tuple[str | None, DeflateParams | None]) -> None:
    assert check_accept(response, key=KEY, subprotocols=["a", "b"], compression=Compression()) == agreed


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (switching(Upgrade=None), "Upgrade: websocket"),
        (switching(Upgrade="h2c"), "Upgrade: websocket"),
        (switching(Upgrade="websocket, h2c"), "Upgrade: websocket"),
        (switching(Connection=None), "Connection: Upgrade"),
        (switching(Connection="keep-alive"), "Connection: Upgrade"),
        (switching(Sec_WebSocket_Accept=None), "Sec-WebSocket-Accept"),
        (switching(Sec_WebSocket_Accept=ACCEPT.lower()), "Sec-WebSocket-Accept"),
        (switching(Sec_WebSocket_Accept=ACCEPT[:-1]), "Sec-WebSocket-Accept"),
        (switching(Sec_WebSocket_Accept="\xe9"), "Sec-WebSocket-Accept"),
        (switching(Sec_WebSocket_Accept=[ACCEPT, ACCEPT]), "Sec-WebSocket-Accept"),
        (switching(Sec_WebSocket_Protocol="c"), "subprotocol"),
        (switching(Sec_WebSocket_Protocol="a, b"), "subprotocol"),
        (switching(Sec_WebSocket_Protocol=["a", "b"]), "subprotocol"),
        (switching(Sec_WebSocket_Protocol=""), "subprotocol"),
        (switching(Sec_WebSocket_Extensions="x"), "extension"),
    ],
)
def test_check_accept_refuses(response: Response, words: str) -> None:
    with pytest.raises(HandshakeError, match=words):
        check_accept(response, key=KEY, subprotocols=["a", "b"], compression=Compression())


@pytest.mark.parametrize("status", [200, 301, 401, 503])
def test_another_status(status: int) -> None:
    response = Response(status, b"why")
    with pytest.raises(HandshakeRefused) as caught:
        check_accept(response, key=KEY, subprotocols=[], compression=None)
    assert caught.value.response is response
