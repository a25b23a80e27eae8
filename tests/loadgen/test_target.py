"""From a URL to an address and a request."""

from __future__ import annotations

import pytest
from wsproto.utilities import generate_accept_token

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
        ("ws://u:p@127.0.0.1:82/é", target("127.0.0.1", 82, "127.0.0.1", "127.0.0.1:82", "/%C3%A9")),
    ],
)
def test_a_url_is_resolved(url: str, expected: Target) -> None:
    assert resolve(url) == expected


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "127.0.0.1:80", "ws://", "ws://x:99999/", "ws://x:0/", "ws://["]
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


def test_a_header_that_would_split_the_request_is_refused() -> None:
    with pytest.raises(PlanError):
        resolve("ws://127.0.0.1/").handshakes(
            Plan(url="", scenario=Scenario.ECHO, headers=(("a", "b\r\nc: d"),))
        )
