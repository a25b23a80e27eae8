"""Sessions of Starlette and of Django, made by the frameworks themselves, at feeds and routes."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import fastws
from tests.rows import all_rows

SECRET = "a secret of starlette"


def request(cookie: str | None = None, *fields: tuple[str, str]) -> fastws.Request:
    cookies = [] if cookie is None else [("Cookie", cookie)]
    return fastws.Request("GET", "/", [*cookies, *fields], peer=("192.0.2.1", 7))


async def answered(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def log_in(secret: str = SECRET, **session: Any) -> str:
    """Let Starlette make the cookie of a session."""

    async def page(asked: Request) -> PlainTextResponse:
        asked.session.update(session)
        return PlainTextResponse("welcome")

    middleware = [Middleware(SessionMiddleware, secret_key=secret)]
    app = Starlette(routes=[Route("/", page)], middleware=middleware)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(event: Any) -> None:
        sent.append(event)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "app": app}
    await app(scope, receive, send)
    (cookie,) = [value for name, value in sent[0]["headers"] if name == b"set-cookie"]
    return str(cookie.decode().partition(";")[0])


def user_of(session: Any) -> fastws.User | None:
    return fastws.User(session["user"]) if "user" in session else None


async def test_a_session_of_starlette(caplog: pytest.LogCaptureFixture) -> None:
    auth = fastws.starlette_session(SECRET, user_of)
    cookie = await log_in(user="ann")
    assert auth(request(cookie), None) == fastws.User("ann") and auth(request(cookie)) is None
    assert auth(request(), None) is None
    nobody: Any = auth(request())
    assert nobody.status == 403 and "www-authenticate" not in nobody.headers
    name, _, value = cookie.partition("=")
    rows = {
        await log_in("another secret", user="ann"): "its signature is not ours",
        f"{name}=x{value}": "its signature is not ours",
        f"{name}={'x' * 9000}": "more than 8192 characters",
        await log_in(other=1): "nobody has it",
    }
    with all_rows() as row:
        for wrong, words in rows.items():
            with row(words):
                caplog.clear()
                with pytest.raises(fastws.FeedError, match="unauthorized"):
                    auth(request(wrong), None)
                assert words in caplog.text
    refused: Any = auth(request(f"{name}=x{value}"))
    assert refused.status == 403
    old = fastws.starlette_session(SECRET, user_of, max_age=-1)
    with pytest.raises(fastws.FeedError, match="unauthorized"):
        old(request(cookie), None)
    assert "it has expired" in caplog.text


async def test_what_is_signed_and_no_session(caplog: pytest.LogCaptureFixture) -> None:
    import itsdangerous

    auth = fastws.starlette_session(SECRET, user_of)
    signer = itsdangerous.TimestampSigner(SECRET)
    for data, words in ((b"x", "no session of Starlette"), (b"WzFd", "nobody has it")):
        with pytest.raises(fastws.FeedError, match="unauthorized"):
            auth(request(f"session={signer.sign(data).decode()}"), None)
        assert words in caplog.text


async def test_in_another_framework_a_page_of_another_origin_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cookie = await log_in(user="ann")

    def starlette(*fields: tuple[str, str]) -> Request:
        pairs = [("host", "example.org"), ("cookie", cookie), *fields]
        headers = [(name.encode(), value.encode()) for name, value in pairs]
        return Request({"type": "http", "headers": headers, "query_string": b"", "client": ("192.0.2.1", 7)})

    auth = fastws.starlette_session(SECRET, user_of, origins=["https://app.example.org"])
    assert auth(starlette(), None) == fastws.User("ann")
    for origin in ("https://example.org", "https://app.example.org"):
        assert auth(starlette(("origin", origin)), None) == fastws.User("ann")
    with pytest.raises(fastws.FeedError, match="unauthorized"):
        auth(starlette(("origin", "https://evil.example")), None)
    assert "the session of 192.0.2.1:7 is refused: it came from a page of https://evil.example" in caplog.text


async def test_a_function_that_may_wait_runs_in_a_thread() -> None:
    threads: list[Any] = []

    def load(value: str) -> fastws.User | None:
        threads.append(threading.current_thread())
        return fastws.User("ann") if value == "good" else None

    auth = fastws.session_auth(load, cookie="sid")
    assert await answered(auth(request("sid=good"), None)) == fastws.User("ann")
    assert await answered(auth(request("sid=good"))) is None
    with pytest.raises(fastws.FeedError, match="unauthorized"):
        await answered(auth(request("sid=bad"), None))
    assert threading.main_thread() not in threads


async def test_a_coroutine_runs_on_the_loop() -> None:
    async def load(value: str) -> Any:
        await asyncio.sleep(0)
        return fastws.User("ann") if value == "good" else "ann"

    auth = fastws.session_auth(load, cookie="sid")
    assert await answered(auth(request("sid=good"), None)) == fastws.User("ann")
    with pytest.raises(TypeError, match="no fastws.User"):
        await answered(auth(request("sid=bad"), None))


def test_what_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="a function"):
        fastws.session_auth("ann", cookie="sid")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a function"):
        fastws.starlette_session(SECRET, "ann")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a header can carry"):
        fastws.session_auth(user_of, cookie="a b")
    with pytest.raises(ValueError, match="origin"):
        fastws.session_auth(user_of, cookie="sid", origins=["example.org"])
    monkeypatch.setitem(__import__("sys").modules, "itsdangerous", None)
    with pytest.raises(ImportError, match="pip install itsdangerous"):
        fastws.starlette_session(SECRET, user_of)


@pytest.fixture
def django(tmp_path: Path) -> Iterator[Any]:
    """Django with a database of sessions and users."""
    import django
    from django.conf import settings

    if not settings.configured:
        apps = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db")}
        settings.configure(
            SECRET_KEY="a secret of django",
            INSTALLED_APPS=apps,
            DATABASES={"default": database},
            USE_TZ=True,
            PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        )
        django.setup()
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", verbosity=0)
    yield django
    connections.close_all()


def test_a_session_of_django(django: Any) -> None:
    """The function is that of docs/authentication.md."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.sessions.backends.db import SessionStore

    page = (Path(__file__).parents[2] / "docs" / "authentication.md").read_text(encoding="utf-8")
    (code,) = [each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "django" in each]
    names: dict[str, Any] = {}
    exec(code, names)
    auth = names["auth"]
    ann = get_user_model().objects.create_user("ann", password="s3cret")
    session = SessionStore()
    session[SESSION_KEY] = str(ann.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = ann.get_session_auth_hash()
    session.create()

    async def ask(key: str) -> Any:
        return await answered(auth(request(f"sessionid={key}"), None))

    assert asyncio.run(ask(session.session_key)) == fastws.User(str(ann.pk), "ann")
    with pytest.raises(fastws.FeedError, match="unauthorized"):
        asyncio.run(ask("x" * 32))
    ann.set_password("another")
    ann.save()
    with pytest.raises(fastws.FeedError, match="unauthorized"):
        asyncio.run(ask(session.session_key))
