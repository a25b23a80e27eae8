"""What the log says of a TLS handshake that fails; real sockets, on both loops."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws.cli.tls import server_context
from fastws.config import Timeouts
from fastws.loop.event_loops import loop_factory
from fastws.server.acceptor import HANDSHAKE_LINES, Acceptor
from fastws.server.forwarded import TrustedProxies
from fastws.server.log_rate_limit import LogRateLimit
from fastws.server.server import Server
from fastws.server.settings import settings_from
from fastws.server.tls_failures import failure_text

PROXIED = b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 443\r\n"


def context(files: Path, *, mutual: bool = False) -> ssl.SSLContext:
    return server_context(
        str(files / "own.pem"),
        None,
        None,
        ca_certs=str(files / "ca.pem") if mutual else None,
        cert_reqs=ssl.CERT_REQUIRED if mutual else ssl.CERT_NONE,
    )


def shake_hands(client: ssl.SSLContext) -> Callable[[socket.socket], None]:
    def connect(sock: socket.socket) -> None:
        try:
            with client.wrap_socket(sock, server_hostname="localhost") as tls:
                tls.recv(1)  # with TLS 1.3 the server refuses a client's certificate only now
        except OSError:
            pass

    return connect


def a_client_that_trusts_another_authority(files: Path) -> Any:
    return shake_hands(ssl.create_default_context())


def a_client_with_old_versions_alone(files: Path) -> Any:
    client = ssl.create_default_context(cafile=str(files / "ca.pem"))
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    return shake_hands(client)


def a_client_with_other_ciphers(files: Path) -> Any:
    client = ssl.create_default_context(cafile=str(files / "ca.pem"))
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")  # our key is of another kind
    return shake_hands(client)


def a_client_without_a_certificate(files: Path) -> Any:
    return shake_hands(ssl.create_default_context(cafile=str(files / "ca.pem")))


def a_client_that_is_not_trusted(files: Path) -> Any:
    client = ssl.create_default_context(cafile=str(files / "ca.pem"))
    client.load_cert_chain(files / "stranger.pem")
    return shake_hands(client)


def a_client_that_says_nothing(files: Path) -> Any:
    return lambda sock: sock.recv(1)


def a_client_that_leaves(files: Path) -> Any:
    return lambda sock: None


def a_client_that_resets(files: Path) -> Any:
    def reset(sock: socket.socket) -> None:
        sock.sendall(b"\x16\x03\x01\x02\x00")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return reset


def a_client_that_sends_nonsense(files: Path) -> Any:
    def speak(sock: socket.socket) -> None:
        sock.sendall(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
        sock.recv(100)

    return speak


TLS_1_3 = {"minimum_version": ssl.TLSVersion.TLSv1_3}
FAILURES: list[tuple[Any, dict[str, Any], int, str]] = [
    (a_client_that_trusts_another_authority, {}, logging.INFO, "does not trust the authority of our certif"),
    (a_client_with_old_versions_alone, TLS_1_3, logging.INFO, "no TLS version in common"),
    (a_client_with_other_ciphers, {}, logging.INFO, "no cipher, group or signature in common"),
    (a_client_without_a_certificate, {"mutual": True}, logging.INFO, "sent no certificate, and one is requ"),
    (a_client_that_is_not_trusted, {"mutual": True}, logging.INFO, "certificate is not trusted: self-signed"),
    (
        a_client_that_says_nothing,
        {"seconds": 0.05},
        logging.INFO,
        "did not complete its TLS handshake within",
    ),
    (a_client_that_leaves, {}, logging.DEBUG, "left during its TLS handshake"),
    (a_client_that_resets, {}, logging.DEBUG, "left during its TLS handshake"),
    (a_client_that_sends_nonsense, {}, logging.INFO, "failed its TLS handshake: "),
]


@pytest.mark.parametrize("way", ["serve", "acceptor", "proxied"])
@pytest.mark.parametrize("factory", [asyncio.new_event_loop, loop_factory()], ids=["asyncio", "auto"])
@pytest.mark.parametrize(
    ("client", "options", "level", "words"), FAILURES, ids=[each[0].__name__ for each in FAILURES]
)
def test_one_line_says_why(
    client: Any,
    options: dict[str, Any],
    level: int,
    words: str,
    factory: Any,
    way: str,
    files: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tls = context(files, mutual=options.get("mutual", False))
    tls.minimum_version = options.get("minimum_version", tls.minimum_version)
    acceptors = {
        "acceptor": Acceptor(),
        "proxied": Acceptor(proxies=TrustedProxies(["127.0.0.1"])),
        "serve": None,
    }
    run = client(files)

    def connect(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            if way == "proxied":
                sock.sendall(PROXIED)
            run(sock)

    async def scenario() -> None:
        settings = settings_from(timeouts=Timeouts(tls_handshake=options.get("seconds", 20)))
        async with Server(fastws.Handler, settings) as server:
            if way == "serve":
                await server.listen("127.0.0.1", 0, ssl=tls)
            else:
                sock = socket.create_server(("127.0.0.1", 0))
                await server.listen(sock=sock, ssl=tls, acceptor=acceptors[way])
            await asyncio.get_running_loop().run_in_executor(None, connect, server.port)
            async with asyncio.timeout(20):
                while not told():
                    await asyncio.sleep(0.001)

    def told() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name == "fastws.error"]

    with caplog.at_level(logging.DEBUG, "fastws.error"), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scenario())
    (record,) = told()
    assert record.levelno == level
    assert words in record.getMessage()
    assert record.getMessage().startswith("192.0.2.7:4000 " if way == "proxied" else "127.0.0.1:")
    assert record.exc_info is None
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, loop_factory()], ids=["asyncio", "auto"])
def test_a_unix_socket(factory: Any, files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s"

    def connect() -> bytes:
        client = ssl.create_default_context(cafile=str(files / "ca.pem"))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            with client.wrap_socket(sock, server_hostname="localhost") as tls:
                tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                return tls.recv(100)

    async def scenario() -> None:
        async with Server(fastws.Handler, settings_from()) as server:
            await server.listen(unix=path, ssl=context(files))
            answer = await asyncio.get_running_loop().run_in_executor(None, connect)
            assert answer.startswith(b"HTTP/1.1 426 ")
        assert not path.exists()

    with caplog.at_level(logging.DEBUG, "fastws.error"), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scenario())
    assert caplog.messages == ["unix left during its TLS handshake"]


def test_a_scanner_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    acceptor = Acceptor()
    now = 0.0
    acceptor._handshakes._clock = lambda: now
    silent = ConnectionAbortedError("SSL handshake is taking longer than 10 seconds")
    reset = ConnectionResetError("reset")
    with caplog.at_level(logging.INFO, "fastws.error"):
        for port in range(1000):
            acceptor.handshake_failed(("192.0.2.9", port), silent, 10.0)
            acceptor.handshake_failed(("192.0.2.9", port), reset, 10.0)
        assert len(caplog.records) == HANDSHAKE_LINES
        now = 60.0
        acceptor.handshake_failed(("192.0.2.9", 9), silent, 10.0)
    assert len(caplog.records) == HANDSHAKE_LINES + 1
    assert caplog.messages[-1] == (
        "192.0.2.9:9 did not complete its TLS handshake within 10 s"
        " (dropped before this line: 990 lines like '... did not complete its TLS handshake within 10 s')"
    )


def test_what_was_asked_for_is_not_left_out(caplog: pytest.LogCaptureFixture) -> None:
    limit = LogRateLimit(1, 10)
    with caplog.at_level(logging.DEBUG, "fastws.error"):
        for _ in range(3):
            limit.log(logging.DEBUG, "a probe")
    assert len(caplog.records) == 3


def test_what_openssl_says_is_no_format() -> None:
    error = ssl.SSLError(1, "")
    error.reason = "100%S_NEW"
    level, text = failure_text(error, 10.0)
    assert (level, text % "peer") == (logging.INFO, "peer failed its TLS handshake: 100%s new")
