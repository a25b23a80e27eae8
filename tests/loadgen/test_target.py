"""From a URL to an address and a request."""

from __future__ import annotations

import pytest
from wsproto.utilities import generate_accept_token

import fastws
from fastws.loadgen.plan import LoadgenError, Plan, PlanError, Scenario
from fastws.loadgen.target import Target, resolve

PLAN = Plan(url="", scenario=Scenario.ECHO)


def target(address: str, port: int, name: str, host: str, path: str) -> Target:
    return Target(address=address, port=port, tls=port == 443, name=name, host=host, path=path)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://127.0.0.1/", target("127.0.0.1", 80, "127.0.0.1", "127.0.0.1", "/")),
        ("wss://127.0.0.1", target("127.0.0.1", 443, "127.0.0.1", "127.0.0.1", "/")),
        ("ws://[::1]:81/a?b=c d", target("::1", 81, "::1", "[::1]:81", "/a?b=c%20d")),
        ("ws://127.0.0.1:82/é", target("127.0.0.1", 82, "127.0.0.1", "127.0.0.1:82", "/%C3%A9")),
        ("ws://[::1%251]:81/", target("::1%1", 81, "::1", "[::1]:81", "/")),
    ],
)
def test_a_url_is_resolved(url: str, expected: Target) -> None:
    assert resolve(url) == expected


def test_the_name_of_the_certificate_has_no_final_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastws.loadgen.target.reachable", lambda host, port: "192.0.2.1")
    assert resolve("wss://App.test./") == target("192.0.2.1", 443, "app.test", "app.test.", "/")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "127.0.0.1:80",
        "ws://",
        "ws://x:99999/",
        "ws://x:0/",
        "ws://[",
        "ws://u:p@127.0.0.1/",
        "ws://127.0.0.1/#a",
    ],
)
def test_another_url_is_a_mistake(url: str) -> None:
    with pytest.raises(PlanError):
        resolve(url)


def test_a_name_without_an_address_is_told() -> None:
    with pytest.raises(LoadgenError, match=r"nowhere\.invalid has no address"):
        resolve("ws://nowhere.invalid/")


def test_requests_have_keys_of_their_own() -> None:
    pairs = resolve("ws://127.0.0.1:81/x").handshakes(PLAN)
    heads = [head for head, _ in pairs]
    assert len(set(heads)) == len(heads) > 10
    for head, accept in pairs:
        assert head.startswith(b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:81\r\n") and head.endswith(b"\r\n\r\n")
        assert head.count(b"\r\n\r\n") == 1
        key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        assert generate_accept_token(key) == accept


def test_requests_carry_what_the_plan_says() -> None:
    plan = Plan(
        url="",
        scenario=Scenario.ECHO,
        headers=(("Host", "example.org"), ("X-A", "b")),
        subprotocols=("chat", "v2"),
        origin="https://example.org",
        deflate=True,
    )
    head, _ = resolve("ws://127.0.0.1:81/").handshakes(plan)[0]
    lines = head.split(b"\r\n")
    assert b"Host: example.org" in lines and b"Host: 127.0.0.1:81" not in lines
    assert b"X-A: b" in lines and b"Origin: https://example.org" in lines
    assert b"Sec-WebSocket-Protocol: chat, v2" in lines
    assert b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover" in lines
    assert lines[-2:] == [b"", b""] and lines.count(b"") == 2


def test_each_field_stands_once() -> None:
    def fields(*headers: tuple[str, str], origin: str | None = None) -> list[bytes]:
        plan = Plan(url="", scenario=Scenario.ECHO, headers=headers, origin=origin)
        head, _ = resolve("ws://127.0.0.1:81/").handshakes(plan)[0]
        names = (b"cookie:", b"user-agent:", b"origin:")
        return [line for line in head.split(b"\r\n") if line.lower().startswith(names)]

    agent = f"User-Agent: fastws/{fastws.__version__}".encode()
    assert fields() == [agent]
    assert fields(("Cookie", "a=1"), ("cookie", "b=2")) == [b"Cookie: a=1; b=2", agent]
    assert fields(("user-agent", "mine")) == [b"user-agent: mine"]
    assert fields(("Origin", "https://a")) == [b"Origin: https://a", agent]
    with pytest.raises(PlanError, match="origin is given"):
        fields(("Origin", "https://a"), origin="https://b")


def test_a_header_that_would_split_the_request_is_refused() -> None:
    with pytest.raises(PlanError):
        resolve("ws://127.0.0.1/").handshakes(
            Plan(url="", scenario=Scenario.ECHO, headers=(("a", "b\r\nc: d"),))
        )
