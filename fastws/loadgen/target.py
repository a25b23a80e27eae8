"""The target of a URL: a numeric address, and the requests that open connections to it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from wsproto.utilities import generate_accept_token

from fastws.loadgen.plan import LoadgenError, Plan, PlanError
from fastws.protocol.websocket.handshake import new_key, request_head

__all__ = ["Target", "resolve"]

#: Prepared requests, each with its own key. The clients of a process take them in turn.
HANDSHAKES = 64
#: We keep no context, so that one compressed message serves all sends. The server may keep its own.
DEFLATE_OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n"
PROBE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``address`` is numeric, ``name`` must be in the certificate, ``host`` is the Host header."""

    address: str
    port: int
    tls: bool
    name: str
    host: str
    path: str

    def handshakes(self, plan: Plan) -> list[tuple[bytes, bytes]]:
        """Make request heads, each with the accept token that its response must carry. Raises PlanError."""
        keys = [new_key() for _ in range(HANDSHAKES)]
        return [(self._request(plan, key), generate_accept_token(key)) for key in keys]

    def _request(self, plan: Plan, key: bytes) -> bytes:
        host = next((value for name, value in plan.headers if name.lower() == "host"), self.host)
        headers = [(name, value) for name, value in plan.headers if name.lower() != "host"]
        try:
            head = request_head(
                host=host,
                target=self.path,
                key=key,
                origin=plan.origin,
                subprotocols=plan.subprotocols,
                headers=headers,
            )
        except ValueError as error:
            raise PlanError(str(error)) from None
        return head.removesuffix(b"\r\n") + DEFLATE_OFFER if plan.deflate else head


def resolve(url: str) -> Target:
    """Resolve a ``ws://`` or ``wss://`` URL.

    A name may have several addresses. ``localhost`` is often ::1 and 127.0.0.1, and the server listens on one
    of
    them: the first that accepts a TCP connection is taken.

    Raises:
        PlanError: It is not such a URL.
        LoadgenError: The name has no address.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise PlanError(f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in ("ws", "wss") or not parts.hostname or port == 0:
        raise PlanError(f"{url!r} is not a WebSocket URL; write ws://HOST[:PORT]/PATH or wss://...")
    tls = parts.scheme == "wss"
    port = port or (443 if tls else 80)
    host = parts.netloc.rpartition("@")[2]
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        path += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return Target(
        address=reachable(parts.hostname, port), port=port, tls=tls, name=parts.hostname, host=host, path=path
    )


def reachable(name: str, port: int) -> str:
    """The first address of ``name`` that accepts a TCP connection, or its last address."""
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        raise LoadgenError(f"{name} has no address: {reason}") from None
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    for address in addresses[:-1]:
        try:
            socket.create_connection((address, port), PROBE_SECONDS).close()
        except OSError:
            continue
        return address
    return addresses[-1]
