"""All exceptions that fastws raises on its own account, in one tree under :class:`FastWSError`.

Nothing here knows bytes, sockets or event loops. This module stands below those of HTTP, so what an
exception needs of a response is said here as a protocol; at run time it is a :class:`fastws.Response`.
"""

from __future__ import annotations

from typing import Any, Protocol

__all__ = [
    "BrokerUnavailable",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "ConcurrencyError",
    "FastWSError",
    "HandshakeError",
    "HandshakeInterrupted",
    "InvalidURL",
    "ProxyError",
    "HandshakeRefused",
    "ReceivedHeaders",
    "ReceivedResponse",
    "StartupFailed",
]


class ReceivedHeaders(Protocol):
    """The header fields of a response; the methods are those of :class:`fastws.Headers`."""

    def get(self, name: str, default: str | None = None) -> str | None: ...
    def get_list(self, name: str) -> list[str]: ...
    def items(self) -> list[tuple[str, str]]: ...
    def __getitem__(self, name: str) -> str: ...
    def __contains__(self, name: object) -> bool: ...


class ReceivedResponse(Protocol):
    """The response that an exception carries, a :class:`fastws.Response`."""

    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> bytes: ...
    @property
    def headers(self) -> ReceivedHeaders: ...
    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def text(self) -> str: ...
    def json(self) -> Any: ...


class FastWSError(Exception):
    """Base of every exception that fastws raises on its own account."""


class ConnectionClosed(FastWSError):
    """The WebSocket is closed. Nothing can be sent or received any more.

    ``code`` and ``reason`` come from the first close frame, the peer's or ours (RFC 6455, sections
    7.1.5 and 7.1.6). The code is 1005 when that frame carried none, and 1006 when the connection ended
    without a close frame. ``by_peer`` is true when the peer sent the first close frame, or when the
    connection ended without any; it is false when this side closed.

    Raised as :class:`ConnectionClosedOK` or :class:`ConnectionClosedError`.
    """

    def __init__(self, code: int, reason: str = "", *, by_peer: bool = False) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.by_peer = by_peer

    def __str__(self) -> str:
        who = "the peer" if self.by_peer else "this side"
        reason = f" {self.reason!r}" if self.reason else ""
        return f"closed by {who} with {self.code}{reason}"


class ConnectionClosedOK(ConnectionClosed):
    """Closed as intended: the code is 1000 (normal), 1001 (going away) or 1005 (no code)."""


class ConnectionClosedError(ConnectionClosed):
    """Closed with any other code, such as 1006 for a connection that was lost."""


class ConcurrencyError(FastWSError):
    """A coroutine reads from a WebSocket from which another coroutine already reads."""


class InvalidURL(FastWSError, ValueError):
    """The text is not a ``ws://`` or ``wss://`` URL to which a client can connect."""


class BrokerUnavailable(FastWSError):
    """A hub cannot share what is published: the text says what is wrong with its broker."""


class StartupFailed(FastWSError):
    """The server cannot start: the startup of an ASGI application or an ``on_startup`` hook has failed."""


class HandshakeError(FastWSError):
    """The opening handshake failed (RFC 6455, section 4). No WebSocket was opened."""


class HandshakeInterrupted(HandshakeError):
    """The connection ended before the whole response had come. Another attempt may succeed."""


class HandshakeRefused(HandshakeError):
    """The server answered the handshake with a status other than 101 (RFC 6455, section 4.1).

    ``response`` has the status, the headers and what came of the body within a second: at most 64 KiB.
    ``note`` is empty, or says why the client did not follow a redirect.
    """

    def __init__(self, response: ReceivedResponse, note: str = "") -> None:
        super().__init__(response, note)
        self.response = response
        self.note = note

    def __str__(self) -> str:
        text = f"the server refused the upgrade with status {self.response.status}"
        return f"{text}: {self.note}" if self.note else text


class ProxyError(FastWSError):
    """A proxy did not open the tunnel to the server.

    ``response`` is the response of an HTTP proxy that refused (RFC 9110, section 9.3.6), with at most
    64 KiB of its body. It is None when the proxy sent none, or when it speaks SOCKS.
    """

    def __init__(self, message: str, response: ReceivedResponse | None = None) -> None:
        super().__init__(message, response)
        self.response = response

    def __str__(self) -> str:
        return str(self.args[0])
