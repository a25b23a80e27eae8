"""The target that is a whole server with one client in memory, and a model of what may come out."""

from __future__ import annotations

import logging
from typing import Any

from fastws import Response, Route, serve
from fastws.protocol.websocket.frames import sendable
from tests.kit import ManualLoop, RawClient, Recorder, read_frames, read_response, wire

__all__ = ["connection"]

#: Without it libFuzzer would have to find a key and the other headers in each input.
OPENERS = {
    0: b"",
    1: wire.handshake(),
    2: wire.handshake("/", "Sec-WebSocket-Extensions: permessage-deflate"),
}
#: Whatever is still open then has been asleep for all of its timeouts.
LONG = 200.0


class Complaints(logging.Handler):
    """Our own failures, such as an exception in a callback, end in the log of errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


def connection(data: bytes) -> None:
    """Any stream, cut anywhere: whole answers, whole frames, one close, and in the end nothing is left."""
    complaints, recorder = Complaints(), Recorder(echo=True)
    logger = logging.getLogger("fastws.error")
    logger.addHandler(complaints)
    try:
        with ManualLoop() as loop:  # type: ignore[abstract]
            _talk(loop, recorder, data)
            assert not loop.errors, loop.errors
    finally:
        logger.removeHandler(complaints)
    assert not complaints.records, complaints.records
    names = [event[0] for event in recorder.events]
    assert names.count("open") == names.count("close") <= 1
    if names:
        assert (names[0], names[-1]) == ("open", "close")


def _talk(loop: ManualLoop, recorder: Recorder, data: bytes) -> None:
    route = Route("/", recorder, http=lambda request: Response(200, b"page"), methods=("GET", "POST"))
    server = loop.run(_serve(route))
    client = RawClient(server, loop)
    how, step, rest = (data[0], data[1] or 1, data[2:]) if len(data) > 2 else (0, 1, b"")
    stream = OPENERS[how % 3] + rest
    for at in range(0, len(stream), step * 16):
        if client.transport.lost:
            break
        client.send(stream[at : at + step * 16])
        loop.turn()
    loop.settle()
    _check(client.pending(), b"HEAD" in stream)
    loop.advance(LONG)
    assert not server.connections
    loop.run(server.shutdown())


def _check(output: bytes, head: bool) -> None:
    """Responses that are whole, and after a 101 a server's frames, of which a close is the last."""
    while output:
        if head and b"\r\n\r\n" in output and not output.startswith(b"HTTP/1.1 101"):
            return
        answer, output = read_response(output)
        assert answer.status in (100, 101, 200, 400, 403, 404, 405, 408, 413, 414, 417, 426, 431, 501, 505)
        if answer.status == 101:
            break
    else:
        return
    frames, rest = read_frames(output)
    assert not rest, rest
    for frame in frames:
        assert not frame.masked
        assert frame.opcode in (wire.TEXT, wire.BINARY, wire.PING, wire.PONG, wire.CLOSE)
        assert frame.fin
        if frame.opcode == wire.TEXT and not frame.rsv1:
            frame.payload.decode()
    closes = [frame for frame in frames if frame.opcode == wire.CLOSE]
    assert len(closes) <= 1
    if closes:
        assert frames[-1] is closes[0]
        assert not closes[0].payload or sendable(closes[0].close_code)


async def _serve(route: Route) -> Any:
    limits = {"max_message_size": 4096, "max_fragments": 8, "max_empty_fragments": 2, "max_body_size": 256}
    return await serve([route], limits=limits)
