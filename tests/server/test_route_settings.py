"""What a route sets wins over the server's setting, both ways, whatever kind of handler it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fastws
from fastws import ASGI, Fragment, Handler, Response, Route, WebSocket
from fastws.server.body_streams import STREAM_STEP_SIZE
from fastws.testing.wire import CONTINUATION, TEXT
from tests.kit import ManualLoop, RawClient, Recorder, frame
from tests.server.sites import Site

LARGE = 1_000_000


async def coroutine(ws: WebSocket) -> None:
    async for _ in ws:
        pass


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


class Parts(Handler):
    def on_message(self, ws: WebSocket, part: Fragment) -> None:  # type: ignore[override]
        pass


KINDS: dict[str, Callable[..., Route]] = {
    "callbacks": lambda **settings: Route("/", Recorder(), **settings),
    "coroutine": lambda **settings: Route("/", coroutine, **settings),
    "streaming coroutine": lambda **settings: Route("/", fastws.streaming(coroutine), **settings),
    "streaming callbacks": lambda **settings: Route("/", fastws.streaming(Parts()), **settings),
    "ASGI": lambda **settings: ASGI(asgi, lifespan="off", **settings),
}


def empty_fragments(client: RawClient) -> None:
    client.send(frame(TEXT, "a", fin=False))
    for _ in range(20):
        client.send(frame(CONTINUATION, b"", fin=False))


def message(client: RawClient) -> None:
    client.text("x" * 200)


def fragments(client: RawClient) -> None:
    client.send(frame(TEXT, "a", fin=False))
    for _ in range(20):
        client.send(frame(CONTINUATION, b"b", fin=False))


def messages(client: RawClient) -> None:
    for _ in range(20):
        client.text("x")


#: What a client sends beyond a limit of 10, the close code, and the kinds that have no such limit.
LIMITS: dict[str, tuple[Callable[[RawClient], None], int, set[str]]] = {
    "max_message_size": (message, 1009, {"streaming callbacks"}),
    "max_fragments": (fragments, 1008, {"streaming coroutine", "streaming callbacks"}),
    "max_empty_fragments": (empty_fragments, 1008, set()),
    "messages_per_second": (messages, 1008, set()),
    "bytes_per_second": (message, 1008, set()),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", LIMITS)
@pytest.mark.parametrize(("server", "own"), [(LARGE, 10), (10, LARGE), (10, None), (LARGE, None)])
def test_limits(loop: ManualLoop, kind: str, field: str, server: int, own: int | None) -> None:
    exceed, code, without = LIMITS[field]
    route = KINDS[kind](limits=None if own is None else {field: own})
    site = Site(loop, route, limits={field: server})
    client = site.client()
    assert client.upgrade().status == 101
    exceed(client)
    loop.settle()
    codes = [each.close_code for each in client.frames() if each.opcode == 8]
    limit = server if own is None else own
    assert codes == ([code] if limit == 10 and kind not in without else [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("server", "own"), [(50.0, 5.0), (5.0, 50.0), (5.0, None), (5.0, "never")])
def test_timeouts(loop: ManualLoop, kind: str, server: float, own: Any) -> None:
    value = {"never": None, None: server}.get(own, own)
    timeouts = {} if own is None else dict.fromkeys(("ping_interval", "close", "write"), value)
    given = dict.fromkeys(("ping_interval", "close", "write"), server)
    site = Site(loop, KINDS[kind](timeouts=timeouts), timeouts=given)
    client = site.client()
    assert client.upgrade().status == 101
    loop.advance(6.0)
    assert bool([each for each in client.frames() if each.opcode == 9]) is (value == 5.0)
    client.connection.ws.close_nowait()
    loop.advance(6.0)
    assert client.transport.lost is (value == 5.0)


@pytest.mark.parametrize("kind", KINDS)
def test_compression(loop: ManualLoop, kind: str) -> None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate"
    for own, agreed in ((None, False), (fastws.Compression(), "streaming" not in kind)):
        for server in (None, fastws.Compression()):
            site = Site(loop, KINDS[kind](compression=own), compression=server)
            answer = site.client().upgrade("/", offer)
            assert ("sec-websocket-extensions" in answer.headers) is agreed


class Endless:
    """A body that never ends."""

    length = 1 << 40

    def read(self, n: int) -> bytes:
        return bytes(n)

    def close(self) -> None:
        pass


async def page(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": bytes(STREAM_STEP_SIZE), "more_body": True})


PAGES: dict[str, Callable[..., Route]] = {
    "page": lambda **settings: Route("/", http=lambda request: Response(stream=Endless()), **settings),
    "authorize": lambda **settings: Route(
        "/", Recorder(), authorize=lambda request: Response(stream=Endless()), **settings
    ),
    "ASGI": lambda **settings: ASGI(page, lifespan="off", **settings),
}


@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.parametrize(("server", "own"), [(50.0, 5.0), (5.0, 50.0), (5.0, None)])
def test_the_write_timeout_of_a_page(loop: ManualLoop, kind: str, server: float, own: float | None) -> None:
    timeouts = {} if own is None else {"write": own}
    site = Site(loop, PAGES[kind](timeouts=timeouts), timeouts={"write": server})
    client = site.client(room=1000)
    if kind == "authorize":
        client.send(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    else:
        client.get()
    loop.advance(8.0)
    assert client.transport.lost is ((own or server) == 5.0)
