"""One application, the same behaviour under ``fastws serve``, uvicorn with our plug-in, and uvicorn alone.

The client is that of ``websockets``. Where uvicorn alone does something else, the table says so.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.asgi.sites import Site

pytestmark = pytest.mark.live


def client(site: Site, path: str, **options: Any) -> connect:
    return connect(site.ws(path), proxy=None, open_timeout=10, close_timeout=5, **options)


async def closed_with(ws: ClientConnection) -> tuple[int, str]:
    """Code and reason of the close; what comes before it is thrown away."""
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionClosed):
            while True:
                await ws.recv()
    assert ws.close_code is not None
    return ws.close_code, ws.close_reason or ""


def get(site: Site, path: str, **options: Any) -> httpx.Response:
    method = options.pop("method", "GET")
    return httpx.request(method, f"http://{site.address}{path}", timeout=10, trust_env=False, **options)


async def seen(site: Site, case: str, count: int) -> list[Any]:
    """What the endpoint noted, as soon as it is so much."""
    found: list[Any] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += (await asyncio.to_thread(get, site, f"/seen/{case}")).json()
            await asyncio.sleep(0.01)
    return found


# -- messages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "messages"),
    [
        ("texts", ["hello", "", "zażółć", "x" * 70_000]),
        ("binary", [b"hello", b"", b"\x00\xff", b"x" * 70_000]),
    ],
)
async def test_messages_come_back_in_their_own_type(site: Site, case: str, messages: list[Any]) -> None:
    async with client(site, f"/case/{case}") as ws:
        for message in messages:
            await ws.send(message)
        assert [await ws.recv() for _ in messages] == messages


async def test_fragments_are_one_message(site: Site) -> None:
    async with client(site, "/case/texts") as ws:
        await ws.send(["frag", "ments"])
        assert await ws.recv() == "fragments"


async def test_compression(site: Site) -> None:
    async with client(site, "/case/texts", compression="deflate") as ws:
        assert [extension.name for extension in ws.protocol.extensions] == ["permessage-deflate"]
        await ws.send("ab" * 50_000)
        assert await ws.recv() == "ab" * 50_000


async def test_json_as_text_and_as_bytes(site: Site) -> None:
    async with client(site, "/case/json") as ws:
        await ws.send('{"a": [1, null, "é"]}')
        answers = [await ws.recv(), await ws.recv()]
    assert [type(answer) for answer in answers] == [str, bytes]
    assert [json.loads(answer) for answer in answers] == [{"a": [1, None, "é"]}] * 2


async def test_a_task_that_reads_beside_one_that_writes(site: Site) -> None:
    async with client(site, "/case/both_ways") as ws:
        for number in range(3):
            await ws.send(json.dumps({"hello": number}))
            assert json.loads(await ws.recv()) == {"hello": number}


# -- the handshake ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("offered", "chosen"), [(["one", "two"], "two"), ([], None)])
async def test_subprotocols(site: Site, offered: list[Any], chosen: str | None) -> None:
    async with client(site, "/case/subprotocol", subprotocols=offered or None) as ws:
        assert ws.subprotocol == chosen
        assert json.loads(await ws.recv()) == offered


async def test_headers_of_both_sides(site: Site) -> None:
    async with client(site, "/case/headers", additional_headers=[("X-Mine", "1"), ("X-Mine", "2")]) as ws:
        assert ws.response is not None
        assert ws.response.headers.get_all("X-Extra") == ["one", "two"]
        assert json.loads(await ws.recv()) == ["1", "2"]


async def test_path_and_query(site: Site) -> None:
    async with client(site, "/case/p%61rameters?a=b%20c&d=") as ws:
        path, raw_path, query, params, scheme, peer, started = json.loads(await ws.recv())
    assert (path, raw_path) == ("/case/parameters", "/case/p%61rameters")
    assert (query, params) == ({"a": "b c", "d": ""}, {"name": "parameters"})
    assert (scheme, peer, started) == ("ws", "127.0.0.1", "yes")


async def test_the_address_as_the_client_wrote_it(site: Site) -> None:
    async with client(site, "/case/address?a=abc") as ws:
        assert json.loads(await ws.recv()) == [site.ws("/case/address?a=abc"), site.port]
    url = "ws://example.com:123/case/address"
    async with connect(url, host="127.0.0.1", port=site.port, proxy=None) as ws:
        assert json.loads(await ws.recv()) == [url, 123]


@pytest.mark.parametrize(
    ("path", "status", "headers", "body"),
    [
        ("/case/reject", 403, {}, None),
        ("/nowhere", 403, {}, None),
        ("/case/deny", 401, {"WWW-Authenticate": "Basic"}, b'{"why":"not you"}'),
        ("/case/deny_in_parts", 403, {"Content-Type": "text/plain; charset=utf-8"}, b"not you"),
        ("/case/raise_before", 500, {}, None),
        ("/case/return_before", 500, {}, None),
    ],
)
async def test_refusals(
    site: Site, path: str, status: int, headers: dict[str, str], body: bytes | None
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with client(site, path):
            pass
    response = refused.value.response
    assert response.status_code == status
    assert {name: response.headers[name] for name in headers} == headers
    assert body is None or response.body == body


# -- ends -------------------------------------------------------------------------------------------

ENDS = {
    # case: what the client sees, and what uvicorn alone does where that is something else
    "close": ((4001, "enough"), None),
    "close_plainly": ((1000, ""), None),
    "raise_after": ((1011, "internal error"), (1006, "")),
    "return_after": ((1000, ""), (1006, "")),
}


@pytest.mark.parametrize("case", ENDS)
async def test_what_the_client_sees_of_the_end(site: Site, case: str) -> None:
    expected, alone = ENDS[case]
    async with client(site, f"/case/{case}") as ws:
        assert await closed_with(ws) == (expected if site.ours else alone or expected)


@pytest.mark.parametrize(
    ("code", "reason", "told"), [(1000, "", 1000), (4321, "my reason", 4321), (None, "", 1005)]
)
async def test_the_application_is_told_how_the_client_left(
    site: Site, code: int | None, reason: str, told: int
) -> None:
    async with client(site, "/case/disconnected") as ws:
        if code is None:
            ws.protocol.send_close()
            ws.send_data()
        else:
            await ws.close(code, reason)
        assert await seen(site, "disconnected", 2) == [told, reason]


async def test_the_application_is_told_that_the_connection_was_lost(site: Site) -> None:
    async with client(site, "/case/disconnected") as ws:
        ws.transport.abort()
        code, _ = await seen(site, "disconnected", 2)
        # RFC 6455, section 7.1.5; uvicorn alone says 1005 (no code in the close frame).
        assert code == (1006 if site.ours else 1005)


async def test_sending_to_a_client_that_is_gone_is_an_oserror(site: Site) -> None:
    async with client(site, "/case/send_after_disconnect") as ws:
        await ws.close()
    assert await seen(site, "send_after_disconnect", 2) == ["websocket.disconnect", "OSError"]


async def test_receiving_behind_the_end_tells_it_again(site: Site) -> None:
    async with client(site, "/case/receive_after_disconnect") as ws:
        await ws.close()
    told = ["websocket.disconnect", "websocket.disconnect", "RuntimeError"]
    assert await seen(site, "receive_after_disconnect", 3) == told


async def test_sending_after_the_own_close_is_an_error(site: Site) -> None:
    async with client(site, "/case/send_after_close") as ws:
        assert await closed_with(ws) == (1000, "")
    assert await seen(site, "send_after_close", 2) == ["through Starlette", "through the server"]


async def test_messages_that_are_not_due_are_errors(site: Site) -> None:
    async with client(site, "/case/wrong_type") as ws:
        assert await closed_with(ws) == (1000, "")
    before = [f"before: {kind}" for kind in ("websocket.send", "http.response.start", "nonsense")]
    after = [f"after: {kind}" for kind in ("websocket.accept", "http.response.start", "nonsense")]
    assert await seen(site, "wrong_type", 6) == before + after


async def test_send_waits_for_a_client_that_does_not_read(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port)) as raw:
        raw.sendall(
            b"GET /case/backpressure HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        (sent,) = await seen(site, "backpressure", 1)
    assert sent < 64


# -- pages ------------------------------------------------------------------------------------------


def test_a_request_as_the_application_sees_it(site: Site) -> None:
    response = get(site, "/request?a=b%20c", method="POST", content=b"x" * 2_000_000)
    assert response.json() == {
        "method": "POST",
        "path": "/request",
        "raw_path": "/request",
        "query": "a=b%20c",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "client": "127.0.0.1",
        "server": "127.0.0.1",
        "state": "yes",
        "body": 2_000_000,
    }


def test_a_streamed_response_comes_in_chunks(site: Site) -> None:
    response = get(site, "/stream")
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.text == "part 0\npart 1\npart 2\n"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/plain", 200), ("GET", "/fail", 500), ("HEAD", "/plain", 405)]
)
def test_statuses(site: Site, method: str, path: str, status: int) -> None:
    assert get(site, path, method=method).status_code == status


@pytest.mark.parametrize(("trusted", "seen_as"), [("X-Forwarded-For", "203.0.113.7")])
def test_a_trusted_proxy_is_believed(site: Site, trusted: str, seen_as: str) -> None:
    response = get(site, "/request", headers={trusted: seen_as, "X-Forwarded-Proto": "https"})
    assert (response.json()["client"], response.json()["scheme"]) == (seen_as, "https")


# -- the chat ---------------------------------------------------------------------------------------


async def test_the_chat(site: Site) -> None:
    room = f"/chat/{id(site)}"
    async with client(site, f"{room}?name=ann") as ann:
        async with client(site, f"{room}?name=bob") as bob:
            assert await ann.recv() == "bob joined"
            await bob.send("hello")
            assert await ann.recv() == await bob.recv() == "bob: hello"
            path = room.replace("chat", "rooms")
            told = await asyncio.to_thread(get, site, path, method="POST", json="from an endpoint")
            assert told.json() == 2
            assert await ann.recv() == await bob.recv() == "from an endpoint"
        assert await ann.recv() == "bob left"
        assert (await asyncio.to_thread(get, site, path)).json() == 1


async def test_where_the_socket_is_ours_a_hub_writes_to_it(site: Site) -> None:
    async with client(site, "/case/membership") as ws:
        assert json.loads(await ws.recv()) is (not site.ours)


async def test_a_hundred_messages_in_one_turn_keep_their_order(site: Site) -> None:
    room = f"/chat/order{id(site)}"
    async with client(site, f"{room}?name=ann") as ann:
        for number in range(100):
            await ann.send(str(number))
        assert [await ann.recv() for _ in range(100)] == [f"ann: {number}" for number in range(100)]
