"""What a type checker says about programs that publish from elsewhere, and about who clients are."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import assert_type

import fastws


def publish() -> None:
    with fastws.Publisher("https://h", token="t", timeout=1.5, ssl=ssl.create_default_context()) as publisher:
        assert_type(publisher, fastws.Publisher)
        assert_type(publisher.publish("a", "x", once="1"), fastws.Published | None)
        assert_type(publisher.publish("a", json={"a": 1}, key="k"), fastws.Published | None)
        assert_type(publisher.publish("a", key="k", remove=True), fastws.Published | None)
        assert_type(publisher.publish_many([{"topic": "a", "message": b""}]), list[fastws.Published | None])
        publisher.publish("a", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    fastws.Publisher("h", "t")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def publish_later() -> None:
    async with fastws.AsyncPublisher("unix:/run/x") as publisher:
        assert_type(publisher, fastws.AsyncPublisher)
        assert_type(await publisher.publish("a", "x"), fastws.Published | None)
        assert_type(await publisher.publish_many([]), list[fastws.Published | None])


def what_failed(error: fastws.PublishError) -> None:
    assert_type(error.code, str)
    assert_type(error.index, int | None)
    assert_type(error.failed, dict[int, tuple[str, str]])


def pages(hub: fastws.Hub) -> None:
    page = fastws.publish_page(hub, tokens={"a": "**", "b": ["x/*"]})
    assert_type(page.route(), fastws.Route)
    fastws.Route("/publish", http=page, methods=["POST"])
    fastws.publish_page(hub, tokens=None)
    fastws.publish_page(hub, tokens=Path("tokens"))
    fastws.publish_page(hub)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def clients(hub: fastws.Hub) -> None:
    tokens = fastws.jwt_auth({"a": "secret"}, algorithms=["HS256"], audience=["a"], issuer="b")
    tickets = fastws.Tickets(["old", b"new"], ttl=10)
    assert_type(tickets.issue("ann"), str)
    sessions = fastws.session_auth(lambda key: fastws.User(key), cookie="sid")
    starlette = fastws.starlette_session("secret", lambda session: None)
    for auth in (tokens, tickets, sessions, starlette):
        fastws.Feed(hub, may_subscribe=fastws.anyone, authenticate=auth)
        fastws.Route("/", fastws.Handler(), authorize=auth)
    fastws.jwt_auth("secret")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
