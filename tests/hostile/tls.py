"""Attacks on TLS, with the standard library's ssl, OpenSSL's client, and bytes."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import time
import warnings
from contextlib import suppress

import pytest

from tests.hostile.harness import Arena
from tests.hostile.payloads import NEXT, request
from tests.kit.process import open_files
from tests.live.raw import BINARY, TEXT, Peer, frame, header

# -- T1 --------------------------------------------------------------------------------------------------


def silence(arena: Arena) -> None:
    """Who connects and says nothing, or half a hello, is gone when the time of a handshake is over."""
    limit, count = arena.choose(1.5, 10.0), arena.choose(100, 1000)
    before = arena.site.child.stdout()
    with_half = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    peers = [Peer(arena.port) for _ in range(count)]
    try:
        started = time.monotonic()
        for peer in peers[::2]:
            peer.send(with_half)
        # On a busy machine the server may not have accepted the first of them yet.
        arena.until(lambda: open_files(arena.pid) > arena.stage.files, limit, "they are accepted")
        arena.until(lambda: open_files(arena.pid) <= arena.stage.files, limit + 2, "they are closed")
        assert time.monotonic() - started > limit - 1
        for peer in peers:
            assert peer.exchange(b"", 1).ended
    finally:
        for peer in peers:
            peer.sock.close()
    # The application has seen none of them.
    assert arena.site.child.stdout() == before


def plain_on_tls(arena: Arena) -> None:
    for data in (NEXT, b"\x80\x2e\x01\x03\x01" + bytes(60), bytes(100), b"\x15\x03\x01\x00\x02\x02\x28"):
        with Peer(arena.port) as peer:
            started = time.monotonic()
            outcome = peer.exchange(data, 3)
            assert outcome.ended and outcome.statuses == [], (data[:9], outcome)
            arena.quick(time.monotonic() - started, 1, "until it was told so")


# -- T2 --------------------------------------------------------------------------------------------------


def renegotiation(arena: Arena) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    command = [openssl, "s_client", "-tls1_2", "-connect", f"127.0.0.1:{arena.port}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as client:
        assert client.stdin is not None and client.stdout is not None
        said = b""
        while b"---\n" not in said or b"Verify return code" not in said:
            said += client.stdout.readline()
        # A line that is just "R" asks for a new handshake.
        client.stdin.write(b"R\n")
        client.stdin.flush()
        time.sleep(0.3)
        with_request = request("/healthz", "Connection: close")
        try:
            rest = client.communicate(with_request, timeout=5)[0]
        except subprocess.TimeoutExpired:
            client.kill()
            raise
    assert b"RENEGOTIATING" in rest
    assert b"no renegotiation" in rest.lower() or b"handshake failure" in rest.lower(), rest


# -- T3 --------------------------------------------------------------------------------------------------


def connect(arena: Arena, context: ssl.SSLContext, name: str | None = "127.0.0.1") -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", arena.port), 5)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


def versions(arena: Arena) -> None:
    for version, good in (
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ):
        context = arena.site.trust(arena.site.certificates)  # type: ignore[arg-type]
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        if good:
            with connect(arena, context) as sock:
                assert sock.version() is not None
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                connect(arena, context).close()


def protocols(arena: Arena) -> None:
    for offered in (["h2"], ["h2", "http/1.1"], ["http/1.1"], ["spdy/3", "h3"], []):
        context = arena.site.trust(arena.site.certificates)  # type: ignore[arg-type]
        context.set_alpn_protocols(offered)
        try:
            sock = connect(arena, context)
        except ssl.SSLError:
            assert "http/1.1" not in offered
            continue
        with sock:
            assert sock.selected_alpn_protocol() == ("http/1.1" if "http/1.1" in offered else None)
            sock.sendall(request("/healthz", "Connection: close"))
            assert sock.recv(12) == b"HTTP/1.1 200"


def no_name(arena: Arena) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name in (None, "nobody.example", "x" * 60):
        with connect(arena, context, name) as sock:
            sock.sendall(request("/healthz", "Connection: close"))
            assert sock.recv(12) == b"HTTP/1.1 200"


# -- T4 --------------------------------------------------------------------------------------------------


def ask(arena: Arena) -> dict[str, list[int]]:
    with arena.peer() as peer:
        peer.send(request("/parting", "Connection: close"))
        told: dict[str, list[int]] = json.loads(peer.response()[1])
        return told


def told(arena: Arena, ends: int) -> dict[str, list[int]]:
    """What the application heard, when so many connections of it have ended."""
    heard: list[int] = []
    closes: list[int] = []

    def all_ended() -> bool:
        more = ask(arena)
        heard.extend(more["heard"])
        closes.extend(more["closes"])
        return len(closes) >= ends

    arena.until(all_ended, 5, "they have ended")
    return {"heard": heard, "closes": closes}


def truncated(arena: Arena) -> None:
    """TCP ends within a message, with no word of TLS: the application never sees a part of it."""
    ask(arena)
    for begun in (
        frame(TEXT, b"x" * 1000)[:500],
        header(BINARY, 100_000) + bytes(99_999),
        frame(TEXT, b"y", fin=False),
    ):
        with arena.peer().upgrade("/parting") as peer:
            peer.send(frame(TEXT, b"whole") + begun)
            time.sleep(0.05)
            peer.sock.shutdown(socket.SHUT_RDWR)
    assert told(arena, 3) == {"heard": [5, 5, 5], "closes": [1006, 1006, 1006]}


def half_closed(arena: Arena) -> None:
    """A close_notify in the middle of a message is an end as well."""
    ask(arena)
    with arena.peer().upgrade("/parting") as peer:
        peer.send(frame(TEXT, b"x" * 1000)[:500])
        peer.sock.settimeout(2)
        with suppress(OSError):
            peer.sock.unwrap()  # type: ignore[attr-defined]
    assert told(arena, 1) == {"heard": [], "closes": [1006]}
