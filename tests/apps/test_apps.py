"""The built-in application: echo, chat and broadcast as the mission states them, and their pages."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws import Server, Static
from fastws.apps.builtin import application, routes
from fastws.apps.echo import Echo
from fastws.testing.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from tests.kit import ManualLoop, RawClient, frame


class Site:
    def __init__(self, loop: ManualLoop, *static: Static, **settings: Any) -> None:
        self.loop = loop

        async def start() -> Server:
            return await fastws.serve(routes(static), **{"access_log": False, **settings})

        self.server = loop.run(start())

    def get(self, target: str, method: str = "GET") -> Any:
        client = RawClient(self.server, self.loop)
        client.get(target, method=method)
        self.loop.settle()
        return client.response(head_only=method == "HEAD")

    def open(self, path: str, *headers: str, count: int = 1) -> list[RawClient]:
        clients = [RawClient(self.server, self.loop) for _ in range(count)]
        assert {client.upgrade(path, *headers).status for client in clients} == {101}
        return clients


@pytest.fixture
def site(loop: ManualLoop) -> Iterator[Site]:
    yield Site(loop)


class TestPages:
    @pytest.mark.parametrize("path", ["/", "/chat"])
    def test_html(self, site: Site, path: str) -> None:
        answer = site.get(path)
        assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert answer.headers["x-server"] == "fastws"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.body.lower().startswith(b"<!doctype html>")
        assert site.get(path, "HEAD").headers["content-length"] == str(len(answer.body))
        refused = site.get(path, "POST")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")

    def test_others(self, site: Site) -> None:
        assert site.get("/healthz").body == b"ok\n"
        assert site.get("/none").status == 404
        assert site.get("/static/chat.html").status == 200
        assert site.get("/assets/style.css").headers["content-type"].startswith("text/css")
        for path in ("/ws", "/wsecho", "/echo", "/broadcast"):
            assert (site.get(path).status, site.get(path).headers["upgrade"]) == (426, "websocket")

    def test_the_gallery(self, loop: ManualLoop) -> None:
        async def start() -> Server:
            return await fastws.serve(application(), access_log=False)

        server = loop.run(start())
        for path, status in {
            "/": 200,
            "/rooms": 307,
            "/rooms/any": 200,
            "/quotes": 200,
            "/bullets": 200,
        }.items():
            client = RawClient(server, loop)
            client.get(path)
            loop.settle()
            assert client.response().status == status, path
        loop.run(server.shutdown(0))

    def test_readiness_goes_first(self, site: Site) -> None:
        client, late = RawClient(site.server, site.loop), RawClient(site.server, site.loop)
        site.server.stop_listening()
        client.get("/healthz")
        site.loop.settle()
        answer = client.response()
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        # What was accepted may still become a WebSocket.
        assert late.upgrade("/echo").status == 101

    def test_folders(self, loop: ManualLoop, tmp_path: Path) -> None:
        (tmp_path / "own.txt").write_text("own")
        beside = Site(loop, Static("/more", tmp_path))
        assert beside.get("/more/own.txt").body == b"own"
        assert beside.get("/static/chat.html").status == 200
        replaced = Site(loop, Static("/static", tmp_path), port=50_001)
        assert replaced.get("/static/own.txt").body == b"own"
        assert replaced.get("/static/chat.html").status == 404
        assert replaced.get("/assets/style.css").status == 200


class TestEcho:
    @pytest.mark.parametrize("path", ["/wsecho", "/echo"])
    def test_the_same_bytes_and_the_same_type(self, site: Site, path: str) -> None:
        (client,) = site.open(path)
        for opcode, payload in (
            (TEXT, b""),
            (TEXT, "ü".encode()),
            (BINARY, b""),
            (BINARY, b"\x00\xff" * 1000),
        ):
            client.send(frame(opcode, payload))
            site.loop.turn()
            assert [(one.opcode, one.payload) for one in client.frames()] == [(opcode, payload)]
        client.send(frame(TEXT, "in ", fin=False) + frame(CONTINUATION, "pieces"))
        site.loop.turn()
        assert client.texts() == ["in pieces"]
        client.close(1000)
        assert client.frames()[-1].close_code == 1000

    @pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
    def test_what_it_received_is_logged(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture, level: int
    ) -> None:
        with caplog.at_level(level, "fastws.error"):

            async def start() -> Server:
                return await fastws.serve(Echo(), access_log=False)

            client = RawClient(loop.run(start()), loop)
            client.upgrade()
            client.text("hello\nworld")
            client.binary(b"\xff")
        lines = [record.getMessage() for record in caplog.records]
        assert lines == ([r"recv: hello\nworld", r"recv: b'\xff'"] if level == logging.DEBUG else [])

    def test_origins(self, site: Site) -> None:
        client = RawClient(site.server, site.loop)
        assert client.upgrade("/wsecho", "Origin: http://evil.example").status == 403
        site.open("/wsecho", "Origin: http://server.example")


class TestChat:
    def test_everybody_hears_it_as_text(self, site: Site) -> None:
        clients = site.open("/ws", count=3)
        clients[0].text("  hello\nworld \t\n")
        site.loop.settle()
        assert [client.texts() for client in clients] == [["hello world"]] * 3
        clients[1].binary("grüße".encode())
        site.loop.settle()
        assert [client.texts() for client in clients] == [["grüße"]] * 3
        clients[2].text(" \n ")
        site.loop.settle()
        assert [client.texts() for client in clients] == [[""]] * 3

    def test_one_turn_is_one_message_and_one_write(self, site: Site) -> None:
        clients = site.open("/ws", count=3)
        writes = [len(client.transport.writes) for client in clients]
        for number, client in enumerate(clients):
            client.send(frame(TEXT, f"{number} a") + frame(TEXT, f"{number} b"))
        site.loop.settle()
        said = "\n".join(f"{number} {letter}" for number in range(3) for letter in "ab")
        assert [client.texts() for client in clients] == [[said]] * 3
        assert [len(client.transport.writes) for client in clients] == [count + 1 for count in writes]

    def test_the_size_of_a_message(self, site: Site) -> None:
        large, other = site.open("/ws", count=2)
        large.send(frame(TEXT, "x" * 256, fin=False) + frame(CONTINUATION, "x" * 256))
        site.loop.settle()
        assert other.texts() == ["x" * 512]
        assert large.texts() == ["x" * 512]
        large.text("x" * 513)
        site.loop.settle()
        assert [one.close_code for one in large.frames()] == [1009]
        other.text("go on")
        site.loop.settle()
        assert other.texts() == ["go on"]

    def test_binary_that_is_not_utf8(self, site: Site, caplog: pytest.LogCaptureFixture) -> None:
        bad, other = site.open("/ws", count=2)
        bad.binary(b"\xff\xfe")
        site.loop.settle()
        (close,) = bad.frames()
        assert (close.opcode, close.close_code) == (CLOSE, 1007)
        assert other.frames() == []
        bad.close(1007)
        site.loop.settle()
        assert "closed with 1007 not UTF-8" in caplog.text

    def test_who_does_not_read_is_evicted(self, site: Site) -> None:
        """256 messages wait; the next one evicts, and everybody else has them all."""
        slow, fine = site.open("/ws", count=2)
        slow.stall()
        fine.text("first")
        site.loop.settle()
        for number in range(256):
            fine.text(str(number))
            site.loop.settle()
        assert slow.connection.outbox.is_open
        fine.text("one too many")
        site.loop.settle()
        assert not slow.connection.outbox.is_open
        assert fine.texts() == ["first", *(str(number) for number in range(256)), "one too many"]
        slow.read()
        site.loop.settle()
        first, close = slow.frames()
        assert (first.text, close.close_code, close.close_reason) == ("first", 1008, "too slow")

    def test_what_waits_merges(self, site: Site) -> None:
        slow, fine = site.open("/ws", count=2)
        slow.stall()
        for number in range(5):
            fine.text(str(number))
            site.loop.settle()
        slow.read()
        assert slow.texts() == ["0", "1\n2\n3\n4"]

    def test_pings(self, site: Site) -> None:
        silent, alive = site.open("/ws", count=2)
        site.loop.advance(54.05)
        assert [one.opcode for one in silent.frames()] == [PING]
        alive.send(frame(PONG, alive.frames()[0].payload))
        site.loop.advance(5.9)
        assert not silent.transport.lost
        site.loop.advance(1.2)
        assert silent.transport.lost
        assert not alive.transport.lost

    @pytest.mark.parametrize(("code", "logged"), [(1000, False), (1001, False), (None, False), (4000, True)])
    def test_unexpected_closes_are_logged(
        self, site: Site, caplog: pytest.LogCaptureFixture, code: int | None, logged: bool
    ) -> None:
        (client,) = site.open("/ws")
        client.close(code, "" if code is None else 'quo"te')
        site.loop.settle()
        assert [record.getMessage() for record in caplog.records] == (
            ["chat: ('192.0.2.1', 50000) closed with 4000 quo\"te"] if logged else []
        )

    def test_a_loss_is_not(self, site: Site, caplog: pytest.LogCaptureFixture) -> None:
        gone, stays = site.open("/ws", count=2)
        gone.transport.lose()
        site.loop.settle()
        stays.text("still here")
        site.loop.settle()
        assert stays.texts() == ["still here"]
        assert caplog.records == []


class TestBroadcast:
    def test_everybody_has_every_message_as_it_came(self, site: Site) -> None:
        clients = site.open("/broadcast", count=3)
        clients[0].send(frame(TEXT, "a\nb ") + frame(BINARY, b"\xff"))
        clients[1].text("c")
        site.loop.settle()
        for client in clients:
            got = [(one.opcode, one.payload) for one in client.frames()]
            assert got == [(TEXT, b"a\nb "), (BINARY, b"\xff"), (TEXT, b"c")]
