"""One function per target: it takes any bytes, and raises when a promise does not hold."""

from __future__ import annotations

import atexit
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from fastws.config import Compression, Limits
from fastws.errors import HandshakeError
from fastws.protocol.http.events import Refusal
from fastws.protocol.http.headers import is_value
from fastws.protocol.http.messages import Request, Response
from fastws.protocol.http.server import ServerHTTP
from fastws.protocol.http.targets import decode_path
from fastws.protocol.websocket import handshake
from fastws.protocol.websocket.deflate import DeflateParams, Deflater, InflateError, Inflater
from fastws.protocol.websocket.events import Close, Fail
from fastws.protocol.websocket.frames import Engine, engine
from fastws.testing.wire import KEY, accept_token
from fastws.web.static_files import Static
from tests.fuzz.connection import connection
from tests.protocol.websocket.wire import receive_all

__all__ = ["TARGETS", "pieces"]

SMALL = Limits(max_message_size=4096, max_fragments=8, max_empty_fragments=2, max_head_size=2048)


def pieces(data: bytes) -> list[bytes]:
    """Cut the input where its first byte says; 0 is one byte at a time."""
    size, rest = (data[0], data[1:]) if data else (1, b"")
    step = size or 1
    return [rest[at : at + step] for at in range(0, len(rest), step)]


def request_head(data: bytes) -> None:
    """Cut anywhere, a stream gives the same requests and the same refusal, and nothing behind it."""
    whole = _http([data[1:]])
    assert whole == _http(pieces(data)), "the cut changed what was read"


def _http(parts: list[bytes]) -> list[Any]:
    """What a server reads, each body in one piece."""
    http, seen = ServerHTTP(SMALL), []
    for part in parts:
        http.receive(part)
        while (event := http.next_event()) is not None:
            if isinstance(event, Refusal):
                assert event.response.status in (400, 413, 414, 417, 431, 501, 505)
                assert http.next_event() is None
                if seen and isinstance(seen[-1][-1], bytearray):
                    # How much of a body came out before it broke is nobody's business.
                    seen[-1][-1].clear()
                # Which of two faults is told may depend on how much of the head was seen.
                return [*seen, "refused"]
            if isinstance(event, Request):
                for name, value in event.headers.items():
                    assert not set(name + value) & set("\r\n\0"), (name, value)
                seen.append((event.method, event.target, event.path, event.headers.items(), bytearray()))
                if event.upgrade:
                    http.trailing()
                    return seen
            elif hasattr(event, "data"):
                seen[-1][-1].extend(event.data)
            else:
                seen[-1] = (*seen[-1][:-1], bytes(seen[-1][-1]))
                http.respond(Response(200, b"ok"))
                if http.must_close:
                    return seen
    return seen


@cache
def _engines() -> list[Engine]:
    engines = [engine("wsproto")]
    with contextlib.suppress(ImportError):
        engines.append(engine("c"))
    return engines


def frames_server(data: bytes) -> None:
    _frames(data, client=False)


def frames_client(data: bytes) -> None:
    _frames(data, client=True)


def _frames(data: bytes, *, client: bool) -> None:
    """Both engines, however the stream is cut: the same events, at most one end, and that is last."""
    outcomes = []
    for one in _engines():
        for parts in ([data[1:]], pieces(data)):
            inflate = Inflater() if data[:1] < b"\x80" else None
            reader = one.Reader(
                SMALL.max_message_size,
                SMALL.max_fragments,
                SMALL.max_empty_fragments,
                inflate,
                client=client,
            )
            events = [event for part in parts for event in receive_all(reader, part)]
            assert not any(isinstance(event, Close | Fail) for event in events[:-1])
            assert all(len(event) <= 4096 for event in events if isinstance(event, str | bytes))
            outcomes.append(events)
    assert all(outcome == outcomes[0] for outcome in outcomes), outcomes


def extensions(data: bytes) -> None:
    """An offer or an answer of any kind is taken or declined; what is taken was said."""
    lines = [line for line in data.decode("latin-1").split("\n") if is_value(line)]
    compression = Compression()
    request = Request("GET", "/", [("Sec-WebSocket-Extensions", line) for line in lines])
    agreed = handshake.negotiate_deflate(request, compression)
    if agreed is not None:
        params, value = agreed
        assert value.startswith(b"permessage-deflate")
        assert 9 <= params.server_max_window_bits <= 15
        assert 9 <= params.client_max_window_bits <= 15
    answer = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_token(KEY)),
        *(("Sec-WebSocket-Extensions", line) for line in lines),
    ]
    with contextlib.suppress(HandshakeError):
        handshake.check_accept(
            Response(101, b"", answer), key=KEY.encode(), subprotocols=(), compression=compression
        )


def deflate(data: bytes) -> None:
    """Never more than the limit comes out; what was compressed comes back."""
    limit = 4096
    for takeover in (False, True):
        inflater = Inflater(takeover=takeover)
        with contextlib.suppress(InflateError):
            for part in data.split(b"\0\0\xff\xff"):
                assert len(inflater(part, limit)) <= limit
    if len(data) <= limit:
        assert Inflater()(_deflater()(data), limit) == data


@cache
def _deflater() -> Deflater:
    from fastws.protocol.websocket.deflate import DeflatePool

    return DeflatePool(Compression(threshold=1)).deflater(DeflateParams(True, True), client=False)


INSIDE, SECRET = b"inside\n", b"the secret outside\n"


@cache
def _static() -> Static:
    """A folder with files, a way out of it by a link, and a sibling whose name begins alike."""
    made = tempfile.TemporaryDirectory()
    atexit.register(made.cleanup)
    base = Path(made.name)
    for name in ("root/a.txt", "root/b.txt", "root/b.txt.gz", "root/deep/index.html"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(INSIDE)
    for name in ("root1", "secret.txt"):
        (base / name).write_bytes(SECRET)
    for link, target in (("link.txt", "../secret.txt"), ("up", ".."), ("a.txt.gz", "../secret.txt")):
        (base / "root" / link).symlink_to(target)
    return Static("/static", base / "root")


def static_path(data: bytes) -> None:
    """Whatever is asked for, with whatever headers, nothing from outside the folder comes."""
    target, *lines = data.decode("latin-1").split("\n")
    try:
        path = decode_path("/" + target)
    except ValueError:
        return
    query = target.partition("?")[2]
    if not (query.isascii() and query.isprintable()):
        return  # the strict head has refused it: no route sees such a target
    fields = [tuple(line.split(":", 1)) for line in lines if ":" in line and not set(line) & set("\r\0")]
    request = Request("GET", "/" + target, fields, path=path)  # type: ignore[arg-type]
    response = _static().respond(request, path[1:])
    assert response.status in (200, 206, 304, 307, 400, 404, 405, 416), response.status
    body = b"".join(_read(response)) + response.body
    assert SECRET not in body
    for name, value in response.raw_headers:
        if name == b"Location":
            # One segment, relative: it leads to no other host. The query is the request's own.
            folder, _, query = value.partition(b"?")
            assert not set(folder[:-1]) & set(b"/:\\#\r\n"), value
            assert query.decode("latin-1") in target, value
    if response.status == 200 and request.method == "GET":
        assert body == INSIDE


def _read(response: Response) -> Iterator[bytes]:
    if response.stream is None:
        return
    while chunk := response.stream.read(3):
        yield chunk
    response.stream.close()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "request_head": request_head,
    "frames_server": frames_server,
    "frames_client": frames_client,
    "extensions": extensions,
    "deflate": deflate,
    "static_path": static_path,
    "connection": connection,
}
