"""Authentication of the handshake: who is let in, what the others are told, and what no log holds."""

from __future__ import annotations

import asyncio
import base64
import inspect
import logging
from collections.abc import Callable
from typing import Any

import pytest

from fastws import Request, Response, Route, basic_auth, token_auth
from fastws.logs import conceal
from fastws.server.server import Server
from fastws.web.auth import basic_credentials
from tests.kit import ManualLoop, RawClient, Recorder
from tests.kit.served import served

SECRET = "s3cret-Ünïcode"
Authorize = Callable[[Request], Any]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def asking(*headers: tuple[str, str], target: str = "/") -> Request:
    return Request("GET", target, headers)


def verdict(authorize: Authorize, *headers: tuple[str, str], target: str = "/") -> Response | None:
    result = authorize(asking(*headers, target=target))
    if inspect.isawaitable(result):
        result = asyncio.run(_wait(result))
    assert result is None or isinstance(result, Response)
    return result


async def _wait(awaitable: Any) -> Any:
    return await awaitable


def challenge(response: Response | None) -> str:
    assert response is not None
    assert response.status == 401
    assert response.body == b"401 Unauthorized\n"
    headers = dict(response.raw_headers)
    assert headers[b"Cache-Control"] == b"no-store"
    return headers[b"WWW-Authenticate"].decode()


# -- HTTP Basic -------------------------------------------------------------------------------------

USERS = {"ann": SECRET, "bob": "", "": "nameless"}


def check(user: str, password: str) -> bool:
    return USERS.get(user) == password


async def check_later(user: str, password: str) -> bool:
    await asyncio.sleep(0)
    return check(user, password)


@pytest.fixture(params=[USERS, check, check_later], ids=["mapping", "check", "async check"])
def guard(request: pytest.FixtureRequest) -> Authorize:
    return basic_auth("the club", request.param)


@pytest.mark.parametrize(("user", "password"), USERS.items())
def test_a_known_user_is_let_in(guard: Authorize, user: str, password: str) -> None:
    assert verdict(guard, ("Authorization", basic(user, password))) is None


@pytest.mark.parametrize(
    "value",
    [
        basic("ann", "wrong"),
        basic("ann", ""),
        basic("ann", SECRET + "x"),
        basic("ann", SECRET[:-1]),
        basic("Ann", SECRET),
        basic("nobody", SECRET),
        basic("nobody", ""),
        basic("ann", SECRET).replace("Basic", "Bearer"),
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"ann:\xff\xfe").decode(),
        "Basic " + base64.b64encode(b"ann:x").decode().rstrip("=") + "é",
        basic("ann", SECRET).replace("Basic ", "Basic"),
        "",
    ],
)
def test_everything_else_is_answered_401(guard: Authorize, value: str) -> None:
    refused = verdict(guard, ("Authorization", value))
    assert challenge(refused) == 'Basic realm="the club", charset="UTF-8"'


def test_no_credentials_and_two_of_them_are_refused(guard: Authorize) -> None:
    right = ("Authorization", basic("ann", SECRET))
    assert challenge(verdict(guard))
    assert challenge(verdict(guard, right, right))


def test_the_scheme_is_read_in_any_case() -> None:
    value = basic("ann", "a:b").replace("Basic", "bAsIc")
    assert basic_credentials(asking(("authorization", value))) == ("ann", "a:b")


def test_a_check_must_say_true() -> None:
    assert challenge(
        verdict(basic_auth("x", lambda user, password: "yes"), ("Authorization", basic("a", "b")))
    )


def test_the_realm_is_quoted_and_checked() -> None:
    assert challenge(verdict(basic_auth('a "b" \\', {}))).startswith(r'Basic realm="a \"b\" \\"')
    with pytest.raises(ValueError, match="no header can carry"):
        basic_auth("two\r\nlines", {})
    with pytest.raises(ValueError, match="no colon"):
        basic_auth("x", {"a:b": "c"})


# -- tokens -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", ["t0ken", ["other", "t0ken"], lambda token: token == "t0ken"])
def test_a_token_is_taken_from_the_header(tokens: Any) -> None:
    guard = token_auth(tokens)
    assert verdict(guard, ("Authorization", "Bearer t0ken")) is None
    assert verdict(guard, ("Authorization", "bearer t0ken")) is None
    assert challenge(verdict(guard)) == 'Bearer realm="fastws"'
    for wrong in ("T0ken", "t0ke", "t0kenx", "x"):
        refused = verdict(guard, ("Authorization", f"Bearer {wrong}"))
        assert challenge(refused) == 'Bearer realm="fastws", error="invalid_token"'
    for none in ("Bearer", "Bearer ", "Basic t0ken", "t0ken"):
        assert challenge(verdict(guard, ("Authorization", none))) == 'Bearer realm="fastws"'


def test_a_token_stands_alone_in_a_header_of_another_name() -> None:
    guard = token_auth("t0ken", header="X-Api-Key")
    assert verdict(guard, ("x-api-key", "t0ken")) is None
    assert challenge(verdict(guard, ("X-Api-Key", "Bearer t0ken")))
    assert challenge(verdict(guard, ("X-Api-Key", "t0ken"), ("X-Api-Key", "t0ken")))
    assert challenge(verdict(guard, ("Authorization", "Bearer t0ken")))


def test_a_token_is_taken_from_an_offered_subprotocol() -> None:
    guard = token_auth("t0ken", header=None, subprotocol="bearer.")
    assert verdict(guard, ("Sec-WebSocket-Protocol", "chat, bearer.t0ken")) is None
    assert (
        verdict(guard, ("Sec-WebSocket-Protocol", "chat"), ("Sec-WebSocket-Protocol", "bearer.t0ken")) is None
    )
    assert challenge(verdict(guard, ("Sec-WebSocket-Protocol", "chat, bearer.")))
    assert challenge(verdict(guard, ("Sec-WebSocket-Protocol", "t0ken")))
    assert challenge(verdict(guard, ("Sec-WebSocket-Protocol", "bearer.x, bearer.t0ken")))


def test_a_token_is_taken_from_the_query() -> None:
    guard = token_auth("t 0&", header=None, query="key")
    assert verdict(guard, target="/ws?a=b&key=t%200%26") is None
    for target in (
        "/ws",
        "/ws?key",
        "/ws?key=",
        "/ws?key=x",
        "/ws?key=t+0%26&key=t+0%26",
        "/ws?" + "a&" * 1001,
    ):
        assert challenge(verdict(guard, target=target))


def test_a_place_with_a_token_hides_the_places_after_it() -> None:
    guard = token_auth("t0ken", query="token")
    assert verdict(guard, target="/?token=t0ken") is None
    assert challenge(verdict(guard, ("Authorization", "Bearer wrong"), target="/?token=t0ken"))


def test_an_async_check_decides_on_a_token() -> None:
    async def known(token: str) -> bool:
        await asyncio.sleep(0)
        return token == "t0ken"

    assert verdict(token_auth(known), ("Authorization", "Bearer t0ken")) is None
    assert challenge(verdict(token_auth(known), ("Authorization", "Bearer x")))


@pytest.mark.parametrize(
    "options",
    [{"header": None}, {"header": "two words"}, {"subprotocol": "a,b"}, {"query": ""}, {"realm": "\n"}],
)
def test_what_no_request_can_carry_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        token_auth("t0ken", **options)


def test_an_empty_token_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="not empty"):
        token_auth(["a", ""])


# -- on a server ------------------------------------------------------------------------------------


def guarded(loop: ManualLoop, authorize: Authorize, recorder: Recorder) -> Server:
    route = Route("/ws", recorder, authorize=authorize, subprotocols=["chat"])
    return served(loop, route, access_log=True)


def test_the_right_token_opens_and_is_not_echoed(loop: ManualLoop) -> None:
    recorder = Recorder(echo=True)
    server = guarded(loop, token_auth("t0ken", subprotocol="bearer."), recorder)
    client = RawClient(server, loop)
    answer = client.upgrade("/ws", "Sec-WebSocket-Protocol: bearer.t0ken, chat")
    assert answer.status == 101
    assert answer.headers["sec-websocket-protocol"] == "chat"
    client.text("hello")
    loop.turn()
    assert client.texts() == ["hello"]


def test_a_refusal_has_a_body_and_ends_the_connection(loop: ManualLoop) -> None:
    recorder = Recorder()
    client = RawClient(guarded(loop, basic_auth("club", {"ann": SECRET}), recorder), loop)
    answer = client.upgrade("/ws", f"Authorization: {basic('ann', 'guess')}", early=b"\x81\x80abcd")
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="club", charset="UTF-8"'
    assert answer.body == b"401 Unauthorized\n"
    assert answer.headers["connection"] == "close"
    assert recorder.events == []


def test_nothing_of_a_secret_is_logged(loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def broken(token: str) -> bool:
        raise RuntimeError("the database is away")

    for guard in (token_auth("r1ghtOne", query="tick=et"), token_auth(broken, query="tick=et")):
        server = guarded(loop, guard, Recorder())
        RawClient(server, loop).upgrade("/ws?a=1&tick%3Det=r1ghtOne&b=2")
        RawClient(server, loop).upgrade("/ws?tick%3Det=wr0ngOne")
        RawClient(server, loop).upgrade("/ws", "Authorization: Bearer wr0ngOne")
        RawClient(server, loop).upgrade("/else?tick%3Det=r1ghtOne")
        RawClient(server, loop).get("/ws?tick%3Det=r1ghtOne")
        loop.settle()
        loop.run(server.shutdown())
    assert "/ws?tick%3Det=***" in caplog.text
    assert "/else?tick%3Det=***" in caplog.text
    assert "r1ghtOne" not in caplog.text
    assert "wr0ngOne" not in caplog.text


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/", "/"),
        ("/token=x", "/token=x"),
        ("/?token=x", "/?token=***"),
        ("/?a=token=x&%74oken=x&token=y&b", "/?a=token=x&%74oken=***&token=***&b"),
        ("/?token", "/?token"),
        ("/?token=", "/?token=***"),
        ("http://host/?access_token=x", "http://host/?access_token=***"),
    ],
)
def test_a_target_is_shown_without_its_secrets(target: str, shown: str) -> None:
    assert conceal(target) == shown


def test_who_is_let_in_is_the_user_of_the_request() -> None:
    async def later(user: str, password: str) -> bool:
        return password == SECRET

    for check in ({"alice": SECRET}, later):
        for password, user in ((SECRET, "alice"), ("wrong", None)):
            request = asking(("Authorization", basic("alice", password)))
            answer = basic_auth("realm", check)(request)
            if inspect.isawaitable(answer):
                asyncio.run(_wait(answer))
            assert request.user == user
    request = asking(("Authorization", f"Bearer {SECRET}"))
    request.user = "of another check"
    assert token_auth(SECRET)(request) is None
    assert request.user == "of another check"
