"""The one exception tree. Nothing here knows about bytes, sockets or loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastws.protocol.http.messages import Response

__all__ = [
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
    "StartupFailed",
]


class FastWSError(Exception):
    """Base of every exception that fastws raises on its own account."""


class ConnectionClosed(FastWSError):
    """The WebSocket is closed; nothing can be sent or received any more.

    ``code`` and ``reason`` are those of the first close frame, the peer's or ours (RFC 6455, sections
    7.1.5 and 7.1.6): 1005 when it carried no code, 1006 when the connection ended without one.
    ``by_peer`` is true when the peer began to close, false when this side did.
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
    """Closed as intended: 1000 (normal), 1001 (going away) or 1005 (no code)."""


class ConnectionClosedError(ConnectionClosed):
    """Closed for any other reason, a lost connection (1006) among them."""


class ConcurrencyError(FastWSError):
    """Two coroutines read from one WebSocket at the same time."""


class InvalidURL(FastWSError, ValueError):
    """The text is not a ``ws://`` or ``wss://`` URL that can be connected to."""


class StartupFailed(FastWSError):
    """An ASGI application said, or raised, in its lifespan that it cannot start."""


class HandshakeError(FastWSError):
    """The opening handshake did not end in a WebSocket (RFC 6455, section 4)."""


class HandshakeInterrupted(HandshakeError):
    """The connection ended before the answer to the handshake was complete: another try may do."""


class HandshakeRefused(HandshakeError):
    """The server answered the handshake with something other than 101.

    ``response`` carries status, headers and (a bounded part of) the body. ``note`` says why a
    redirect was not followed.
    """

    def __init__(self, response: Response, note: str = "") -> None:
        super().__init__(response, note)
        self.response = response
        self.note = note

    def __str__(self) -> str:
        said = f"the server refused the upgrade with status {self.response.status}"
        return f"{said}: {self.note}" if self.note else said


class ProxyError(FastWSError):
    """A proxy did not let the connection through.

    ``response`` is what an HTTP proxy answered instead of a tunnel; None when it answered nothing,
    or speaks SOCKS.
    """

    def __init__(self, message: str, response: Response | None = None) -> None:
        super().__init__(message, response)
        self.response = response

    def __str__(self) -> str:
        return str(self.args[0])
