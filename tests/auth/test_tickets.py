"""``Tickets``: one connection for each, in one process and in several."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import time
from typing import Any

import pytest

import fastws
from fastws.auth import tickets as module
from fastws.auth.tickets import Tickets
from fastws.pubsub.bus import Bus
from fastws.pubsub.bus.registry import installed
from fastws.pubsub.keeper.client import KeeperClient
from fastws.testing import ManualLoop, memory_broker
from tests.feed.clients import Client
from tests.feed.test_server_sent import Source
from tests.rows import all_rows

SECRET = "a secret of more than thirty-two bytes"
OTHER = b"another of more than thirty-two bytes"


def request(*fields: tuple[str, str], target: str = "/") -> fastws.Request:
    return fastws.Request("GET", target, list(fields), peer=("192.0.2.1", 7))


async def answered(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def test_a_ticket_is_its_user_once(caplog: pytest.LogCaptureFixture) -> None:
    tickets = Tickets(SECRET)
    ann = fastws.User(
        "ann", "Ann", {"age": 7}, expires_at=time.time() + 60, topics=("rooms/a",), claims={"role": "admin"}
    )
    for user in (ann, fastws.User("bob")):
        ticket = tickets.issue(user)
        assert await answered(tickets(request(), ticket)) == user
        with pytest.raises(fastws.FeedError, match="unauthorized: the token is not valid"):
            tickets(request(), ticket)
    assert "the ticket of 192.0.2.1:7 is refused: it was used before" in caplog.text
    assert await answered(tickets(request(), tickets.issue("eve"))) == fastws.User("eve")


async def test_places_of_a_ticket() -> None:
    tickets = Tickets(SECRET)
    assert tickets(request(target=f"/?ticket={tickets.issue('ann')}")) is None
    assert tickets(request(("Authorization", f"Bearer {tickets.issue('ann')}"))) is None
    nobody: Any = tickets(request())
    assert nobody.status == 401
    assert tickets(request(), None) is None
    hidden = Tickets(SECRET, query=None)
    refused: Any = hidden(request(target=f"/?ticket={tickets.issue('ann')}"))
    assert refused.status == 401


def changed(ticket: str) -> str:
    text, _, signature = ticket.partition(".")
    said = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    said["u"] = "eve"
    return base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode() + "." + signature


async def test_what_is_no_ticket(caplog: pytest.LogCaptureFixture) -> None:
    tickets = Tickets(SECRET)
    ticket = tickets.issue("ann")
    rows = {
        "another secret": (Tickets(OTHER).issue("ann"), "its signature is not ours"),
        "other words": (changed(ticket), "its signature is not ours"),
        "a word": ("ticket", "it is no ticket"),
        "no base64": ("ü.ü", "it is no ticket"),
        "a dot": (".", "its signature is not ours"),
        "base64 of another hand": (ticket[:-1] + ("B" if ticket[-1] == "A" else "A"), "is"),
        "padding": (ticket + "=", "it is no ticket"),
        "megabytes": ("x" * 5000, "more than 4096 characters"),
    }
    with all_rows() as row:
        for name, (given, words) in rows.items():
            with row(name):
                caplog.clear()
                with pytest.raises(fastws.FeedError, match="unauthorized"):
                    tickets(request(), given)
                assert words in caplog.text and (len(given) < 10 or given[:40] not in caplog.text)
    assert isinstance(tickets(request(), ticket), fastws.User)


async def test_time_ends_a_ticket_and_what_is_known_of_it(caplog: pytest.LogCaptureFixture) -> None:
    tickets, now = Tickets(SECRET, ttl=10), 1000.0
    tickets._clock = lambda: now
    early = tickets.issue("ann")
    now = 1009.9
    assert isinstance(tickets(request(), early), fastws.User)
    late = tickets.issue("ann")
    now = 1019.9
    with pytest.raises(fastws.FeedError, match="unauthorized"):
        tickets(request(), late)
    assert "it has expired" in caplog.text
    tickets(request(), tickets.issue("ann"))
    assert len(tickets._used) == 1


async def test_a_user_that_has_expired_is_not_let_in(caplog: pytest.LogCaptureFixture) -> None:
    tickets = Tickets(SECRET)
    ticket = tickets.issue(fastws.User("ann", expires_at=1.0))
    refused: Any = tickets(request(target=f"/?ticket={ticket}"))
    assert refused.status == 401 and "its user has expired" in caplog.text


async def test_used_tickets_are_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_USED", 3)
    tickets = Tickets(SECRET)
    for _ in range(3):
        tickets(request(), tickets.issue("ann"))
    with pytest.raises(fastws.FeedError, match="unavailable"):
        tickets(request(), tickets.issue("ann"))
    assert "3 tickets were used within 30 s" in caplog.text


async def test_secrets_change_without_a_gap() -> None:
    old, both = Tickets(OTHER), Tickets([SECRET, OTHER])
    assert isinstance(both(request(), old.issue("ann")), fastws.User)
    assert isinstance(Tickets(SECRET)(request(), both.issue("ann")), fastws.User)


def test_what_cannot_be() -> None:
    rows: list[tuple[type[Exception], str, Any]] = [
        (ValueError, "at least 32 bytes", lambda: Tickets("short")),
        (TypeError, "text or bytes", lambda: Tickets([1])),  # type: ignore[list-item]
        (ValueError, "need a secret", lambda: Tickets([])),
        (ValueError, "1 to 240 seconds", lambda: Tickets(SECRET, ttl=300)),
        (TypeError, "a number", lambda: Tickets(SECRET, ttl="30")),  # type: ignore[arg-type]
        (TypeError, "a fastws.User or an id", lambda: Tickets(SECRET).issue(1)),  # type: ignore[arg-type]
        (
            ValueError,
            "at most 4096",
            lambda: Tickets(SECRET).issue(fastws.User("ann", claims={"x": "x" * 5000})),
        ),
        (TypeError, "not JSON", lambda: Tickets(SECRET).issue(fastws.User("ann", claims={"x": object()}))),
    ]
    with all_rows() as row:
        for error, words, make in rows:
            with row(words), pytest.raises(error, match=words):
                make()


def shared_hub() -> fastws.Hub:
    hub = fastws.Hub(broker="memory")
    hub.topic(module.TOPIC, history=1)
    return hub


async def test_two_processes_take_each_ticket_once_in_all(caplog: pytest.LogCaptureFixture) -> None:
    members = [Tickets(SECRET), Tickets(SECRET)]
    hubs = [shared_hub(), shared_hub()]
    for member, hub in zip(members, hubs, strict=True):
        member._hub = hub
    async with memory_broker(*hubs):
        for _ in range(5):
            ticket = members[0].issue("ann")
            answers = await asyncio.gather(
                *(answered(each(request(), ticket)) for each in members * 2), return_exceptions=True
            )
            assert [answer for answer in answers if isinstance(answer, fastws.User)] == [fastws.User("ann")]
        assert "it was used before" in caplog.text
        assert await answered(members[1](request(target=f"/?ticket={members[0].issue('ann')}"))) is None


async def test_no_ticket_of_before_is_taken_when_it_is_forgotten_what_was_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tickets = Tickets(SECRET)
    tickets._hub = shared_hub()
    async with memory_broker(tickets._hub, shared_hub()) as broker:
        used, unused = tickets.issue("ann"), tickets.issue("ann")
        assert await answered(tickets(request(), used)) == fastws.User("ann")
        broker.forget()
        for ticket in (used, unused):
            with pytest.raises(fastws.FeedError, match="unauthorized"):
                await answered(tickets(request(), ticket))
        assert "it may have been used" in caplog.text
        assert await answered(tickets(request(), tickets.issue("eve"))) == fastws.User("eve")


def test_processes_that_share_have_a_hub_for_each_secret() -> None:
    bus = Bus(1)
    bus.keeper = KeeperClient(bus, lambda: None)
    with installed(bus):
        first, again, other = Tickets(SECRET), Tickets(SECRET), Tickets(OTHER)
        assert first._hub is again._hub is not None and other._hub is not first._hub
        assert Tickets(SECRET, broker="memory")._hub is None
    with installed(Bus(2)), pytest.raises(ValueError, match="cannot be told once for all processes"):
        Tickets("a third secret of more than thirty-two bytes")


async def test_when_nobody_can_say_whether_it_was_used(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def publish_confirmed(self, *args: Any, **options: Any) -> Any:
            raise fastws.BrokerUnavailable("nobody numbers")

    tickets: Any = Tickets(SECRET)
    tickets._hub = Broken()
    with pytest.raises(fastws.FeedError, match="unavailable"):
        await tickets(request(), tickets.issue("ann"))
    response = await tickets(request(target=f"/?ticket={tickets.issue('ann')}"))
    assert response.status == 503 and "nobody numbers" in caplog.text


# -- the same at feeds, routes and server-sent events --------------------------------------------


class Greeter(fastws.Handler):
    def on_open(self, ws: fastws.WebSocket) -> None:
        ws.send_json_nowait(ws.request.user.id)


def test_a_feed_a_route_and_events_take_tickets(loop: ManualLoop) -> None:
    tickets = Tickets(SECRET)
    feed = fastws.Feed(fastws.Hub(), may_subscribe=fastws.anyone, authenticate=tickets)
    asked = Client(loop, feed)
    (hello,) = asked.say(json.dumps({"auth": tickets.issue("ann")}))
    assert hello["hello"]["user"] == "ann"
    ticket = tickets.issue("ann")
    assert Client(loop, asked.server, f"?ticket={ticket}").said()[0]["hello"]["user"] == "ann"
    assert Client(loop, asked.server, f"?ticket={ticket}").said() == [4401]
    assert Client(loop, asked.server).say('{"auth":"x"}') == [4401]
    ticket = tickets.issue("ann")
    events = Source(loop, feed, f"?topic=a&ticket={ticket}")
    assert events.read()[0]["hello"]["user"] == "ann"
    again = Source(loop, events.server, f"?topic=a&ticket={ticket}")
    again.read()
    assert b" 401 " in again.head
    route = fastws.Route("/feed", Greeter(), authorize=tickets)
    assert Client(loop, route, f"?ticket={tickets.issue('ann')}").said() == ["ann"]
