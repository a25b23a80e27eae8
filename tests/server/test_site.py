"""What all connections of a server share."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastws import (
    Route,
    Static,
)
from fastws.server.site import as_routes
from tests.kit import ManualLoop, RawClient, Recorder
from tests.server.served import coroutine, opened, page, served


class TestApps:
    def test_one_handler_for_every_path(self, loop: ManualLoop) -> None:
        for app in (Recorder(), Recorder, coroutine):
            server = served(loop, app)
            for path in ("/", "/a", "/a/b/c", "/%C3%BC?x=y"):
                opened(loop, server, path)
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
