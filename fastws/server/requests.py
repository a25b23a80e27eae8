# cython: annotation_typing=False
"""What the server decides about a request before anything answers it, and the request's body."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastws.logs import peer_text
from fastws.protocol.http.messages import Request, Response, error_response
from fastws.protocol.websocket.handshake import check_upgrade
from fastws.server.forwarded import forwarded
from fastws.web.hosts import is_allowed_host

if TYPE_CHECKING:
    from fastws.connection.connection import Connection
    from fastws.protocol.http.events import Refusal
    from fastws.server.site import Site
    from fastws.web.routes import Endpoint

__all__ = ["RequestBody", "address_refusal", "admit", "plain_refusal", "warn_of_tls"]

log = logging.getLogger("fastws.error")


def admit(site: Site, connection: Connection, request: Request) -> Response | None:
    """Note who asks, over what; return why the server takes no request now, None when it takes this one."""
    request.peer = connection.transport
    request.server = connection.host
    if site.proxied:
        request.peer = site.proxied.get(connection, request.peer)
    if connection.is_tls():
        request.came_over_tls(connection.transport)
    if site.takes_everyone:
        return None
    settings = site.settings
    if settings.trusted_proxies:
        # A proxy sends the requests of many clients over one connection.
        known = request.may_be_forwarded() and forwarded(request, site.trusted_proxies)
        connection.forwarded_for = request.peer if known else site.proxied.get(connection)
    if settings.allowed_hosts:
        host = request.offer.host if request.is_vetted else request.headers.get("host")
        if not is_allowed_host(host, settings.allowed_hosts):
            # RFC 9110, section 15.5.20: 421, this server answers for no such host.
            return error_response(421)
    if settings.limit_concurrency is not None and site.is_beyond_limit(connection):
        # RFC 9110, section 15.6.4: 503, temporarily overloaded.
        return error_response(503)
    addresses = site.addresses
    if not addresses.is_limiting:
        return None
    if not addresses.begin_request(connection, request.peer):
        return address_refusal(site)
    if request.upgrade and not addresses.shake_hands(request.peer, connection.loop_state.wheel.time()):
        return address_refusal(site)
    return None


def address_refusal(site: Site) -> Response:
    """Count and return the refusal of an address that has too much, or asks too often.

    429 is RFC 6585, section 4, which allows Retry-After (RFC 9110, section 10.2.3); the windows of our
    limits are a second.
    """
    site.counters.row.limited += 1
    return error_response(429, headers=[("Retry-After", "1")])


def plain_refusal(request: Request, endpoint: Endpoint | None) -> Response | None:
    """Return why a request that is no handshake is not served at its path, None when it is."""
    if endpoint is None:
        return error_response(404)
    if endpoint.application is not None:
        return None
    if request.method not in endpoint.methods:
        if endpoint.http is None and request.method == "HEAD":
            return error_response(426, headers=[("Upgrade", "websocket")])
        # RFC 9110, section 15.5.6: with 405 Allow has to name the methods.
        return error_response(405, headers=[("Allow", ", ".join(endpoint.methods))])
    if endpoint.http is None:
        # Only a WebSocket is here. RFC 9110, section 15.5.22: with 426 Upgrade has to name the protocol.
        return check_upgrade(request) or error_response(426)
    return None


class RequestBody:
    """What has come of a request's body."""

    __slots__ = ("_data", "_period_size")

    def __init__(self) -> None:
        self._data = bytearray()
        self._period_size = 0

    def add(self, data: bytes) -> None:
        self._data += data
        self._period_size += len(data)

    def keeps_pace(self, endpoint: Endpoint) -> bool:
        """True when, since the last call, it came at the pace that its route asks for."""
        size, self._period_size = self._period_size, 0
        seconds = endpoint.timeouts.body
        return seconds is not None and size >= endpoint.limits.min_body_rate * seconds

    def whole(self) -> bytes:
        return bytes(self._data)


def warn_of_tls(connection: Connection, violation: Refusal) -> None:
    """Say that a client speaks TLS where nobody does, if that is why it is refused."""
    if violation.is_tls and not connection.is_tls():
        peer = peer_text(connection.peer)
        log.warning("%s began TLS on a port without TLS: use http:// or ws:// here", peer)
