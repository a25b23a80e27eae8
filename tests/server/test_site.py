"""What all connections of a server share."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from fastws import Route, Static
from fastws.server.settings import settings_from
from fastws.server.shared_page import Membership, SharedPage
from fastws.server.site import MAX_WAITING_FOR_503, Site, as_routes
from tests.kit import ManualLoop, RawClient, Recorder
from tests.kit.served import opened, served
from tests.server.sites import coroutine, page


class TestApps:
    def test_one_handler_for_every_path(self, loop: ManualLoop) -> None:
        for app in (Recorder(), Recorder, coroutine):
            server = served(loop, app)
            for path in ("/", "/a", "/a/b/c", "/%C3%BC?x=y"):
                opened(loop, server, path=path)
            loop.run(server.shutdown(0))

    def test_what_is_given(self, tmp_path: Path) -> None:
        route, folder = Route("/", http=page), Static("/", tmp_path)
        assert as_routes(route) == [route]
        assert as_routes(folder) == [folder]
        assert as_routes((route, folder)) == [route, folder]
        with pytest.raises(TypeError):
            as_routes("module:app")


class TestDate:
    def test_each_response_says_when_it_was_made(
        self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = [784_111_777.9]
        monkeypatch.setattr("fastws.server.site.time.time", lambda: clock[0])
        server = served(loop, Route("/", http=page), headers=[("Date", "never")])
        client = RawClient(server, loop)
        for seconds, path in ((0, "/"), (0, "/nowhere"), (86_400, "/")):
            clock[0] += seconds
            client.get(path)
        client.send(b"nonsense\r\n\r\n")
        loop.settle()
        assert client.pending().count(b"\r\nDate: ") == 4
        heads = [(each.status, each.headers["date"]) for each in client.responses()]
        sunday, monday = "Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 07 Nov 1994 08:49:37 GMT"
        assert heads == [(200, sunday), (404, sunday), (200, monday), (400, monday)]


class TestRoom:
    """How a server is full; ``connections`` are counted, whatever they are."""

    def site(self, limit: int | None, connections: int) -> Site:
        site = Site(Recorder(), settings_from(limit_concurrency=limit))
        for number in range(connections):
            self.add(site, number)
        return site

    def add(self, site: Site, connection: Any, now: float = 1.0) -> bool:
        site.connections[connection] = None
        return site.must_drop(connection, now)

    def remove(self, site: Site, connection: Any) -> None:
        del site.connections[connection]
        site.excess.discard(connection)

    def beyond(self, site: Site) -> list[Any]:
        return [each for each in site.connections if site.is_beyond_limit(each)]

    def test_without_a_limit(self) -> None:
        site = self.site(None, 1000)
        assert (self.beyond(site), self.add(site, "new")) == ([], False)

    def test_with_a_limit(self) -> None:
        assert self.beyond(self.site(10, 10)) == []
        assert self.beyond(self.site(10, 12)) == [10, 11]
        assert not self.add(self.site(10, 9 + MAX_WAITING_FOR_503), "last")
        assert self.add(self.site(10, 10 + MAX_WAITING_FOR_503), "one more")

    def test_a_place_that_becomes_free_goes_to_the_next_who_asks(self) -> None:
        site = self.site(2, 4)
        assert self.beyond(site) == [2, 3]
        self.remove(site, 0)
        assert not site.is_beyond_limit(3)
        assert site.is_beyond_limit(2)
        self.remove(site, 1)
        assert not self.add(site, 5)
        assert self.beyond(site) == [2]

    def members(self, limit: int, *, is_limit_for_all: bool = True) -> tuple[Site, Site]:
        page = SharedPage.create(3)
        sites = self.site(limit, 0), self.site(limit, 0)
        for site, row in zip(sites, page.rows, strict=False):
            site.share(Membership(page, row, is_limit_for_all=is_limit_for_all))
        return sites

    def test_the_connections_of_all_workers_count(self) -> None:
        one, other = self.members(3)
        clients = [Recorder() for _ in range(9)]
        for site, client in zip((one, other, one), clients, strict=False):
            site.connection_open(client)
            assert not site.must_drop(client, 1.0)
        # Those who wait for a 503 take nobody's place.
        for client in clients[3:8]:
            one.connection_open(client)
            assert not one.must_drop(client, 1.0)
            assert one.is_beyond_limit(client)
        one.connection_lost(clients[0])
        assert one.count() == other.count() == 7
        other.connection_open(clients[8])
        assert not other.must_drop(clients[8], 1.0)
        assert not other.excess
        assert one.is_beyond_limit(clients[3])
        other.connection_lost(clients[1])
        assert not one.is_beyond_limit(clients[3])
        assert one.is_beyond_limit(clients[4])

    def test_who_is_beyond_the_limit_lets_no_other_in_while_it_asks(self) -> None:
        one, other = self.members(1)
        first, second, third = Recorder(), Recorder(), Recorder()
        one.connection_open(first)
        for site, client in ((one, second), (other, third)):
            site.connection_open(client)
            site.must_drop(client, 1.0)
            assert site.is_beyond_limit(client)
        one.connection_lost(first)
        assert not one.is_beyond_limit(second)
        assert other.is_beyond_limit(third)

    def test_each_has_its_own_room_where_nobody_has_set_a_limit(self) -> None:
        one, other = self.members(1, is_limit_for_all=False)
        for site in (one, other):
            client = Recorder()
            site.connection_open(client)
            assert not site.must_drop(client, 1.0) and not site.excess

    def test_a_warning_every_ten_seconds(self, caplog: pytest.LogCaptureFixture) -> None:
        site = self.site(10, 10)
        for now in (1.0, 2.0, 10.9, 11.1, 12.0):
            self.add(site, f"at {now}", now)
            self.remove(site, f"at {now}")
        assert [record.getMessage() for record in caplog.records] == [
            "10 connections are open: more are answered 503 or closed"
        ] * 2

    def test_the_access_log_is_for_those_who_read_it(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "fastws.access"):
            assert not self.site(None, 0).is_access_logged()
        with caplog.at_level(logging.INFO, "fastws.access"):
            assert self.site(None, 0).is_access_logged()
            assert not Site(Recorder(), settings_from(access_log=False)).is_access_logged()
