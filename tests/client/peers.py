"""Servers and proxies for tests of the client, made of asyncio's streams."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fastws.cli.dev_ca import ensure_authority, issue, subject_name
from fastws.client.connect import connect
from fastws.connection.websocket import WebSocket
from fastws.server.serve import serve

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Talk = Callable[[Reader, Writer], Awaitable[None]]


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@asynccontextmanager
async def connected(app: Any, **options: Any) -> AsyncIterator[WebSocket]:
    """A client of a server with ``app``; the options are the client's."""
    async with serve(app, "127.0.0.1") as server:
        ws = await connect(f"ws://127.0.0.1:{server.port}/", **options)
        yield ws
        await ws.close()


@asynccontextmanager
async def listening(talk: Talk, **options: Any) -> AsyncIterator[int]:
    """A TCP server that talks; its port. Every talk has ended when the block is left."""
    talks: set[asyncio.Task[Any]] = set()

    async def run(reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await talk(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(run, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


def answering(*answers: bytes, heads: list[str] | None = None) -> Talk:
    """Answers one request per connection: each answer once, the last one for ever."""
    left = list(answers)

    async def talk(reader: Reader, writer: Writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heads is not None:
            heads.append(head.decode())
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()

    return talk


def answer(status: int, *fields: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def fields(head: str) -> dict[str, str]:
    return {
        name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])
    }


async def pump(reader: Reader, writer: Writer) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def join(one: tuple[Reader, Writer], other: tuple[Reader, Writer]) -> None:
    pumps = [pump(one[0], other[1]), pump(other[0], one[1])]
    await asyncio.gather(*pumps, return_exceptions=True)


class HTTPProxy:
    """A CONNECT proxy that leads every name to one port of 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.heads: list[str] = []

    async def talk(self, reader: Reader, writer: Writer) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        upstream = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await join((reader, writer), upstream)


class SOCKSProxy:
    """A SOCKS5 proxy (RFC 1928, 1929) that leads every name to one port of 127.0.0.1."""

    def __init__(self, port: int, *, reply: int = 0, login: tuple[bytes, bytes] | None = None) -> None:
        self.port = port
        self.reply = reply
        self.login = login
        self.destinations: list[tuple[int, bytes]] = []

    async def talk(self, reader: Reader, writer: Writer) -> None:
        _, count = await reader.readexactly(2)
        await reader.readexactly(count)
        writer.write(bytes([5, 0 if self.login is None else 2]))
        if self.login is not None:
            user = await reader.readexactly((await reader.readexactly(2))[1])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            writer.write(b"\1\0" if (user, password) == self.login else b"\1\1")
        kind = (await reader.readexactly(4))[3]
        size = (await reader.readexactly(1))[0] if kind == 3 else {1: 4, 4: 16}[kind]
        self.destinations.append((kind, await reader.readexactly(size)))
        await reader.readexactly(2)
        writer.write(bytes([5, self.reply, 0, 1]) + bytes(6))
        if self.reply == 0:
            await join((reader, writer), await asyncio.open_connection("127.0.0.1", self.port))


class Certificates:
    """An authority, a certificate for ``server.test`` and 127.0.0.1, and a context for each side."""

    def __init__(self, folder: Path) -> None:
        authority = ensure_authority(folder)
        names = [subject_name(name) for name in ("server.test", "127.0.0.1", "localhost")]
        issued = issue(authority, folder, names, 30)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(issued.certfile, issued.keyfile)
        self.client = ssl.create_default_context(cafile=authority.path)
        #: A server that asks for a certificate, and a client that has one.
        self.asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.asking.load_cert_chain(issued.certfile, issued.keyfile)
        own = client_certificate(folder / "client.pem")
        self.asking.load_verify_locations(cafile=own)
        self.asking.verify_mode = ssl.CERT_OPTIONAL
        self.known = ssl.create_default_context(cafile=authority.path)
        self.known.load_cert_chain(own)


def client_certificate(path: Path) -> Path:
    """Write a certificate that a client signed itself, and its key, to one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a client")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(pem) + private)
    return path
