"""``fastws serve module:attr``: telling a handler from an ASGI application, and what only that is told."""

from __future__ import annotations

import functools
import http.client
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import fastws
from fastws.asgi.application import ASGI
from fastws.cli.app_loader import as_app, is_asgi3
from fastws.cli.errors import CannotStart
from tests.cli.helpers import fastws as run
from tests.cli.helpers import running

pytestmark = pytest.mark.live


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


async def handler(ws: fastws.WebSocket) -> None: ...


async def handler_of_more(ws: fastws.WebSocket, room: str = "", key: int = 0) -> None: ...


async def anything(*args: Any) -> None: ...


def wrapped(app: Any) -> Any:
    @functools.wraps(app)
    async def wrapper(*args: Any) -> None: ...

    return wrapper


class Application:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class NotAsync:
    def __call__(self, scope: Any, receive: Any, send: Any) -> Any: ...


class Callable1:
    async def __call__(self, ws: fastws.WebSocket) -> None: ...


@pytest.mark.parametrize(
    "given",
    [asgi, Application(), NotAsync(), functools.partial(lambda x, a, b, c: None, 1), wrapped(asgi)],
    ids=["function", "object", "not async", "partial", "wrapper"],
)
def test_applications(given: Any) -> None:
    assert is_asgi3(given, "m:a")
    assert isinstance(as_app(given, "auto", "m:a", root_path="/api"), ASGI)


@pytest.mark.parametrize(
    "given",
    [handler, Callable1(), fastws.Handler, fastws.Handler(), fastws.Route("/", handler), [], 1, Application],
)
def test_what_is_none(given: Any) -> None:
    assert not is_asgi3(given, "m:a")
    assert as_app(given, "auto", "m:a") is given


@pytest.mark.parametrize("given", [handler_of_more, anything])
def test_what_could_be_either(given: Any) -> None:
    with pytest.raises(CannotStart, match="--interface"):
        as_app(given, "auto", "m:a")
    assert as_app(given, "fastws", "m:a") is given
    assert isinstance(as_app(given, "asgi3", "m:a"), ASGI)


APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if FAILS:
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("ended", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b""
    while True:
        event = await receive()
        body += event["body"]
        if not event["more_body"]:
            break
    told = [scope["root_path"], scope["path"], scope["client"][0], scope["scheme"], str(len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": " ".join(told).encode()})

def make():
    return app
"""


def post(address: str, size: int, **headers: str) -> tuple[int, str]:
    client = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
    client.request("POST", "/path", bytes(size), headers)
    response = client.getresponse()
    try:
        return response.status, response.read().decode()
    finally:
        client.close()


def test_an_application_as_a_process(tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text("FAILS = False\n" + APP)
    options = ("--factory", "--root-path", "/api", "--port", 0)
    with running(tmp_path, "serve", "site_app:make", *options) as server:
        address = server.address()
        forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
        # Beyond the 1 MiB that a page of fastws takes by default.
        assert post(address, 2**21, **forwarded) == (200, f"/api /api/path 203.0.113.7 https {2**21}")
        assert server.stop() == 0
    assert "ended" in server.stdout()
    assert "Traceback" not in server.stderr()


def test_nobody_is_believed_without_trust_and_bodies_can_be_limited(tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text("FAILS = False\n" + APP)
    options = ("--no-proxy-headers", "--limit-body-size", 10, "--port", 0)
    with running(tmp_path, "serve", "site_app:app", *options) as server:
        address = server.address()
        assert post(address, 10, **{"X-Forwarded-For": "203.0.113.7"}) == (200, " /path 127.0.0.1 http 10")
        assert post(address, 11)[0] == 413


@pytest.mark.parametrize("lifespan", ["auto", "on"])
def test_a_startup_that_fails_is_exit_3_with_one_line(tmp_path: Path, lifespan: str) -> None:
    (tmp_path / "site_app.py").write_text("FAILS = True\n" + APP)
    done = run("serve", "site_app:app", "--port", 0, "--lifespan", lifespan, cwd=tmp_path)
    assert done.returncode == 3
    said = "fastws serve: site_app:app cannot be served: the application failed to start: no database"
    assert done.stderr.splitlines() == [said]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--root-path", "api"), "a root_path begins with '/'"),
        (("--interface", "fastws"), "cannot be served"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    (tmp_path / "site_app.py").write_text("app = NotImplemented\nasync def asgi(scope, receive, send): ...\n")
    target = "site_app:app" if "fastws" in options else "site_app:asgi"
    done = run("serve", target, "--port", 0, *options, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
    assert said in done.stderr
