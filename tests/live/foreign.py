"""The face of clients that were not written here; ``foreign_clients.py`` has them."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterable
from typing import Any, Protocol

from tests.live.servers import Site

__all__ = ["SECONDS", "Closed", "Foreign", "ForeignPeer", "Refused", "ask", "ending"]

#: Every wait ends.
SECONDS = 10.0


class Closed(Exception):
    """The WebSocket has ended; the code as this client sees it."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The server answered the handshake with something other than 101."""

    def __init__(self, status: int, headers: Any) -> None:
        super().__init__(str(status))
        self.status = status
        self.headers = {name.lower(): value for name, value in dict(headers).items()}


class ForeignPeer(Protocol):
    """One WebSocket of a foreign client."""

    subprotocol: str | None

    async def send(self, message: str | bytes) -> None: ...
    async def send_fragments(self, parts: list[str]) -> None: ...
    async def receive(self) -> str | bytes:
        """The next message. Raises :class:`Closed` at the end."""

    async def ping(self, payload: bytes) -> None:
        """Send a ping and wait for a pong with the same payload."""

    async def close(self, code: int, reason: str = "") -> Closed:
        """Close, and return how the server answered."""

    def write_raw(self, data: bytes) -> None:
        """Put bytes on the wire that the library would not send."""

    def pause(self) -> None:
        """Read nothing more from the socket."""

    def resume(self) -> None: ...

    def abort(self) -> None:
        """End TCP without a close frame."""


class Foreign(Protocol):
    """A client library. ``pongs=False``: it leaves the server's pings without an answer."""

    name: str

    async def connect(
        self,
        site: Site,
        path: str,
        *,
        origin: str | None = None,
        subprotocols: Iterable[str] = (),
        deflate: bool = False,
        pongs: bool = True,
    ) -> ForeignPeer: ...


async def ending(peer: ForeignPeer) -> Closed:
    """Read what is left; return how the WebSocket ended."""
    try:
        while True:
            await peer.receive()
    except Closed as closed:
        return closed


def ask(site: Site, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request by the standard library's client."""
    connection: http.client.HTTPConnection
    if site.tls is not None:
        connection = http.client.HTTPSConnection("127.0.0.1", site.port, timeout=5, context=site.tls)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=5)
    with contextlib.closing(connection):
        connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
