"""Keys of JSON Web Tokens that are in a file or at a URL, and change there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws.auth.jwks import FetchedKeys, fetch
from fastws.auth.keys import FileKeys
from tests.auth.tokens import OTHER, PRIVATE, SECRET, Clock, answered, jwk, refused, request, signed, user_of


def test_a_file_of_keys_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path, clock = tmp_path / "secret", Clock()
    path.write_text(SECRET + "\n")
    keys = FileKeys(str(path), ["HS256"], clock)
    assert keys.find(None, "HS256") == SECRET.encode()
    path.write_text(OTHER + "!\n")
    clock.now = 0.5
    assert keys.find(None, "HS256") == SECRET.encode()
    clock.now = 1.0
    assert keys.find(None, "HS256") == OTHER.encode() + b"!" and "read again" in caplog.text
    for second, text in ((2.0, "short"), (3.0, '{"a": ' * 5000), (4.0, "x" * (2**18 + 1)), (5.0, "{")):
        path.write_text(text)
        clock.now = second
        assert keys.find(None, "HS256") == OTHER.encode() + b"!"
    assert caplog.text.count("hold on") == 4
    os.unlink(path)
    for second in (6.0, 7.0, 8.0):
        clock.now = second
        assert keys.find(None, "HS256") == OTHER.encode() + b"!"
    assert caplog.text.count("hold on") == 5


class Site:
    """What is at the URL, and how often it was asked for."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, url: str) -> bytes:
        assert url == "https://id.example/keys"
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return json.dumps({"keys": answer}).encode()


def fetched(site: Site, clock: Clock) -> Any:
    auth = fastws.jwt_auth("https://id.example/keys", algorithms=["RS256"])
    auth._keys = FetchedKeys("https://id.example/keys", ["RS256"], get=site, clock=clock)
    return auth


def token(kid: str | None, key: Any = PRIVATE) -> str:
    return signed(key=key, algorithm="RS256", **({} if kid is None else {"kid": kid}))


async def fetches_end(auth: Any) -> None:
    while auth._keys._fetching is not None:
        await asyncio.sleep(0.001)


async def test_keys_of_a_url_are_fetched_once_for_many(caplog: pytest.LogCaptureFixture) -> None:
    site, clock = Site([jwk(PRIVATE, "a")]), Clock()
    auth = fetched(site, clock)
    users = await asyncio.gather(*(answered(auth(request(), token("a"))) for _ in range(50)))
    assert {user.id for user in users} == {"ann"} and site.asked == 1
    assert (await user_of(auth, token(None))).id == "ann"


async def test_unknown_names_fetch_again_once_in_half_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    site, clock = Site([jwk(PRIVATE, "a")], [jwk(PRIVATE, "a"), jwk(PRIVATE, "b")]), Clock()
    auth = fetched(site, clock)
    assert (await user_of(auth, token("a"))).id == "ann"
    for number in range(100):
        await refused(auth, token(f"x{number}"))
    assert site.asked == 1 and len(auth._keys._keys._keys) == 1
    clock.now = 31.0
    await asyncio.gather(*(refused(auth, token(f"x{number}")) for number in range(100)))
    assert site.asked == 2
    assert (await user_of(auth, token("b"))).id == "ann"


async def test_old_keys_serve_while_new_ones_come(caplog: pytest.LogCaptureFixture) -> None:
    site, clock = Site([jwk(PRIVATE, "a")], OSError("no route"), [jwk(PRIVATE, "b")]), Clock()
    auth = fetched(site, clock)
    await user_of(auth, token("a"))
    clock.now = 301.0
    assert isinstance(auth(request(), token("a")), fastws.User)  # at once
    await fetches_end(auth)
    assert site.asked == 2 and "cannot be fetched: no route" in caplog.text
    assert isinstance(auth(request(), token("a")), fastws.User) and site.asked == 2
    clock.now = 307.0
    assert isinstance(auth(request(), token("a")), fastws.User)
    await fetches_end(auth)
    await refused(auth, token("a"))
    assert site.asked == 3


async def test_without_keys_nobody_is_refused_for_good(caplog: pytest.LogCaptureFixture) -> None:
    site, clock = Site(OSError("no route"), ValueError("no JSON"), [jwk(PRIVATE, "a")]), Clock()
    auth = fetched(site, clock)
    for _ in range(3):
        with pytest.raises(fastws.FeedError) as caught:
            await answered(auth(request(), token("a")))
        assert (caught.value.code, caught.value.retry_after) == ("unavailable", 5)
        response = await answered(auth(request(("Authorization", f"Bearer {token('a')}"))))
        assert response.status == 503 and response.headers["retry-after"] == "5"
    assert site.asked == 1 and "cannot be checked now" in caplog.text
    clock.now = 6.0
    with pytest.raises(fastws.FeedError):
        await answered(auth(request(), token("a")))
    clock.now = 12.0
    assert (await user_of(auth, token("a"))).id == "ann"
    site.answers[:] = [OSError("gone")]
    clock.now = 12.0 + 3600
    with pytest.raises(fastws.FeedError, match="unavailable"):
        await answered(auth(request(), token("a")))


async def test_few_wait_for_a_fetch_and_one_who_goes_takes_nobody_along(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fastws.auth.jwks.MAX_WAITING", 2)
    site, clock = Site([jwk(PRIVATE, "a")]), Clock()
    auth = fetched(site, clock)
    waiting = [asyncio.ensure_future(auth(request(), token("a"))) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError) and done[1].id == "ann"
    assert isinstance(done[2], fastws.FeedError) and done[2].code == "unavailable"


@pytest.fixture
def page() -> Iterator[Any]:
    """A server of keys in a thread: what it answers can be set."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Handler(BaseHTTPRequestHandler):
        answer: Any = (200, json.dumps({"keys": [jwk(PRIVATE, "a")]}).encode(), ())

        def do_GET(self) -> None:
            status, body, fields = self.answer
            self.send_response(status)
            for field in fields:
                self.send_header(*field)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}/keys"  # type: ignore[attr-defined]
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.live
async def test_a_real_fetch(page: Any, caplog: pytest.LogCaptureFixture) -> None:
    def auth() -> Any:
        return fastws.jwt_auth(page.url, algorithms=["RS256"])

    assert (await user_of(auth(), token("a"))).id == "ann"
    for answer, words in (
        ((404, b"", ()), "status 404"),
        ((302, b"", [("Location", "http://127.0.0.1:1/")]), "status 302"),
        ((200, b"x" * (2**18 + 1), ()), "more than 262144 bytes"),
        ((200, b"{}", ()), "no key for RS256"),
        ((200, b"", [("Transfer-Encoding", "chunked")]), "cannot be fetched"),
    ):
        page.RequestHandlerClass.answer = answer
        with pytest.raises(fastws.FeedError, match="unavailable"):
            await answered(auth()(request(), token("a")))
        assert words in caplog.text
    closed = fastws.jwt_auth("http://127.0.0.1:1/keys", algorithms=["RS256"])
    with pytest.raises(fastws.FeedError, match="unavailable"):
        await answered(closed(request(), token("a")))
    assert "Connection refused" in caplog.text


@pytest.mark.live
@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n{"])
def test_a_site_that_sends_byte_by_byte_is_not_waited_for(head: bytes) -> None:
    """Neither its head nor its body ends, and each read of it does."""
    from threading import Thread

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            sock, _ = listener.accept()
            with sock, contextlib.suppress(OSError):
                sock.sendall(head)
                while True:
                    sock.sendall(b" ")
                    time.sleep(0.01)

        thread = Thread(target=drip)
        thread.start()
        with pytest.raises(TimeoutError, match=r"it took more than 0\.1 s"):
            fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/keys", 0.1)
        thread.join()
