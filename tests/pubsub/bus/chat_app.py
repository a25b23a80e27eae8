"""The example of FastAPI's documentation on WebSockets, with a hub in place of its list of connections."""

from __future__ import annotations

import os

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

import fastws

app = FastAPI()
hub = fastws.Hub("chat")


@app.get("/pid")
async def pid() -> dict[str, int]:
    return {"pid": os.getpid(), "here": hub.count("chat"), "everywhere": await hub.total("chat")}


@app.websocket("/ws/{client_id}")
async def websocket_endpoint(websocket: WebSocket, client_id: int) -> None:
    await websocket.accept()
    with fastws.subscriber(websocket) as me:
        hub.subscribe(me, "chat")
        try:
            while True:
                data = await websocket.receive_text()
                await websocket.send_text(f"You wrote: {data}")
                hub.publish("chat", f"Client #{client_id} says: {data}")
        except WebSocketDisconnect:
            hub.publish("chat", f"Client #{client_id} left the chat")
