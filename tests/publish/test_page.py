"""``POST /publish``: what a request has to be, and what is told of each message. No socket."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount, Route

import fastws
from fastws.errors import BrokerUnavailable
from fastws.publish.limits import CODES, MAX_BODY_BYTES
from fastws.pubsub.keeper.questions import TooLarge
from fastws.testing import memory_broker
from tests.rows import all_rows

ALL, ROOMS = "token-of-everything", "token-of-the-rooms"
TOKENS = {ALL: "**", ROOMS: ["rooms/*", "lobby"]}
JSON = ("Content-Type", "application/json")


def new_hub() -> fastws.Hub:
    hub = fastws.Hub(broker="memory")
    hub.topic("rooms/*", history=100)
    hub.topic("quotes", mode="keyed", max_keys=3)
    hub.topic("lines", merge="\n")
    return hub


class Asked:
    """A page and its hub."""

    def __init__(self, tokens: Any = TOKENS) -> None:
        self.hub = new_hub()
        self.page = fastws.publish_page(self.hub, tokens=tokens)

    async def post(self, body: Any, *fields: tuple[str, str], token: str | None = ALL) -> fastws.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = list(fields or [JSON])
        if token is not None:
            headers.append(("Authorization", f"Bearer {token}"))
        response: fastws.Response = await self.page(
            fastws.Request("POST", "/publish", headers, body=data, peer=("192.0.2.1", 7))
        )
        assert response.headers["content-type"] == "application/json"
        return response

    async def refused(
        self, status: int, code: str, body: Any, *fields: Any, **options: Any
    ) -> dict[str, Any]:
        response = await self.post(body, *fields, **options)
        answer: dict[str, Any] = response.json()
        assert (response.status, answer["error"]["code"]) == (status, code), answer
        return answer


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    asked = Asked()
    async with asked.hub:
        yield asked


async def test_messages_of_every_kind_are_published(asked: Asked) -> None:
    response = await asked.post(
        [
            {"topic": "rooms/a", "message": "text"},
            {"topic": "rooms/a", "json": {"big": 2**64}, "once": "1"},
            {"topic": "rooms/a", "base64": "AAE="},
            {"topic": "rooms/a", "json": 2, "once": "1"},
            {"topic": "quotes", "json": [1.10], "key": "k"},
            {"topic": "quotes", "message": ' {"a": 1} ', "key": "l"},
            {"topic": "quotes", "key": "k", "remove": True},
            {"topic": "plain", "json": None, "key": None, "remove": False},
        ]
    )
    answer = response.json()
    assert response.status == 200 and answer["published"] == 8
    ats = [item["at"] and int(item["at"].rpartition(":")[2]) for item in answer["items"]]
    assert ats == [1, 2, 3, 2, 1, 2, 3, None]
    assert [item["duplicate"] for item in answer["items"]] == [False] * 3 + [True] + [False] * 4
    messages = [each.message for each in await asked.hub.history("rooms/a")]
    assert messages == ["text", '{"big": 18446744073709551616}', b"\0\1"]
    assert await asked.hub.snapshot("quotes") == {"l": '{"a": 1}'}


async def test_one_object_may_stand_alone(asked: Asked) -> None:
    answer = (await asked.post({"topic": "rooms/a", "message": "x"})).json()
    assert answer["published"] == 1 and len(answer["items"]) == 1


async def test_a_clients_feed_gets_json_as_json(asked: Asked) -> None:
    async with asked.hub.follow("rooms/a") as follower:
        await asked.post({"topic": "rooms/a", "json": {"n": 1}})
        event = await anext(follower)
        while not isinstance(event, fastws.Message):
            event = await anext(follower)
        assert event.message == '{"n": 1}'


WRONG: dict[str, tuple[Any, int | None, str]] = {
    "no JSON": (b"{", None, "not JSON"),
    "not UTF-8": (b"\xff", None, "not UTF-8"),
    "half a surrogate pair": (b'{"topic":"a","message":"\\ud800"}', None, "not JSON"),
    "a number": (b"1", None, "neither a JSON object nor an array"),
    "nothing": (b"[]", None, "nothing to publish"),
    "1,001 messages": ([{"topic": "a", "message": ""}] * 1001, None, "1001 objects"),
    "no object": ([{"topic": "a", "message": ""}, 1], 1, "not a JSON object"),
    "a name twice": (b'[{"topic":"a","topic":"b","message":""}]', 0, "stands twice"),
    "too deep": (b'[{"topic":"a","json":' + b"[" * 70 + b"]" * 70 + b"}]", 0, "within each other"),
    "an unknown field": ([{"topic": "a", "message": "", "mesage": ""}], 0, "unknown field 'mesage'"),
    "no topic": ([{"topic": "a", "message": ""}, {"message": ""}], 1, "'topic' is missing"),
    "a topic that is none": ([{"topic": "a//b", "message": ""}], 0, "between slashes"),
    "a topic of another type": ([{"topic": 1, "message": ""}], 0, "'topic' is text"),
    "no message": ([{"topic": "a"}], 0, "is the message"),
    "two messages": ([{"topic": "a", "message": "", "json": 1}], 0, "is the message"),
    "a message that is no text": ([{"topic": "a", "message": 1}], 0, "'message' is text"),
    "a message that is null": ([{"topic": "a", "message": None}], 0, "'message' is text"),
    "base64 that is none": ([{"topic": "a", "base64": "!"}], 0, "not base64"),
    "a value that is bytes": ([{"topic": "quotes", "base64": "", "key": "k"}], 0, "no 'base64'"),
    "a value that is no JSON": (
        [{"topic": "quotes", "message": "{", "key": "k"}],
        0,
        "source text of JSON: no JSON",
    ),
    "a key that is empty": ([{"topic": "quotes", "json": 1, "key": ""}], 0, "1 to 255 bytes"),
    "a key that is missing": ([{"topic": "quotes", "json": 1}], 0, "is keyed"),
    "a key of a topic without": ([{"topic": "rooms/a", "json": 1, "key": "k"}], 0, "has no keys"),
    "a key of a topic without, and no JSON": (
        [{"topic": "rooms/a", "message": "{", "key": "k"}],
        0,
        "has no keys",
    ),
    "a key of a topic without, and bytes": ([{"topic": "a", "base64": "", "key": "k"}], 0, "has no keys"),
    "a number beyond a double": ([{"topic": "a", "json": 10**400}], None, "infinity when parsed as double"),
    "a removal without a key": ([{"topic": "quotes", "remove": True}], 0, "goes with a 'key'"),
    "a removal with a message": (
        [{"topic": "quotes", "key": "k", "remove": True, "json": 1}],
        0,
        "no message",
    ),
    "a removal that is no bool": ([{"topic": "quotes", "key": "k", "remove": 1}], 0, "true or false"),
    "an id of a plain topic": ([{"topic": "a", "message": "", "once": "1"}], 0, "keeps messages"),
    "an id that is empty": ([{"topic": "rooms/a", "message": "", "once": ""}], 0, "1 to 255"),
    "an id that cannot be printed": ([{"topic": "rooms/a", "message": "", "once": "\5x"}], 0, "printed"),
}


async def test_a_body_with_anything_wrong_in_it_publishes_nothing(asked: Asked) -> None:
    with all_rows() as row:
        for name, (body, index, words) in WRONG.items():
            with row(name):
                answer = await asked.refused(400, "bad_request", body)
                assert words in answer["error"]["reason"]
                assert answer["error"].get("index") == index and answer["published"] == 0
    assert await asked.hub.history("rooms/a") == [] and await asked.hub.snapshot("quotes") == {}


async def test_a_token_is_for_its_topics_alone(asked: Asked) -> None:
    fine = [{"topic": "rooms/a", "message": "x"}, {"topic": "lobby", "message": "y"}]
    assert (await asked.post(fine, token=ROOMS)).status == 200
    answer = await asked.refused(
        403, "forbidden", [*fine, {"topic": "rooms/a/b", "message": ""}], token=ROOMS
    )
    assert answer["error"]["index"] == 2 and answer["published"] == 0
    assert len(await asked.hub.history("rooms/a")) == 1


async def test_a_wrong_token_is_refused_and_told_without_itself(
    asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    response = await asked.post({}, token="token-of-somebody-else")
    assert response.status == 401 and response.headers["www-authenticate"] == 'Bearer realm="fastws"'
    assert "192.0.2.1:7 has no valid token" in caplog.text and "somebody" not in caplog.text
    await asked.refused(401, "unauthorized", {}, token=None)
    await asked.refused(401, "unauthorized", {}, JSON, ("Authorization", "Basic eDp5"), token=None)
    await asked.refused(401, "unauthorized", {}, JSON, ("Authorization", f"Bearer {ALL}"), token=ALL)
    with all_rows() as row:
        for _ in range(20):
            with row():
                await asked.refused(401, "unauthorized", {}, token="token-of-somebody-else")
    assert caplog.text.count("has no valid token") == 5


async def test_pages_of_browsers_do_not_publish(asked: Asked) -> None:
    answer = await asked.refused(403, "forbidden", {}, JSON, ("Origin", "http://localhost"))
    assert "browser" in answer["error"]["reason"]


async def test_only_json_is_read(asked: Asked) -> None:
    body = {"topic": "a", "message": ""}
    for kind in ("text/plain", "application/json; charset=latin-1", "application/x-www-form-urlencoded"):
        await asked.refused(415, "media_type", body, ("Content-Type", kind))
    await asked.refused(415, "media_type", body, ("Accept", "*/*"))
    await asked.refused(415, "media_type", body, JSON, JSON)
    await asked.refused(415, "media_type", body, JSON, ("Content-Encoding", "gzip"))
    assert (await asked.post(body, ("Content-Type", 'Application/JSON; charset="UTF-8"'))).status == 200


async def test_a_body_above_a_mebibyte_is_too_large(asked: Asked) -> None:
    whole = b'[{"topic":"a","message":"%b"}]'
    room = MAX_BODY_BYTES - len(whole) + 2
    assert (await asked.post(whole % (b"x" * room))).status == 200
    await asked.refused(413, "too_large", whole % (b"x" * (room + 1)))
    assert asked.page.route().limits == {"max_body_size": 2 * MAX_BODY_BYTES}


async def test_what_a_topic_refuses_is_told_message_by_message(asked: Asked) -> None:
    puts = [{"topic": "quotes", "json": n, "key": str(n)} for n in range(5)]
    answer = await asked.refused(409, "limit", puts)
    assert answer["published"] == 3 and answer["error"]["index"] == 3
    assert ["error" in item for item in answer["items"]] == [False] * 3 + [True] * 2
    assert len(await asked.hub.snapshot("quotes")) == 3
    answer = await asked.refused(
        400, "bad_request", [{"topic": "lines", "base64": ""}, {"topic": "a", "json": 1}]
    )
    assert answer["published"] == 1 and "merges text" in answer["items"][0]["error"]["reason"]


async def test_the_page_of_the_documentation_says_it(asked: Asked) -> None:
    """docs/publishing.md has an answer, and a table of statuses."""
    page = (Path(__file__).parents[2] / "docs" / "publishing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", page, re.MULTILINE)
    assert {code: int(status) for status, code in rows} == CODES
    (shown,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    await asked.post([{"topic": "quotes", "json": n, "key": str(n)} for n in range(2)])
    puts = [{"topic": "quotes", "json": n, "key": str(n)} for n in (2, 3)]
    answer = await asked.refused(409, "limit", puts)
    answer["items"][0]["at"] = "SK6g__93.1:3"
    assert json.loads(shown) == answer


class Broken(fastws.Hub):
    """A hub whose broker fails in one of the ways there are."""

    failure: Exception

    async def _publish_noted(self, *args: Any) -> Any:
        raise self.failure


async def test_a_broker_that_fails_is_told_as_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    failures = {
        "unavailable": (BrokerUnavailable("nobody numbers"), 503, "it was not published"),
        "too_large": (TooLarge("a message may have 9 bytes"), 413, "never takes"),
        "uncertain": (TimeoutError(), 503, "may have been published"),
        "internal": (KeyError("x"), 500, "the server failed"),
    }
    asked = Asked(None)
    for code, (failure, status, words) in failures.items():
        hub = Broken(broker="memory")
        hub.failure = failure
        asked.page = fastws.publish_page(hub, tokens=None)
        response = await asked.post({"topic": "a", "message": ""}, token=None)
        error = response.json()["error"]
        assert (response.status, error["code"], error["index"]) == (status, code, 0)
        assert words in error["reason"]
        assert (response.headers.get("retry-after") == "1") == (status == 503)
    assert caplog.text.count("cannot be published") == 1 and "nobody numbers" in caplog.text


async def test_hubs_that_share_number_what_is_published_in_its_order() -> None:
    asked = Asked(None)
    other = new_hub()
    async with memory_broker(asked.hub, other):
        body = [{"topic": "rooms/a", "json": n, "once": str(n)} for n in range(90)]
        answers = [(await asked.post(body, token=None)).json() for _ in range(2)]
        assert [answer["published"] for answer in answers] == [90, 90]
        assert {item["duplicate"] for item in answers[0]["items"]} == {False}
        assert {item["duplicate"] for item in answers[1]["items"]} == {True}
        found = [int(each.message) for each in await other.history("rooms/a")]
        assert found == [*range(90)]


async def test_it_is_an_asgi_application_too(asked: Asked) -> None:
    async def ask(method: str, *pieces: bytes, token: str = ALL, gone: bool = False) -> list[dict[str, Any]]:
        events = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        events.append({"type": "http.disconnect"} if gone else {"type": "http.request"})
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            return events.pop(0)

        async def send(event: Any) -> None:
            sent.append(event)

        headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {token}".encode())]
        scope = {"type": "http", "method": method, "headers": headers, "client": ("192.0.2.1", 7)}
        await asked.page.asgi(scope, receive, send)
        return sent

    start, body = await ask("POST", b'{"topic":"rooms/a",', b'"message":"x"}')
    assert start["status"] == 200 and json.loads(body["body"])["published"] == 1
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert (await ask("GET"))[0]["status"] == 405
    assert (await ask("POST", b"x" * (MAX_BODY_BYTES + 1), b"y"))[0]["status"] == 413
    assert await ask("POST", b'{"topic":"rooms/a",', gone=True) == []
    assert len(await asked.hub.history("rooms/a")) == 1
    with pytest.raises(RuntimeError, match="HTTP alone"):
        await asked.page.asgi({"type": "websocket"}, None, None)


async def test_it_is_a_route_of_fastapi_and_of_starlette(asked: Asked) -> None:
    api = FastAPI()
    api.add_route("/publish", asked.page.asgi)
    plain = Starlette(routes=[Route("/publish", asked.page.asgi)])
    mounted = Starlette(routes=[Mount("/in", plain)])
    for app, path in ((api, "/publish"), (plain, "/publish"), (mounted, "/in/publish")):
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            headers = {"Authorization": f"Bearer {ALL}"}
            done = await client.post(path, json={"topic": "rooms/a", "message": "x"}, headers=headers)
            assert done.status_code == 200 and done.json()["published"] == 1
            assert (await client.post(path, json={})).status_code == 401
            assert (await client.get(path)).status_code == 405
    assert len(await asked.hub.history("rooms/a")) == 3


def test_what_a_page_is_made_of() -> None:
    hub = new_hub()
    with pytest.raises(TypeError, match="to a fastws.Hub"):
        fastws.publish_page("hub", tokens=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a mapping, the path of a file, or None"):
        fastws.publish_page(hub, tokens=[ALL])  # type: ignore[arg-type]
    for tokens, words in {
        (): "1 to 1000 tokens",
        (("short", "**"),): "16 to 1024 characters",
        (("with a space in it", "**"),): "a word of ASCII",
        ((ALL, ()),): "no patterns",
        ((ALL, "a/**/b"),): "at the end only",
        ((ALL, "a//b"),): "between slashes",
    }.items():
        with pytest.raises(ValueError, match=words.replace("*", r"\*")):
            fastws.publish_page(hub, tokens=dict(tokens))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_file_of_tokens_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from fastws.publish.tokens import TokenFile

    caplog.set_level(logging.INFO)
    file, clock = tmp_path / "tokens", Clock()

    def write(text: str | bytes) -> None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        file.chmod(0o600)

    write(f"# who publishes\n\n{ALL}\t**\n{ROOMS} rooms/* lobby\n")
    tokens = TokenFile(str(file), clock)
    assert [pattern.text for pattern in tokens.patterns_of(ROOMS) or ()] == ["rooms/*", "lobby"]
    write(f"{ROOMS} lobby\n")
    assert tokens.patterns_of(ALL) is not None  # within a second
    clock.now = 1.0
    assert tokens.patterns_of(ALL) is None and len(tokens.patterns_of(ROOMS) or ()) == 1
    assert "are read again" in caplog.text
    for number, (text, words) in enumerate(
        {
            "short **\n": "line 1: a token has 16 to",
            f"{ALL}\n": "line 1: no patterns",
            f"{ALL} **\n{ALL} a\n": "line 2: the token of another line",
            b"\xff": "not UTF-8",
            "": "1 to 1000 tokens",
            b"#" * (2**20 + 1): "more than 1048576 bytes",
        }.items(),
        2,
    ):
        write(text)
        clock.now = float(number)
        assert tokens.patterns_of(ROOMS) is not None
        assert words in caplog.text and ALL not in caplog.text
    lines = len(caplog.records)
    for second in (20.0, 21.0, 22.0):
        clock.now = second
        file.unlink(missing_ok=True)
        assert tokens.patterns_of(ROOMS) is not None
    assert len(caplog.records) == lines + 1 and "the file is gone" in caplog.text
    write(f"{ALL} **\n")
    file.chmod(0o644)
    clock.now = 30.0
    assert tokens.patterns_of(ALL) is not None and "chmod 600" in caplog.text
    with pytest.raises(FileNotFoundError):
        fastws.publish_page(new_hub(), tokens=tmp_path / "missing")
