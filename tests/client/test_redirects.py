"""Redirects: whither, how often, and with which credentials."""

from __future__ import annotations

from typing import Any

import pytest

import fastws
from fastws.client.redirects import HandshakeTarget, follow
from fastws.client.url import parse_url
from fastws.protocol.http.messages import Response
from tests.client.loops import both_loops
from tests.client.peers import answer, answering, echo, listening

FIELDS = ((b"Authorization", b"x"), (b"Cookie", b"a=1"), (b"Host", b"h"), (b"X-Mine", b"y"))


def target(url: str, origin: str | None = None) -> HandshakeTarget:
    return HandshakeTarget(parse_url(url), FIELDS, origin)


@pytest.mark.parametrize(
    ("url", "location", "leads_to"),
    [
        ("ws://a.test/x", "/y?q", "ws://a.test/y?q"),
        ("ws://a.test/x/z", "y", "ws://a.test/x/y"),
        ("ws://a.test/", "http://a.test/y", "ws://a.test/y"),
        ("ws://a.test/", "wss://a.test/", "wss://a.test/"),
        ("wss://a.test/", "https://b.test:8443/", "wss://b.test:8443/"),
        ("wss://a.test/", "//b.test/#part", "wss://b.test/"),
    ],
)
def test_where_it_leads(url: str, location: str, leads_to: str) -> None:
    following = follow(target(url), Response(302, headers=[("Location", location)]))
    assert following is not None
    assert following.address.url == leads_to


def test_credentials_stay_with_their_origin() -> None:
    same = follow(target("ws://a.test/"), Response(307, headers={"Location": "/other"}))
    assert same is not None
    assert (same.headers, same.first) == (FIELDS, True)
    for location in ("ws://b.test/", "ws://a.test:81/", "wss://a.test/"):
        other = follow(target("ws://a.test/"), Response(308, headers={"Location": location}))
        assert other is not None
        assert (other.headers, other.first) == (((b"X-Mine", b"y"),), False)


@pytest.mark.parametrize(
    ("origin", "sent"),
    [(None, None), ("http://a.test", "http://a.test"), ("https://app.test", "null")],
)
def test_an_origin_that_had_no_say_is_not_claimed(origin: str | None, sent: str | None) -> None:
    following = follow(target("ws://a.test/", origin), Response(301, headers={"Location": "ws://b.test/"}))
    assert following is not None
    assert following.origin == sent


@pytest.mark.parametrize(
    ("url", "headers", "note"),
    [
        ("wss://a.test/", {"Location": "ws://a.test/"}, "from wss:// to ws://"),
        ("wss://a.test/", {"Location": "http://a.test/"}, "from wss:// to ws://"),
        ("ws://a.test/", {}, "without one Location"),
        ("ws://a.test/", {"Location": "ftp://a.test/"}, "leads nowhere"),
        ("ws://a.test/", {"Location": "ws://u:p@a.test/"}, "leads nowhere"),
        ("ws://a.test/", {"Location": "http://[::1/"}, "leads nowhere"),
    ],
)
def test_what_is_not_followed(url: str, headers: dict[str, str], note: str) -> None:
    response = Response(302, headers=headers)
    with pytest.raises(fastws.HandshakeRefused, match=note) as caught:
        follow(target(url), response)
    assert caught.value.response is response


def test_other_answers_are_no_redirects() -> None:
    for status in (200, 300, 304, 404):
        assert follow(target("ws://a.test/"), Response(status, headers={"Location": "/"})) is None


@pytest.mark.live
@both_loops
async def test_a_redirect_is_followed_without_credentials_elsewhere() -> None:
    heads: list[str] = []
    async with fastws.serve(echo, "127.0.0.1") as server:
        there = answer(302, f"Location: ws://127.0.0.1:{server.port}/", "Connection: close")
        again = answer(307, "Location: /next", "Connection: close")
        async with listening(answering(again, there, heads=heads)) as port:
            url = f"ws://127.0.0.1:{port}/"
            async with fastws.connect(url, auth=fastws.BearerAuth("secret")) as ws:
                assert ws.peer[1] == server.port
                await ws.send("hello")
                assert await ws.recv() == "hello"
    assert [head.split(" ")[1] for head in heads] == ["/", "/next"]
    assert all("Bearer secret" in head for head in heads)


@pytest.mark.live
@pytest.mark.parametrize(
    ("options", "note", "requests"),
    [
        ({}, "more than 10 redirects", 11),
        ({"max_redirects": 1}, "more than 1", 2),
        ({"max_redirects": 0}, "status 302$", 1),
    ],
)
@both_loops
async def test_there_is_an_end_to_it(options: dict[str, Any], note: str, requests: int) -> None:
    heads: list[str] = []
    async with listening(answering(answer(302, "Location: /"), heads=heads)) as port:
        with pytest.raises(fastws.HandshakeRefused, match=note):
            await fastws.connect(f"ws://127.0.0.1:{port}/", **options)
    assert len(heads) == requests


@pytest.mark.live
@both_loops
async def test_what_is_fixed_is_not_left() -> None:
    async with listening(answering(answer(302, "Location: ws://b.test/"))) as port:
        with pytest.raises(fastws.HandshakeRefused, match="away from sock=, unix= or host="):
            await fastws.connect("ws://a.test/", host="127.0.0.1", port=port)
