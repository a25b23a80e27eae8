"""The rival `picows` (frames through callbacks): echo at /wsecho, broadcast to all at /broadcast."""

from __future__ import annotations

import uvloop
from _argv import HOST, MAX_MESSAGE, arguments, ready, tls_context
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

DATA = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION)
room: set[WSTransport] = set()


class Echo(WSListener):  # type: ignore[misc]  # compiled, without stubs
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type in DATA:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()


class Broadcast(WSListener):  # type: ignore[misc]
    def on_ws_connected(self, transport: WSTransport) -> None:
        room.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        room.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type in DATA:
            kind, payload = frame.msg_type, frame.get_payload_as_bytes()
            for peer in room:
                peer.send(kind, payload)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()


def listener(request: WSUpgradeRequest) -> WSListener:
    return Echo() if request.path == b"/wsecho" else Broadcast()


async def main() -> None:
    port, files = arguments()
    server = await ws_create_server(listener, HOST, port, ssl=tls_context(files), max_frame_size=MAX_MESSAGE)
    ready(port)
    await server.serve_forever()


uvloop.run(main())
