"""The fields that the arguments of connect() make, each once."""

from __future__ import annotations

from typing import Any

import pytest

import fastws
from fastws.client.fields import USER_AGENT, request_fields
from tests.client.loops import both_loops
from tests.client.peers import answer, answering, listening


def sent(headers: Any = (), **arguments: Any) -> tuple[list[tuple[bytes, bytes]], str | None]:
    return request_fields(headers, **{"auth": None, "origin": None, "user_agent": USER_AGENT} | arguments)


def test_the_user_agent_is_sent_replaced_or_removed() -> None:
    own = [(b"User-Agent", b"fastws/" + fastws.__version__.encode())]
    assert sent() == (own, None)
    assert sent(user_agent="watcher/1.0") == ([(b"User-Agent", b"watcher/1.0")], None)
    assert sent(user_agent=None) == ([], None)
    for name in ("User-Agent", "user-agent", "USER-AGENT"):
        assert sent({name: "x"}) == ([(name.encode(), b"x")], None)
        assert sent([(name, "x")], user_agent=None) == ([(name.encode(), b"x")], None)
    with pytest.raises(ValueError, match="User-Agent"):
        fastws.connect("ws://a/", user_agent="two\r\nlines")


def test_an_origin_among_the_headers_is_the_origin() -> None:
    """So that a redirect to another origin makes null of it, as of the argument."""
    assert sent({"origin": "https://app.test"}, user_agent=None) == ([], "https://app.test")
    assert sent(origin="https://app.test", user_agent=None) == ([], "https://app.test")


@pytest.mark.parametrize(
    ("headers", "arguments"),
    [
        ({"authorization": "Basic x"}, {"auth": fastws.BearerAuth("abc")}),
        ({"ORIGIN": "https://a.test"}, {"origin": "https://b.test"}),
    ],
)
def test_what_is_given_twice(headers: Any, arguments: Any) -> None:
    with pytest.raises(ValueError, match="by headers= and by its own argument"):
        fastws.connect("ws://a/", headers=headers, **arguments)


@pytest.mark.live
@both_loops
async def test_no_field_is_sent_twice() -> None:
    heads: list[str] = []
    async with listening(answering(answer(403), heads=heads)) as port:
        with pytest.raises(fastws.HandshakeRefused):
            await fastws.connect(
                f"ws://127.0.0.1:{port}/",
                headers=[("Cookie", "a=1"), ("Origin", "https://app.test"), ("X-Mine", "1")],
                cookies={"b": "2"},
                auth=fastws.BearerAuth("abc"),
            )
    names = [line.partition(":")[0].lower() for line in heads[0].strip().split("\r\n")[1:]]
    assert len(names) == len(set(names))
    assert {"user-agent", "cookie", "origin", "authorization", "host", "x-mine"} <= set(names)
