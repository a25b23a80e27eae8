"""The opening handshake, both roles: what is refused with which status, and what agrees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastws.config import Compression, Limits
from fastws.protocol.http.client import ClientHTTP
from fastws.protocol.http.messages import Request
from fastws.protocol.http.server import ServerHTTP
from fastws.protocol.websocket.deflate import DeflateParams
from fastws.protocol.websocket.handshake import (
    accept_head,
    check_accept,
    check_upgrade,
    choose_subprotocol,
    negotiate_deflate,
    new_key,
    request_head,
)
from tests.effort import within_cpu
from tests.protocol.websocket.upgrades import ACCEPT, KEY, upgrade

# -- server role: the request -------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Upgrade": "WebSocket", "Connection": "keep-alive, UPGRADE"},
        {"Upgrade": "h2c, websocket", "Connection": ["keep-alive", "Upgrade"]},
        {"Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"Sec_WebSocket_Key": "+/+/+/+/+/+/+/+/+/+/+w=="},
    ],
)
def test_fine(fields: dict[str, str | list[str]]) -> None:
    assert check_upgrade(upgrade(**fields)) is None


REFUSALS = {
    "POST": (upgrade("POST"), 405, {"allow": "GET"}),
    "HEAD": (upgrade("HEAD"), 405, {"allow": "GET"}),
    "a plain GET": (
        upgrade(Upgrade=None, Connection=None),
        426,
        {"upgrade": "websocket", "connection": "Upgrade"},
    ),
    "another upgrade": (upgrade(Upgrade="h2c"), 426, {"upgrade": "websocket"}),
    "websocket with a version": (upgrade(Upgrade="websocket/13"), 426, {"upgrade": "websocket"}),
    "HTTP/1.0": (upgrade(http_version="1.0"), 400, {}),
    "no Connection": (upgrade(Connection=None), 400, {}),
    "another Connection": (upgrade(Connection="keep-alive"), 400, {}),
    "not quite Connection": (upgrade(Connection="Upgraded, xUpgrade"), 400, {}),
    "version 12": (upgrade(Sec_WebSocket_Version="12"), 426, {"sec-websocket-version": "13"}),
    "version 013": (upgrade(Sec_WebSocket_Version="013"), 426, {"sec-websocket-version": "13"}),
    "versions": (upgrade(Sec_WebSocket_Version="13, 8"), 426, {"sec-websocket-version": "13"}),
    "two versions": (upgrade(Sec_WebSocket_Version=["13", "13"]), 426, {"sec-websocket-version": "13"}),
    "no version": (
        upgrade(Sec_WebSocket_Version=None),
        426,
        {"sec-websocket-version": "13", "upgrade": "websocket", "connection": "Upgrade"},
    ),
    "no key": (upgrade(Sec_WebSocket_Key=None), 400, {}),
    "two keys": (upgrade(Sec_WebSocket_Key=[KEY.decode()] * 2), 400, {}),
    "empty key": (upgrade(Sec_WebSocket_Key=""), 400, {}),
    "key of 15 bytes": (upgrade(Sec_WebSocket_Key="A" * 20), 400, {}),
    "key of 17 bytes": (upgrade(Sec_WebSocket_Key="A" * 23 + "="), 400, {}),
    "key of 18 bytes": (upgrade(Sec_WebSocket_Key="A" * 24), 400, {}),
    "key without padding": (upgrade(Sec_WebSocket_Key="A" * 22), 400, {}),
    "key for URLs": (upgrade(Sec_WebSocket_Key="-_" * 11 + "=="), 400, {}),
    "key with a space": (upgrade(Sec_WebSocket_Key="A" * 11 + " " + "A" * 10 + "=="), 400, {}),
    "key outside ASCII": (upgrade(Sec_WebSocket_Key="\xe9" * 22 + "=="), 400, {}),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused(name: str) -> None:
    request, status, fields = REFUSALS[name]
    response = check_upgrade(request)
    assert response is not None
    assert response.status == status
    assert {field: response.headers.get(field) for field in fields} == fields
    assert response.headers["x-content-type-options"] == "nosniff"


# -- server role: Origin ------------------------------------------------------------------------

HOST = "example.com"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://example.com", "example.com"),
        ("https://example.com", "example.com"),
        ("HTTP://Example.COM", "eXample.com"),
        ("http://example.com:80", "example.com"),
        ("http://example.com", "example.com:80"),
        ("https://example.com", "example.com:443"),
        ("https://example.com:443", "example.com"),
        ("https://example.com:8443", "example.com:8443"),
        ("ws://example.com", "example.com"),
        ("wss://example.com", "example.com:443"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://my_app", "my_app"),
    ],
)
def test_same_origin(origin: str, host: str) -> None:
    assert check_upgrade(upgrade(Origin=origin, Host=host)) is None
    assert check_upgrade(upgrade(Origin=origin, Host=host), require_origin=True) is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.com", HOST),
        ("null", HOST),
        ("", HOST),
        ("http://example.com.evil", HOST),
        ("http://exampleAcom", HOST),
        ("http://example.co", HOST),
        ("http://sub.example.com", HOST),
        ("http://evilexample.com", HOST),
        ("http://example.com.", HOST),
        ("https://example.com`evil", HOST),
        ("https://example.com$evil", HOST),
        ("https://example.com`evil", "example.com`evil"),
        ("http://example.com/", HOST),
        ("http://example.com/path", HOST),
        ("http://example.com?q", HOST),
        ("http://user@example.com", HOST),
        ("http://example.com:8080", HOST),
        ("http://example.com:443", HOST),
        ("https://example.com", "example.com:80"),
        ("http://example.com", "example.com:8080"),
        ("http://example.com:", HOST),
        ("http://example.com:80:80", HOST),
        ("http://example.com, http://example.com", HOST),
        ("http://test.host", "test:80"),
        ("example.com", HOST),
        ("//example.com", HOST),
        ("ftp://example.com", HOST),
        ("file://", HOST),
        ("chrome-extension://example.com", HOST),
        ("http://", ""),
        ("http://\N{KELVIN SIGN}example.com", "kexample.com"),
        ("http://example.com\n", HOST),
    ],
)
def test_foreign_origin(origin: str, host: str) -> None:
    response = check_upgrade(upgrade(Origin=origin, Host=host))
    assert response is not None
    assert response.status == 403
    # Who allows it by name, or everybody, gets it.
    assert check_upgrade(upgrade(Origin=origin, Host=host), origins=frozenset([origin])) is None
    assert check_upgrade(upgrade(Origin=origin, Host=host), origins=frozenset(["*"])) is None


def test_two_origins() -> None:
    for origins in (frozenset[str](), frozenset(["*"]), frozenset(["http://example.com"])):
        response = check_upgrade(upgrade(Origin=["http://example.com"] * 2), origins=origins)
        assert response is not None
        assert response.status == 403


def test_allowed_origins_come_beside_the_own_host() -> None:
    allowed = frozenset(["https://app.example"])
    assert check_upgrade(upgrade(Origin="https://app.example"), origins=allowed) is None
    assert check_upgrade(upgrade(Origin="https://example.com"), origins=allowed) is None
    assert check_upgrade(upgrade(Origin="https://app.example:8443"), origins=allowed) is not None
    assert check_upgrade(upgrade(Origin="http://app.example"), origins=allowed) is not None


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example.org", True),
        ("https://a.b.example.org", True),
        ("https://example.org", False),
        ("https://evilexample.org", False),
        ("https://app.example.org.evil.com", False),
        ("https://evil.com/.example.org", False),
        ("http://app.example.org", False),
        ("https://app.example.org:8443", False),
        ("http://dev.example.org:5173", True),
        ("http://dev.example.org:5174", False),
        ("https://.example.org", True),
        ("https://" + "a." * 200 + "example.org", False),
        ("null", False),
    ],
)
def test_a_pattern_allows_subdomains(origin: str, allowed: bool) -> None:
    patterns = frozenset(["https://*.example.org", "http://*.example.org:5173"])
    assert (check_upgrade(upgrade(Origin=origin), origins=patterns) is None) is allowed


@pytest.mark.measures
def test_patterns_in_linear_time() -> None:
    request = upgrade(Origin="https://" + "a." * 30_000 + "b")
    assert within_cpu(0.1, lambda: check_upgrade(request, origins=frozenset(["https://*.c"]))) is not None


def test_no_origin() -> None:
    assert check_upgrade(upgrade()) is None
    response = check_upgrade(upgrade(), require_origin=True)
    assert response is not None
    assert response.status == 403
    assert check_upgrade(upgrade(Host=None, Origin="http://example.com")) is not None


# -- server role: subprotocols ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "supported", "chosen"),
    [
        (None, ["a"], None),
        ("a", [], None),
        ("a", ["a"], "a"),
        ("a, b", ["b", "a"], "b"),
        ("x, b,a", ["a", "b"], "a"),
        (["x", "b"], ["a", "b"], "b"),
        ("A", ["a"], None),
        (" a ,,", ["a"], "a"),
        ("a b", ["a", "b"], None),
        ("a;b", ["a"], None),
        ("\xe9, a", ["\xe9", "a"], "a"),
        ("a b, ", ["a b", ""], None),
    ],
)
def test_choose_subprotocol(
    offered: str | list[str] | None, supported: list[str], chosen: str | None
) -> None:
    assert choose_subprotocol(upgrade(Sec_WebSocket_Protocol=offered), supported) == chosen


@pytest.mark.parametrize("value", ["b" + " " * 66_000 + "x", "," * 66_000, " ," * 33_000, "a," * 33_000])
@pytest.mark.measures
def test_subprotocols_in_linear_time(value: str) -> None:
    request = upgrade(Sec_WebSocket_Protocol=value)
    assert within_cpu(0.2, lambda: choose_subprotocol(request, ["x"])) is None


# -- server role: the answer --------------------------------------------------------------------


def test_accept_head() -> None:
    assert accept_head(upgrade()) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n\r\n"
    )
    head = accept_head(
        upgrade(), subprotocol="chat", extensions=b"permessage-deflate", headers=[(b"X-Server", b"fastws")]
    )
    assert head.endswith(
        b"\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
        b"X-Server: fastws\r\n\r\n"
    )


@pytest.mark.parametrize("subprotocol", ["", "a b", "a\r\nX: y", "\xe9", "a,b"])
def test_accept_head_with_a_bad_subprotocol(subprotocol: str) -> None:
    with pytest.raises(ValueError, match="cannot be a subprotocol"):
        accept_head(upgrade(), subprotocol=subprotocol)


@pytest.mark.parametrize(
    ("name", "value"),
    [(b"A", b"b\r\nC: d"), (b"A\r\nB", b"c"), (b"A", b"\0"), (b"A b", b"c"), (b"", b"")],
)
def test_accept_head_with_a_bad_header(name: bytes, value: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        accept_head(upgrade(), headers=[(name, value)])


@pytest.mark.parametrize(
    "name", ["Upgrade", "CONNECTION", "Sec-WebSocket-Accept", "Content-Length", "Transfer-Encoding"]
)
def test_the_handshake_keeps_its_own_headers(name: str) -> None:
    with pytest.raises(ValueError, match="belongs to the handshake"):
        accept_head(upgrade(), headers=[(name.encode(), b"x")])
    with pytest.raises(ValueError, match="belongs to the handshake"):
        request_head(host="x", target="/", key=KEY, headers=[(name, "x")])


def test_negotiate_deflate() -> None:
    offer = "permessage-deflate; client_max_window_bits"
    assert negotiate_deflate(upgrade(), Compression()) is None
    assert negotiate_deflate(upgrade(Sec_WebSocket_Extensions=offer), None) is None
    agreed = negotiate_deflate(upgrade(Sec_WebSocket_Extensions=["x", offer]), Compression())
    assert agreed == (
        DeflateParams(server_no_context_takeover=True, client_no_context_takeover=True),
        b"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    )


# -- both roles ---------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, Compression(), Compression(context_takeover=True)])
@pytest.mark.parametrize("subprotocols", [[], ["b"], ["x", "b"]])
def test_we_understand_ourselves(compression: Compression | None, subprotocols: list[str]) -> None:
    key = new_key()
    server, client = ServerHTTP(Limits()), ClientHTTP(Limits())
    server.receive(
        request_head(
            host="x:1",
            target="/",
            key=key,
            origin="http://x:1",
            subprotocols=subprotocols,
            compression=compression,
        )
    )
    request = server.next_event()
    assert isinstance(request, Request)
    assert check_upgrade(request, require_origin=True) is None
    chosen = choose_subprotocol(request, ["a", "b"])
    agreed = negotiate_deflate(request, compression)
    params, value = agreed or (None, None)
    client.receive(accept_head(request, subprotocol=chosen, extensions=value))
    response = client.next_event()
    assert response is not None
    assert check_accept(response, key=key, subprotocols=subprotocols, compression=compression) == (
        chosen,
        params,
    )
    assert chosen == ("b" if subprotocols else None)
    assert (params is None) == (compression is None)


FIELD_VALUES = st.binary(max_size=40).map(
    lambda value: bytes(octet for octet in value if octet >= 32 and octet != 127)
)

NAMES = st.sampled_from(
    [b"Connection", b"Cookie", b"Origin", b"Sec-WebSocket-Extensions", b"Sec-WebSocket-Protocol", b"X-Other"]
)


@given(st.lists(st.tuples(NAMES, FIELD_VALUES), max_size=8))
def test_whatever_stands_in_the_fields_there_is_an_answer(fields: list[tuple[bytes, bytes]]) -> None:
    """W11: a field that crashes the handshake is a way to stop a server."""
    http = ServerHTTP(Limits())
    http.receive(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: "
        + KEY
        + b"\r\nSec-WebSocket-Version: 13\r\n"
        + b"".join(b"%b: %b\r\n" % field for field in fields)
        + b"\r\n"
    )
    request = http.next_event()
    assert isinstance(request, Request)
    refusal = check_upgrade(request)
    if refusal is None:
        agreed = negotiate_deflate(request, Compression())
        chosen = choose_subprotocol(request, ["a", "b"])
        assert accept_head(request, subprotocol=chosen, extensions=agreed and agreed[1]).endswith(b"\r\n\r\n")
        assert isinstance(request.cookies, dict)
    else:
        assert refusal.status in (400, 403)
        assert b"Connection: close" in http.respond(refusal)


def test_the_fields_are_looked_at_once() -> None:
    request = upgrade()
    assert check_upgrade(request) is None
    assert request.is_vetted
    assert check_upgrade(request) is None
    assert check_upgrade(request, require_origin=True) is not None
