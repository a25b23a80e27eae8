"""The status of a refusal decides, whatever becomes of its body."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

import fastws
from fastws.client import refusal
from fastws.protocol.http.connect import Tunnel
from fastws.protocol.websocket.handshake import new_key
from fastws.protocol.websocket.machine import Machine
from tests.client.loops import both_loops
from tests.client.peers import Reader, Writer, answer, answering, echo, listening

pytestmark = pytest.mark.live


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal, "MAX_BODY_TIME", 0.05)


def endless(head: bytes, *, end: Callable[[Writer], None] | None = None) -> Any:
    """Answers with a head and the begin of a body, and never ends it."""

    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        await writer.drain()
        if end is not None:
            end(writer)
        await reader.read()

    return talk


def reset(writer: Writer) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    asyncio.get_running_loop().call_later(0.02, writer.transport.abort)


BODIES = ["Content-Length: 100", "Transfer-Encoding: chunked", "X-Until: the end"]


def begun(status: int, field: str) -> bytes:
    chunk = b"4\r\nwhy?\r\n" if "chunked" in field else b"why?"
    return f"HTTP/1.1 {status} X\r\n{field}".encode() + b"\r\n\r\n" + chunk


@pytest.mark.parametrize("field", BODIES)
@pytest.mark.parametrize("status", [200, 302, 401, 403, 503])
@both_loops
async def test_a_body_that_never_ends(status: int, field: str) -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begun(status, field))
        await reader.read()

    async with listening(talk) as port:
        with pytest.raises(fastws.HandshakeRefused) as caught:
            await fastws.connect(f"ws://127.0.0.1:{port}/", open_timeout=None, max_redirects=0)
    assert (caught.value.response.status, caught.value.response.body) == (status, b"why?")


@both_loops
async def test_the_timeout_of_the_whole_does_not_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal, "MAX_BODY_TIME", 60.0)
    async with listening(endless(b"HTTP/1.1 401 X")) as port:
        with pytest.raises(fastws.HandshakeRefused, match="status 401"):
            await fastws.connect(f"ws://127.0.0.1:{port}/", open_timeout=0.3)


@pytest.mark.parametrize("end", [lambda writer: writer.write_eof(), reset])
@both_loops
async def test_a_body_that_is_cut_off(end: Any) -> None:
    async with listening(endless(b"HTTP/1.1 403 X\r\nContent-Length: 9", end=end)) as port:
        with pytest.raises(fastws.HandshakeRefused, match="status 403"):
            await fastws.connect(f"ws://127.0.0.1:{port}/")


@pytest.mark.parametrize("field", BODIES)
@both_loops
async def test_a_redirect_is_followed_at_its_head(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal, "MAX_BODY_TIME", 3600.0)
    async with fastws.serve(echo, "127.0.0.1") as server:
        head = f"HTTP/1.1 307 X\r\n{field}\r\nLocation: ws://127.0.0.1:{server.port}/".encode()
        async with (
            listening(endless(head)) as port,
            fastws.connect(f"ws://127.0.0.1:{port}/", open_timeout=None) as ws,
        ):
            assert ws.peer[1] == server.port


@both_loops
async def test_a_body_that_comes_is_kept_whole() -> None:
    async with listening(answering(answer(403, body=b"x" * 70_000))) as port:
        with pytest.raises(fastws.HandshakeRefused) as caught:
            await fastws.connect(f"ws://127.0.0.1:{port}/")
    assert caught.value.response.body == b"x" * 65_536


@pytest.mark.parametrize("field", BODIES)
@both_loops
async def test_a_proxy_whose_refusal_never_ends(field: str) -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begun(407, field))
        await reader.read()

    async with listening(talk) as port:
        with pytest.raises(fastws.ProxyError, match="status 407") as caught:
            await fastws.connect("ws://server.test/", proxy=f"http://127.0.0.1:{port}", open_timeout=None)
    assert caught.value.response is not None
    assert caught.value.response.body == b"why?"


@pytest.mark.parametrize("end", [lambda writer: writer.write_eof(), reset])
@both_loops
async def test_a_proxy_that_cuts_its_refusal_off(end: Any) -> None:
    async with listening(endless(b"HTTP/1.1 407 X\r\nContent-Length: 9", end=end)) as port:
        with pytest.raises(fastws.ProxyError, match="status 407"):
            await fastws.connect("ws://server.test/", proxy=f"http://127.0.0.1:{port}")


def test_a_refusal_is_known_at_its_head_and_no_sooner() -> None:
    machine = Machine.client(fastws.Limits(), new_key)
    for part in (b"HTTP/1.1 103 X\r\n\r\nHTTP/1.1 403 X\r\nContent-Length: 3\r\n", b"\r\n", b"no"):
        assert machine.http.refusal() is None or machine.http.refusal().body == b""
        assert machine.receive(part) == []
    response = machine.http.refusal()
    assert (response.status, response.body) == (403, b"no")
    tunnel = Tunnel("a:1")
    assert tunnel.receive(b"HTTP/1.1 407 X\r\nContent-Length: 3\r\n") is None
    assert tunnel.refusal() is None
    assert tunnel.receive(b"\r\nno") is None
    refused = tunnel.refusal()
    assert refused is not None
    assert (refused.status, refused.body) == (407, b"no")
