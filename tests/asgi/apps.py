"""One FastAPI application with a chat room, and an endpoint for each behaviour of the table.

It runs in processes of its own under three servers. What an endpoint has seen can be asked for at
``/seen/{case}``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from fastapi import Body, FastAPI, Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

import fastws

CASES: dict[str, Callable[[WebSocket], Awaitable[None]]] = {}
seen: dict[str, list[Any]] = {}
hub = fastws.Hub()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"started": "yes"}


app = FastAPI(lifespan=lifespan)


# -- the chat ---------------------------------------------------------------------------------------


@app.websocket("/chat/{room}")
async def chat(websocket: WebSocket, room: str, name: str = "somebody") -> None:
    await websocket.accept()
    with fastws.subscriber(websocket) as me:
        hub.subscribe(me, room)
        hub.publish(room, f"{name} joined", exclude=me)
        async for text in websocket.iter_text():
            hub.publish(room, f"{name}: {text}")
    hub.publish(room, f"{name} left")


@app.post("/rooms/{room}")
async def announce(room: str, text: Annotated[str, Body()]) -> int:
    return hub.publish(room, text)


@app.get("/rooms/{room}")
async def count(room: str) -> int:
    return hub.count(room)


# -- pages ------------------------------------------------------------------------------------------


@app.get("/seen/{case}")
async def what_was_seen(case: str) -> list[Any]:
    return seen.pop(case, [])


@app.api_route("/request", methods=["GET", "POST"])
async def describe(request: Request) -> JSONResponse:
    scope = request.scope
    body = await request.body()
    return JSONResponse(
        {
            "method": request.method,
            "path": scope["path"],
            "raw_path": scope["raw_path"].decode(),
            "query": scope["query_string"].decode(),
            "root_path": scope["root_path"],
            "scheme": scope["scheme"],
            "http_version": scope["http_version"],
            "client": scope["client"][0],
            "server": scope["server"][0],
            "state": scope["state"]["started"],
            "body": len(body),
        }
    )


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        for number in range(3):
            yield f"part {number}\n"
            await asyncio.sleep(0)

    return StreamingResponse(parts())


@app.get("/fail")
async def fail() -> None:
    raise ValueError("meant to")


# -- behaviours of a WebSocket ----------------------------------------------------------------------


@app.websocket("/case/{name}")
async def case(websocket: WebSocket, name: str) -> None:
    await CASES[name](websocket)


def behaviour(function: Callable[[WebSocket], Awaitable[None]]) -> Callable[[WebSocket], Awaitable[None]]:
    CASES[function.__name__] = function
    return function


def note(case: str, *values: Any) -> None:
    seen.setdefault(case, []).extend(values)


@behaviour
async def texts(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@behaviour
async def binary(websocket: WebSocket) -> None:
    await websocket.accept()
    async for data in websocket.iter_bytes():
        await websocket.send_bytes(data)


@behaviour
async def json(websocket: WebSocket) -> None:
    await websocket.accept()
    async for value in websocket.iter_json():
        await websocket.send_json(value)
        await websocket.send_json(value, mode="binary")


@behaviour
async def subprotocol(websocket: WebSocket) -> None:
    offered = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol=offered[-1] if offered else None)
    await websocket.send_json(offered)
    await websocket.close()


@behaviour
async def headers(websocket: WebSocket) -> None:
    await websocket.accept(headers=[(b"x-extra", b"one"), (b"x-extra", b"two")])
    await websocket.send_json(websocket.headers.getlist("x-mine"))
    await websocket.close()


@behaviour
async def parameters(websocket: WebSocket) -> None:
    await websocket.accept()
    scope = websocket.scope
    await websocket.send_json(
        [scope["path"], scope["raw_path"].decode(), dict(websocket.query_params), websocket.path_params]
        + [scope["scheme"], scope["client"][0], scope["state"]["started"]]
    )
    await websocket.close()


@behaviour
async def address(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json([str(websocket.url), websocket.url.port])
    await websocket.close()


@behaviour
async def both_ways(websocket: WebSocket) -> None:
    """One task reads, another one writes."""
    await websocket.accept()
    sending, receiving = anyio.create_memory_object_stream[Any]()

    async def read() -> None:
        async with sending:
            async for value in websocket.iter_json():
                await sending.send(value)

    async with anyio.create_task_group() as tasks, receiving:
        tasks.start_soon(read)
        async for value in receiving:
            await websocket.send_json(value)


@behaviour
async def membership(websocket: WebSocket) -> None:
    await websocket.accept()
    with fastws.subscriber(websocket) as me:
        await websocket.send_json(me.is_foreign)


@behaviour
async def close(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close(code=4001, reason="enough")


@behaviour
async def close_plainly(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


@behaviour
async def reject(websocket: WebSocket) -> None:
    await websocket.close(code=4001)


@behaviour
async def deny(websocket: WebSocket) -> None:
    response = JSONResponse({"why": "not you"}, 401, headers={"WWW-Authenticate": "Basic"})
    await websocket.send_denial_response(response)


@behaviour
async def deny_in_parts(websocket: WebSocket) -> None:
    async def parts() -> AsyncIterator[str]:
        yield "not "
        yield "you"

    await websocket.send_denial_response(StreamingResponse(parts(), 403, media_type="text/plain"))


@behaviour
async def disconnected(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect as left:
        note("disconnected", left.code, left.reason)


@behaviour
async def send_after_disconnect(websocket: WebSocket) -> None:
    await websocket.accept()
    event = await websocket.receive()
    note("send_after_disconnect", event["type"])
    try:
        # Past Starlette's own guard: the server has to know.
        await websocket._send({"type": "websocket.send", "text": "too late"})
    except OSError:
        note("send_after_disconnect", "OSError")


@behaviour
async def receive_after_disconnect(websocket: WebSocket) -> None:
    await websocket.accept()
    note("receive_after_disconnect", (await websocket.receive())["type"])
    # Past Starlette's own guard.
    note("receive_after_disconnect", (await websocket._receive())["type"])
    try:
        await websocket.receive()
    except RuntimeError:
        note("receive_after_disconnect", "RuntimeError")


@behaviour
async def send_after_close(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()
    for text in ("through Starlette", "through the server"):
        send = websocket.send if text == "through Starlette" else websocket._send
        try:
            await send({"type": "websocket.send", "text": text})
        except RuntimeError:
            note("send_after_close", text)


@behaviour
async def raise_before(websocket: WebSocket) -> None:
    raise ValueError("meant to")


@behaviour
async def raise_after(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("before")
    raise ValueError("meant to")


@behaviour
async def return_before(websocket: WebSocket) -> None:
    """Neither accepts nor refuses."""


@behaviour
async def return_after(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("before")


@behaviour
async def wrong_type(websocket: WebSocket) -> None:
    for kind in ("websocket.send", "http.response.start", "nonsense"):
        try:
            await websocket._send({"type": kind, "text": "?"})
        except RuntimeError:
            note("wrong_type", f"before: {kind}")
    await websocket.accept()
    for kind in ("websocket.accept", "http.response.start", "nonsense"):
        try:
            await websocket._send({"type": kind})
        except RuntimeError:
            note("wrong_type", f"after: {kind}")
    await websocket.close()


@behaviour
async def backpressure(websocket: WebSocket) -> None:
    """Sends to a client that does not read: ``send`` has to begin to wait before it has sent all."""
    await websocket.accept()
    sent = 0
    try:
        async with asyncio.timeout(1):
            while sent < 64:
                await websocket.send_bytes(bytes(1024 * 1024))
                sent += 1
    except TimeoutError:
        pass
    note("backpressure", sent)
    await websocket.receive()


@app.get("/plain")
async def plain() -> PlainTextResponse:
    return PlainTextResponse("plain")
