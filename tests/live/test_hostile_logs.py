"""What clients send stands in the log as one line of JSON each, whatever it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.helpers import running
from tests.live.raw import CLOSE, TEXT, Peer, close_frame, frame, upgrade
from tests.workers.helpers import until

pytestmark = [pytest.mark.live, pytest.mark.system]

#: Targets that a server accepts, and refuses; and fields of a request.
TARGETS = [
    b"/echo?a=%0a%0d%00%1b[2J",
    b'/"},{"event":"websocket","code":1000',
    b"/%ff%fe%c3%28",
    b"/\xff\xfe\x80",
    b"/a\x1b[31m",
    b"/a\tb",
    b"/" + b"x" * 7000,
    b"/?token=geheim&access%5Ftoken=geheim",
    b"/\\u000a\\",
    b"http://[::1/",
    b"*",
]
FIELDS = [
    b'User-Agent: "}\\"{\'\\n\\u0000',
    b"User-Agent: \xff\xfe\xf0\x9f\x98\x80 \xe2\x80\xa8\xc2\x85",
    b"User-Agent: " + b"y" * 7000,
    b"User-Agent: a\x0bb\x7f",
    b"Referer: https://a.example/?token=geheim",
    b'X-Request-ID: "},{"a":"',
    b"X-Request-ID: " + b"z" * 300,
    b"X-Request-ID: good-1",
    b"X-Request-ID: one\r\nX-Request-ID: two",
    b"traceparent: 00-00000000000000000000000000000000-0000000000000000-00",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"traceparent: \xff-\x00",
    b"X: \x00\r\nUser-Agent: {\n}",
]
#: What the line of a WebSocket has, if there is anything to say.
OF_A_WEBSOCKET = {
    "time", "level", "logger", "message", "event", "peer", "request_id", "method", "target", "path", "route",
    "version", "code", "reason", "initiator", "seconds", "messages_received", "bytes_received",
    "messages_sent", "bytes_sent", "peak_queue", "dropped", "resumed",
}  # fmt: skip


def test_each_line_is_one_object(tmp_path: Path) -> None:
    answered = closed = 0
    with running(tmp_path, "serve", "--port", 0, "--log-format", "json") as server:
        server.line("{")
        serving = next(line for line in server.stderr().splitlines() if "Serving on" in line)
        port = int(json.loads(serving)["message"].split()[2].rpartition(":")[2])
        for target in TARGETS:
            for field in FIELDS if target is TARGETS[0] else FIELDS[:2]:
                request = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n\r\n" % (target, field)
                with Peer(port) as peer:
                    answered += len(peer.exchange(request).statuses)
        for field in FIELDS:
            with Peer(port) as peer:
                request = upgrade("/echo?a=%22").replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n")
                reason = b'"\n\xe2\x80\xa8{' + bytes([27])
                outcome = peer.exchange(request + frame(TEXT, b"hello") + close_frame(1000, reason))
                is_open = outcome.statuses == [101]
                closed += is_open
                answered += not is_open
                assert not is_open or outcome.frames[-1].opcode == CLOSE
        assert answered > 20 and closed > 5
        until(lambda: len(server.stdout().splitlines()) >= answered + closed)
        assert server.stop() == 0
        written = server.stdout() + server.stderr()
        lines = [json.loads(line) for line in server.stdout().split("\n")[:-1]]
        for line in server.stderr().split("\n")[:-1]:
            json.loads(line)
    assert written.isascii() and "geheim" not in written and "\x1b" not in written
    ended = [line for line in lines if line["event"] == "websocket"]
    assert (len(lines), len(ended)) == (answered + closed, closed)
    for line in ended:
        assert line.keys() >= OF_A_WEBSOCKET
        assert (line["route"], line["code"], line["initiator"]) == ("/echo", 1000, "peer")
        assert line["reason"] == '"\n\u2028{\x1b'
    ids = {line["request_id"] for line in lines if "request_id" in line}
    assert {"good-1", "0af7651916cd43dd8448eb211c80319c"} <= ids
    assert all(each.isprintable() and len(each) <= 128 for each in ids)
