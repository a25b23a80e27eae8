"""The target of a URL: a numeric address, and the requests that open connections to it."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Any

from wsproto.utilities import generate_accept_token

from fastws.client.credentials import one_cookie_field
from fastws.client.fields import USER_AGENT, request_fields
from fastws.client.url import certificate_name, parse_url
from fastws.errors import InvalidURL
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

    def context(self, *, insecure: bool) -> ssl.SSLContext | None:
        """Make the TLS of clients that are written in Python; None where there is no TLS."""
        if not self.tls:
            return None
        context = ssl.create_default_context()
        if insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    def handshakes(self, plan: Plan) -> list[tuple[bytes, bytes]]:
        """Make request heads, each with the accept token that its response must carry. Raises PlanError."""
        keys = [new_key() for _ in range(HANDSHAKES)]
        return [(self._request(plan, key), generate_accept_token(key)) for key in keys]

    def _request(self, plan: Plan, key: bytes) -> bytes:
        try:
            fields, origin = request_fields(
                plan.headers, auth=None, origin=plan.origin, user_agent=USER_AGENT
            )
            head = request_head(
                host=self.host,
                target=self.path,
                key=key,
                origin=origin,
                subprotocols=plan.subprotocols,
                headers=one_cookie_field(fields),
            )
        except ValueError as error:
            raise PlanError(str(error)) from None
        return head.removesuffix(b"\r\n") + DEFLATE_OFFER if plan.deflate else head


def resolve(url: str) -> Target:
    """Resolve a ``ws://`` or ``wss://`` URL.

    A name may have several addresses. ``localhost`` is often ::1 and 127.0.0.1, and the server listens on one
    of them: the first that accepts a TCP connection is taken.

    Raises:
        PlanError: It is not such a URL.
        LoadgenError: The name has no address.
    """
    try:
        url_address = parse_url(url)
    except InvalidURL as error:
        raise PlanError(f"{url!r} is not a WebSocket URL: {error}") from None
    return Target(
        address=reachable(url_address.host, url_address.port),
        port=url_address.port,
        tls=url_address.secure,
        name=certificate_name(url_address.host),
        host=url_address.authority,
        path=url_address.target,
    )


def reachable(name: str, port: int) -> str:
    """The first address of ``name`` that accepts a TCP connection, or its last one, with its zone."""
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        raise LoadgenError(f"{name} has no address: {reason}") from None
    addresses = list(dict.fromkeys(numeric(info[4]) for info in found))
    for address in addresses[:-1]:
        try:
            socket.create_connection((address, port), PROBE_SECONDS).close()
        except OSError:
            continue
        return address
    return addresses[-1]


def numeric(address: tuple[Any, ...]) -> str:
    """The address of ``getaddrinfo`` as one text. Its zone, a number, stands apart there."""
    host = str(address[0]).partition("%")[0]
    return f"{host}%{address[3]}" if len(address) > 3 and address[3] else host
