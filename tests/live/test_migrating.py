"""Each row of docs/migrating.md: the left column against our server, the right one against websockets'."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import fastws
from tests.client.peers import answer, answering, listening

websockets = pytest.importorskip("websockets")

from websockets.asyncio.client import connect, unix_connect  # noqa: E402
from websockets.asyncio.server import broadcast, serve, unix_serve  # noqa: E402
from websockets.protocol import State  # noqa: E402

pytestmark = [pytest.mark.live, pytest.mark.foreign]

PAGE = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text(encoding="utf-8")
NAMES: dict[str, Any] = {
    "asyncio": asyncio,
    "broadcast": broadcast,
    "connect": connect,
    "fastws": fastws,
    "json": json,
    "serve": serve,
    "State": State,
    "unix_connect": unix_connect,
    "unix_serve": unix_serve,
    "websockets": websockets,
}


def rows(section: str) -> list[tuple[str, str]]:
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(.+)` \| `(.+)` \|$", text, re.MULTILINE)


def examples(library: str) -> list[str]:
    return re.findall(rf"```python\n# {library}\n(.*?)```", PAGE, re.DOTALL)


async def evaluate(code: str, **names: Any) -> Any:
    scope = dict(NAMES, **names)
    exec(f"async def row():\n    return {code}", scope)
    async with asyncio.timeout(10):
        return await scope["row"]()


async def echo(ws: Any) -> None:
    """A handler of either library."""
    async for message in ws:
        await ws.send(message)


def port_of(server: Any) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port


def first_offered(_: Any, offered: Any) -> Any:
    """Its own choice refuses a client that offers nothing."""
    return offered[0] if offered else None


@asynccontextmanager
async def both_servers() -> AsyncIterator[tuple[int, int]]:
    """The ports of our server and of theirs."""
    routes = [fastws.Route("/", echo, subprotocols=["chat"])]
    async with (
        fastws.serve(routes, "127.0.0.1", origins=["https://example.com"]) as ours,
        serve(echo, "127.0.0.1", 0, select_subprotocol=first_offered) as theirs,
    ):
        yield ours.port, port_of(theirs)


def comparable(value: Any) -> Any:
    """What must be equal: of a time that there is one, of an address its host."""
    if isinstance(value, float):
        return float
    if isinstance(value, tuple) and isinstance(value[0], str):
        return value[0]
    return value


def test_the_page_has_its_tables() -> None:
    sections = ("An open connection", "Connecting", "Serving", "Exceptions")
    assert [len(rows(name)) > 5 for name in sections] == [True] * 4
    marks = len(re.findall(r"^\| `", PAGE, re.MULTILINE))
    assert sum(len(rows(name)) for name in sections) == marks, "a row that is not run"


@pytest.mark.parametrize("row", rows("An open connection"), ids="=".join)
async def test_an_open_connection(row: tuple[str, str]) -> None:
    async with both_servers() as (ours, theirs):
        found = []
        for code, client, port in zip(row, (connect, fastws.connect), (ours, theirs), strict=True):
            async with client(f"ws://127.0.0.1:{port}/") as ws:
                await ws.send("12")
                found.append(comparable(await evaluate(code, ws=ws)))
        assert found[0] == found[1]


@pytest.mark.parametrize("row", rows("Connecting"), ids="=".join)
async def test_connecting(row: tuple[str, str], tmp_path: Path) -> None:
    chosen = []
    async with (
        both_servers() as ports,
        fastws.serve(echo, unix=tmp_path / "ours"),
        unix_serve(echo, str(tmp_path / "theirs")),
    ):
        for code, port, name in zip(row, ports, ("ours", "theirs"), strict=True):
            names: dict[str, Any] = {"uri": f"ws://127.0.0.1:{port}/", "host": "127.0.0.1", "port": port}
            if "sock=" in code:
                names["sock"] = socket.create_connection(("127.0.0.1", port))
                names["sock"].settimeout(0)
            async with await evaluate(code, path=str(tmp_path / name), **names) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
                chosen.append((ws.subprotocol, "Sec-WebSocket-Extensions" in ws.response.headers))
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("row", rows("Serving"), ids="=".join)
async def test_serving(row: tuple[str, str], tmp_path: Path) -> None:
    answers = []
    for code, client in zip(row, (fastws.connect, connect), strict=True):
        listener = socket.create_server(("127.0.0.1", 0)) if "sock=" in code else None
        path = str(tmp_path / client.__module__)
        async with await evaluate(code, handler=echo, listener=listener, path=path) as server:
            if "path" in code:
                options = {"unix": path} if client is fastws.connect else {"unix": True, "path": path}
                url = "ws://name.test/"
            else:
                options, url = {}, f"ws://127.0.0.1:{port_of(server)}/"
            async with client(url, subprotocols=["chat"], **options) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
                extensions = "Sec-WebSocket-Extensions" in ws.response.headers
                answers.append(
                    (ws.subprotocol, extensions, "mine" in dict(ws.response.headers.items()).values())
                )
    assert answers[0] == answers[1]


async def provoke(name: str, client: Any, port: int) -> None:
    """Do what raises the exception whose row it is."""
    if name == "InvalidURI":
        async with client("http://127.0.0.1/"):
            pass
    elif name in ("InvalidHandshake", "InvalidStatus"):
        async with listening(answering(answer(403))) as refusing, client(f"ws://127.0.0.1:{refusing}/"):
            pass
    async with client(f"ws://127.0.0.1:{port}/") as ws:
        if name == "ConcurrencyError":
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(ws.recv())
                await asyncio.sleep(0)
                try:
                    await ws.recv()
                finally:
                    await ws.send("x")
                    await waiting
        await ws.close(4000 if name == "ConnectionClosedError" else 1000)
        await ws.send("late")


@pytest.mark.parametrize("row", rows("Exceptions"), ids="=".join)
async def test_exceptions(row: tuple[str, str]) -> None:
    name = row[0].rpartition(".")[2]
    async with both_servers() as (ours, theirs):
        for code, client, port in zip(row, (connect, fastws.connect), (ours, theirs), strict=True):
            expected = eval(code, dict(NAMES))
            with pytest.raises(BaseException) as caught:
                await provoke(name, client, port)
            raised = caught.value
            while isinstance(raised, BaseExceptionGroup):
                raised = raised.exceptions[0]
            assert isinstance(raised, expected)


@pytest.mark.parametrize("library", ["websockets", "fastws"])
async def test_the_server_of_the_examples(library: str, unused_tcp_port: int) -> None:
    scope = dict(NAMES, port=unused_tcp_port, interval=0.02)
    exec(examples(library)[0], scope)
    running = asyncio.ensure_future(scope["main"]())
    client = fastws.connect if library == "websockets" else connect
    async for ws in client(f"ws://127.0.0.1:{unused_tcp_port}/"):
        await ws.send("hello")
        heard = {await ws.recv(), await ws.recv()}
        while "tick" not in heard or "hello" not in heard:
            heard.add(await ws.recv())
        break
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize("library", ["websockets", "fastws"])
async def test_the_client_of_the_examples(library: str) -> None:
    async def greet(ws: Any) -> None:
        await ws.send("hello")

    heard: list[str] = []
    three = asyncio.Event()

    def on_message(message: str) -> None:
        heard.append(message)
        if len(heard) == 3:
            three.set()

    serving = fastws.serve(greet, "127.0.0.1") if library == "websockets" else serve(greet, "127.0.0.1", 0)
    async with serving as server:
        scope = dict(NAMES, uri=f"ws://127.0.0.1:{port_of(server)}/")
        exec(examples(library)[1], scope)
        listening = asyncio.ensure_future(scope["listen"](on_message))
        async with asyncio.timeout(20):
            await three.wait()
        listening.cancel()
        await asyncio.wait([listening])
    assert heard[:3] == ["hello"] * 3


@pytest.mark.parametrize("library", ["websockets", "fastws"])
async def test_the_counter_of_the_examples(library: str) -> None:
    """The same dialogue, whichever library serves; the other one's clients."""
    scope = dict(NAMES)
    exec(examples(library)[2], scope)
    theirs = library == "websockets"
    serving = (serve if theirs else fastws.serve)(scope["counter"], "127.0.0.1", 0)
    client = fastws.connect if theirs else connect
    async with asyncio.timeout(20), serving as server:
        url = f"ws://127.0.0.1:{port_of(server)}/"
        async with client(url) as one:
            assert [json.loads(await one.recv()) for _ in range(2)] == [{"users": 1}, {"value": 0}]
            async with client(url) as two:
                assert [json.loads(await two.recv()) for _ in range(2)] == [{"users": 2}, {"value": 0}]
                assert json.loads(await one.recv()) == {"users": 2}
                await two.send(json.dumps({"add": 5}))
                assert json.loads(await one.recv()) == json.loads(await two.recv()) == {"value": 5}
            assert json.loads(await one.recv()) == {"users": 1}


@pytest.mark.parametrize("library", ["websockets", "fastws"])
async def test_the_question_of_the_examples(library: str) -> None:
    async with asyncio.timeout(20), both_servers() as (ours, theirs):
        scope = dict(NAMES, uri=f"ws://127.0.0.1:{ours if library == 'websockets' else theirs}/")
        exec(examples(library)[3], scope)
        assert await scope["hello"]() == "hello"


def test_every_example_has_both_columns() -> None:
    assert len(examples("websockets")) == len(examples("fastws")) == 4 == PAGE.count("```python") / 2
