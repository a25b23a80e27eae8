"""The page at a server: what its connections may do. No socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

import fastws
from fastws.publish.limits import MAX_BODY_BYTES
from fastws.testing import ManualLoop, RawClient
from tests.kit.served import served

TOKEN = "token-of-everything"
HEAD = (
    "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    f"Authorization: Bearer {TOKEN}\r\n%s\r\n\r\n"
)


class Site:
    def __init__(self, loop: ManualLoop) -> None:
        self.loop = loop
        self.hub = fastws.Hub()
        self.hub.topic("rooms/*", history=100)
        self.route = fastws.publish_page(self.hub, tokens={TOKEN: "**"}).route()
        self.server = served(loop, [self.route])

    def client(self) -> RawClient:
        return RawClient(self.server, self.loop)

    def kept(self) -> list[Any]:
        return [each.message for each in self.loop.run(self.hub.history("rooms/a"))]


@pytest.fixture
def site(loop: ManualLoop) -> Site:
    return Site(loop)


def said(site: Site, client: RawClient, data: bytes) -> bytes:
    client.send(data)
    site.loop.settle()
    return client.transport.take_sent()


def body(text: str) -> bytes:
    return json.dumps({"topic": "rooms/a", "message": text}).encode()


def test_half_a_body_publishes_nothing(site: Site) -> None:
    data = body("x")
    for ends_its_side in (True, False):
        client = site.client()
        assert said(site, client, (HEAD % f"Content-Length: {len(data)}").encode() + data[:-1]) == b""
        if ends_its_side:
            client.connection.eof_received()
        else:
            client.transport.lose()
        site.loop.settle()
    assert site.kept() == []


def test_requests_of_one_connection_are_published_in_their_order(site: Site) -> None:
    client = site.client()
    requests = b"".join(
        (HEAD % f"Content-Length: {len(body(str(n)))}").encode() + body(str(n)) for n in range(20)
    )
    assert said(site, client, requests).count(b"HTTP/1.1 200 ") == 20
    assert site.kept() == [str(n) for n in range(20)]


def test_a_body_in_chunks(site: Site) -> None:
    data = body("x")
    chunks = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (5, data[:5], len(data) - 5, data[5:])
    answer = said(site, site.client(), (HEAD % "Transfer-Encoding: chunked").encode() + chunks)
    assert answer.startswith(b"HTTP/1.1 200 ") and site.kept() == ["x"]


def test_a_body_of_many_megabytes_is_not_read(site: Site) -> None:
    answer = said(site, site.client(), (HEAD % f"Content-Length: {2 * MAX_BODY_BYTES + 1}").encode())
    assert answer.startswith(b"HTTP/1.1 413 ") and b"Connection: close" in answer


def test_other_methods(site: Site) -> None:
    answer = said(site, site.client(), b"GET /publish HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 405 ") and b"Allow: POST" in answer


def test_the_others_have_their_turn_while_a_thousand_are_published(site: Site) -> None:
    data = json.dumps([{"topic": "rooms/a", "message": "x"}] * 1000).encode()
    client, other = site.client(), site.client()
    client.send((HEAD % f"Content-Length: {len(data)}").encode() + data)
    other.send(b"GET /publish HTTP/1.1\r\nHost: x\r\n\r\n")
    turns = 0
    while not (answer := client.transport.take_sent()):
        site.loop.turn()
        turns += 1
    assert answer.startswith(b"HTTP/1.1 200 ") and turns >= 1000 // 64
    assert other.transport.take_sent().startswith(b"HTTP/1.1 405 ")
