"""The same ways to know a client inside other frameworks, whose requests are their own."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from django.http.request import HttpHeaders

import fastws
from tests.feed.test_run import SITES, Site

pytestmark = pytest.mark.live

SECRET = "a secret of more than thirty-two bytes"


def token() -> str:
    return jwt.encode({"sub": "ann", "exp": time.time() + 600}, SECRET)


async def first(url: str, **options: Any) -> Any:
    """Who the feed says that the client is, or the code with which it closes."""
    try:
        async with fastws.connect(url, **options) as ws:
            return json.loads(await ws.recv())["hello"]["user"]
    except fastws.HandshakeRefused as refused:
        return refused.response.status
    except fastws.ConnectionClosed as closed:
        return closed.code


def test_headers_of_django() -> None:
    auth = fastws.jwt_auth(SECRET, algorithms=["HS256"])
    assert auth(SimpleNamespace(headers=HttpHeaders({})), None) is None
    request = SimpleNamespace(headers=HttpHeaders({"HTTP_AUTHORIZATION": f"Bearer {token()}"}))
    user: Any = auth(request, None)
    assert user.id == "ann" and not hasattr(request, "user")


@pytest.mark.parametrize("site", SITES)
async def test_who_a_client_is(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    auth = fastws.jwt_auth(SECRET, algorithms=["HS256"], subprotocol="bearer.", query="jwt", cookie="jwt")
    feed = fastws.Feed(fastws.Hub(), may_subscribe=fastws.anyone, authenticate=auth)
    async with site(feed) as url:
        assert await first(f"{url}?jwt={token()}") == "ann"
        assert await first(url, auth=fastws.BearerAuth(token())) == "ann"
        assert await first(url, cookies={"jwt": token()}) == "ann"
        assert await first(f"{url}?jwt=wrong") == 4401
        own = url.replace("ws://", "http://").removesuffix("/feed")
        assert await first(url, cookies={"jwt": token()}, origin=own) == "ann"
        there = await first(url, cookies={"jwt": token()}, origin="https://evil.example")
        assert there in (4401, 403)
        if there == 4401:
            assert "it came from a page of https://evil.example" in caplog.text
    assert "the JWT of " in caplog.text and "is refused: it is no JWT" in caplog.text
