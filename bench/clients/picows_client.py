"""The rival `picows` (frames through callbacks)."""

from __future__ import annotations

import asyncio

from _measure import MAX_MESSAGE, Load, main
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

DATA = (WSMsgType.TEXT, WSMsgType.BINARY)


class Echo(WSListener):
    def __init__(self, load: Load) -> None:
        self.load = load

    def on_ws_connected(self, transport: WSTransport) -> None:
        message = self.load.message
        kind = WSMsgType.TEXT if isinstance(message, str) else WSMsgType.BINARY
        payload = message.encode() if isinstance(message, str) else message
        for _ in range(self.load.depth):
            transport.send(kind, payload)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type in DATA:
            self.load.heard += 1
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


async def client(load: Load) -> None:
    opened = [
        await ws_connect(lambda: Echo(load), load.url, max_frame_size=MAX_MESSAGE)
        for _ in range(load.connections)
    ]
    await asyncio.gather(*(transport.wait_disconnected() for transport, _ in opened))


main(client)
