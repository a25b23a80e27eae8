"""Accepts connections where the loop's own server would not do.

- At sockets that several processes share, so that each gets its part. The loop's own server takes whatever
  it can get: of 2,000 connections at once one of four workers got 1,209. Here each worker looks at the shared
  page first. One that has clearly more connections than another lets the others have the next ones. A worker
  that is stopped has an old heartbeat, and nobody waits for it.
- Behind a PROXY header, which comes before TLS.
- With TLS: the loop's own server says nothing of a handshake that fails.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl as ssl_module
import time
from collections.abc import Callable
from typing import Any

from fastws.logs import peer_text
from fastws.protocol.http.addresses import unmapped
from fastws.protocol.http.proxy_header import MAX_ADDRESS_BYTES, ProxyHeader, ProxyHeaderError
from fastws.server.descriptors import ACCEPTS_PER_TURN
from fastws.server.forwarded import TrustedProxies
from fastws.server.log_rate_limit import LogRateLimit
from fastws.server.shared_page import Row, SharedPage
from fastws.server.tls_failures import failure_text

__all__ = ["Acceptor", "SocketListener"]

#: A worker with more connections than the one that has fewest, and this many or this part of them more...
SPARE_CONNECTIONS = 8
SPARE_PART = 16
#: ...leaves the next ones to the others for so long. Nobody waits for a worker that does: two that yielded to
#: each other would accept nothing meanwhile (3,400 connections/s instead of 6,900).
YIELD_SECONDS = 0.001
#: When the process has no descriptor left it tries again after so long, as asyncio does.
RETRY_SECONDS = 1.0
#: Seconds between two warnings about one kind of failure.
WARNING_SECONDS = 10.0
#: Lines about TLS handshakes that failed for one reason, in so many seconds: a scanner must not fill the log.
HANDSHAKE_LINES = 10
HANDSHAKE_SECONDS = 60.0
#: A proxy sends its header at once.
PROXY_HEADER_SECONDS = 5.0
#: Connections that may wait for their PROXY header: more are closed.
MAX_WAITING_FOR_HEADER = 1024

#: The client of accept(2) has gone already, or the network has failed: the next one may be well (accept(2)).
GONE = {
    errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH,
}  # fmt: skip


class Acceptor:
    """What ``Server.listen(sock=..., acceptor=...)`` takes; one for all sockets of a server.

    Args:
        page: the page of all workers, with ``row``, this worker's. The server has to ``share`` both. Default
            None: this process accepts what it can get.
        proxies: those that begin each connection with a PROXY header. Default None: no connection has one.
    """

    def __init__(
        self, page: SharedPage | None = None, row: Row | None = None, *, proxies: TrustedProxies | None = None
    ) -> None:
        self.page = page
        self.row = row
        self.proxies = proxies
        self.waiting_for_header = 0
        self._warnings = LogRateLimit(1, WARNING_SECONDS)
        self._handshakes = LogRateLimit(HANDSHAKE_LINES, HANDSHAKE_SECONDS, logging.INFO)
        self._listeners: set[SocketListener] = set()

    def open(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        accept: Callable[..., Any],
        ssl: ssl_module.SSLContext | None,
        ssl_handshake_timeout: float,
    ) -> SocketListener:
        """Begin to accept at a socket that listens; the returned listener owns it."""
        listener = SocketListener(self, loop, sock, accept, ssl, ssl_handshake_timeout)
        self._listeners.add(listener)
        if self.row is not None:
            self.row.is_serving = True
        listener.resume()
        return listener

    def closed(self, listener: SocketListener) -> None:
        """Called by a listener that accepts no more; the row tells when it was the last one."""
        self._listeners.discard(listener)
        if not self._listeners and self.row is not None:
            self.row.is_serving = False

    def room(self) -> int:
        """Return how many connections this worker may accept now; 0: the others are to have the next ones."""
        if self.page is None or self.row is None:
            return ACCEPTS_PER_TURN
        now = time.monotonic_ns()
        self.row.beat(now)
        self.row.yields = False
        fewest = self.page.fewest(now)
        most = fewest + max(SPARE_CONNECTIONS, fewest // SPARE_PART)
        ours = self.row.connections + self.row.starting
        self.row.yields = ours > most
        return max(min(most + 1 - ours, ACCEPTS_PER_TURN), 0)

    def count(self, change: int) -> None:
        """Count connections that are accepted, and not known to the server yet."""
        if self.row is not None:
            self.row.starting += change

    def warn(self, text: str, *values: object) -> None:
        """Log a warning of this kind, unless there was one in the last 10 s."""
        self._warnings.log(logging.WARNING, text, *values)

    def handshake_failed(self, peer: Any, error: OSError, seconds: float) -> None:
        """Say why the TLS handshake of ``peer`` failed, which had ``seconds``."""
        level, text = failure_text(error, seconds)
        if level == logging.WARNING:
            self.warn(text, peer_text(peer))
        else:
            self._handshakes.log(level, text, peer_text(peer))


class SocketListener:
    """Accepts at one socket, which it owns."""

    def __init__(
        self,
        acceptor: Acceptor,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        accept: Callable[..., Any],
        ssl: ssl_module.SSLContext | None,
        ssl_handshake_timeout: float,
    ) -> None:
        sock.settimeout(0)
        self.sockets: tuple[socket.socket, ...] = (sock,)
        self._acceptor = acceptor
        self._loop = loop
        self._sock = sock
        self._accept = accept
        self._tls: dict[str, Any] = {}
        if ssl is not None:
            self._tls = {"ssl": ssl, "ssl_handshake_timeout": ssl_handshake_timeout}
        self._later: asyncio.TimerHandle | None = None
        self._starting: set[asyncio.Task[None]] = set()

    def resume(self) -> None:
        """Accept from now on."""
        self._later = None
        self._loop.add_reader(self._sock.fileno(), self._readable)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._later = self._loop.call_later(seconds, self.resume)

    def close(self) -> None:
        """Accept no more. Those that were accepted are served. Twice does no harm."""
        if not self.sockets:
            return
        self.sockets = ()
        if self._later is not None:
            self._later.cancel()
        else:
            self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        self._acceptor.closed(self)

    def _readable(self) -> None:
        acceptor = self._acceptor
        room = acceptor.room()
        if not room:
            self._pause(YIELD_SECONDS)
        for _ in range(room):
            try:
                sock, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return  # another worker was faster
            except OSError as error:
                if error.errno in GONE:
                    continue
                acceptor.warn("connections cannot be accepted: %s", error)
                self._pause(RETRY_SECONDS)
                return
            acceptor.count(1)
            starting = self._loop.create_task(self._start(sock, unmapped(peer)))
            self._starting.add(starting)
            starting.add_done_callback(self._starting.discard)

    async def _start(self, sock: socket.socket, peer: Any) -> None:
        """Lead one connection to its protocol: the PROXY header, then TLS."""
        try:
            sock.settimeout(0)
            if sock.family != getattr(socket, "AF_UNIX", None):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accept = self._accept
            if self._acceptor.proxies is not None:
                client = await self._read_header(sock, peer)
                if client is not None:
                    peer = client
                    made = self._accept
                    accept = lambda: made(client)  # noqa: E731
            await self._loop.connect_accepted_socket(accept, sock, **self._tls)
        except ProxyHeaderError as error:
            self._acceptor.warn("%s is closed: %s", peer_text(peer), error)
            sock.close()
        except OSError as error:  # ssl.SSLError and TimeoutError too: the client's own fault, and its end
            if self._tls:
                self._acceptor.handshake_failed(peer, error, self._tls["ssl_handshake_timeout"])
            sock.close()
        except BaseException:
            sock.close()
            raise
        finally:
            self._acceptor.count(-1)

    async def _read_header(self, sock: socket.socket, peer: Any) -> tuple[str, int] | None:
        """Read the PROXY header, and no byte behind it; return the client's address, None for the socket's.

        Raises ``ProxyHeaderError``.
        """
        acceptor = self._acceptor
        assert acceptor.proxies is not None
        if isinstance(peer, tuple) and peer[0] not in acceptor.proxies:
            raise ProxyHeaderError(
                "it is no trusted proxy (--forwarded-allow-ips), so its PROXY header is not"
            )
        if acceptor.waiting_for_header >= MAX_WAITING_FOR_HEADER:
            raise ProxyHeaderError(
                f"{MAX_WAITING_FOR_HEADER} connections wait for their PROXY header already"
            )
        header = ProxyHeader()
        acceptor.waiting_for_header += 1
        try:
            async with asyncio.timeout(PROXY_HEADER_SECONDS):
                while not header.is_complete:
                    await self._wait_readable(sock)
                    try:
                        data = sock.recv(MAX_ADDRESS_BYTES, socket.MSG_PEEK)
                    except (BlockingIOError, InterruptedError):
                        continue
                    if not data:
                        raise ProxyHeaderError("it ended before its PROXY header")
                    sock.recv(header.receive(data))
        except TimeoutError:
            text = f"its PROXY header did not come within {PROXY_HEADER_SECONDS:g} s"
            raise ProxyHeaderError(text) from None
        finally:
            acceptor.waiting_for_header -= 1
        return header.client

    async def _wait_readable(self, sock: socket.socket) -> None:
        readable = self._loop.create_future()
        self._loop.add_reader(sock.fileno(), _set_done, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(sock.fileno())


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
