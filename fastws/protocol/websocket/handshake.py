# cython: annotation_typing=False
"""The opening handshake as pure functions, for both roles (RFC 6455, section 4)."""

from __future__ import annotations

import binascii
import hmac
import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha1

from fastws.config import Compression
from fastws.errors import HandshakeError, HandshakeRefused
from fastws.protocol.http.addresses import wildcards
from fastws.protocol.http.headers import HeaderPairs, checked_field, is_token
from fastws.protocol.http.messages import Request, Response, error_response
from fastws.protocol.websocket import extensions as ext
from fastws.protocol.websocket.deflate import DeflateParams

__all__ = [
    "accept_head",
    "check_accept",
    "check_extra_fields",
    "check_upgrade",
    "choose_subprotocol",
    "is_origin_allowed",
    "negotiate_deflate",
    "new_key",
    "request_head",
]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# RFC 6455, section 4.2.1, item 5: base64 of 16 bytes.
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
# RFC 6454, section 7, for the schemes that can be compared with a Host. Any other origin is foreign.
_ORIGIN = re.compile(r"(https?|wss?)://([0-9a-z._-]++|\[[0-9a-f:.]++\])(?::([0-9]{1,5}))?")
_ANY_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*+)://([0-9a-z._-]++)((?::[0-9]{1,5})?)")
_HOST = re.compile(r"([0-9a-z._-]++|\[[0-9a-f:.]++\])(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "ws": "80", "https": "443", "wss": "443"}
# The fields of the handshake itself: an application that sets one would break it.
_RESERVED = frozenset(
    (
        "connection",
        "content-length",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "transfer-encoding",
        "upgrade",
    )
)
# RFC 9110, section 15.5.22: a 426 names the protocol. Section 7.8: Upgrade needs the Connection option.
_UPGRADE_FIELDS = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)


# -- server role --------------------------------------------------------------------------------


def check_upgrade(
    request: Request, origins: frozenset[str] = frozenset(), require_origin: bool = False
) -> Response | None:
    """Return None for a request that may become a WebSocket, else the refusal (RFC 6455, section 4.2.2).

    Args:
        request: any request of HTTP.
        origins: origins that are allowed besides the request's own host, as browsers send them
            (``https://example.com``), ``https://*.example.com`` for its subdomains, or ``*`` for all.
        require_origin: refuse a request without Origin. Such a client is no browser, and is let in by
            default (RFC 6455, section 10.2).

    The refusal is 405 for another method than GET, 426 for a request without Upgrade or of another version
    (RFC 6455, section 4.4), 403 for an origin (RFC 6455, section 4.2.2, item 4), else 400.
    """
    if not request.is_vetted:
        refusal = _check_fields(request)
        if refusal is not None:
            return refusal
        request.vetted()
    offer = request.offer
    if offer.origin is None:
        return error_response(403) if require_origin else None
    if not is_origin_allowed(offer.origin, offer.host, origins):
        return error_response(403)
    return None


def _check_fields(request: Request) -> Response | None:
    headers = request.headers
    if request.method != "GET":
        return error_response(405, headers=[("Allow", "GET")])
    if not request.upgrade:
        return error_response(426, headers=_UPGRADE_FIELDS)
    if request.http_version == "1.0" or "upgrade" not in headers.tokens("connection"):
        return error_response(400)
    if headers.get_list("sec-websocket-version") != ["13"]:
        return error_response(426, headers=[*_UPGRADE_FIELDS, ("Sec-WebSocket-Version", "13")])
    keys = headers.get_list("sec-websocket-key")
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        return error_response(400)
    return error_response(403) if len(headers.get_list("origin")) > 1 else None


def is_origin_allowed(origin: str, host: str | None, origins: frozenset[str]) -> bool:
    """True for an origin of the request's own host, and for one that ``origins`` allows."""
    if origin in origins or "*" in origins:
        return True
    # RFC 6455, section 10.2. The scheme is not compared: TLS may end at a proxy in front of this server.
    # lower() makes ASCII letters of some letters outside ASCII, so only ASCII is compared.
    of_page = _ORIGIN.fullmatch(origin.lower()) if origin.isascii() else None
    of_request = _HOST.fullmatch((host or "").lower())
    if of_page is not None and of_request is not None and of_page[2] == of_request[1]:
        default = _DEFAULT_PORTS[of_page[1]]
        if (of_page[3] or default) == (of_request[2] or default):
            return True
    return bool(origins) and _matches_pattern(origin, origins)


def _matches_pattern(origin: str, origins: frozenset[str]) -> bool:
    """True when ``origins`` has a pattern such as ``https://*.example.com`` for this subdomain."""
    parts = _ANY_ORIGIN.fullmatch(origin)
    if parts is None:
        return False
    scheme, name, port = parts.groups()
    return any(f"{scheme}://{pattern}{port}" in origins for pattern in wildcards(name))


def choose_subprotocol(request: Request, supported: Sequence[str]) -> str | None:
    """Return the first of ``supported`` that the client offers, or None (RFC 6455, section 4.2.2).

    The client's order is its preference (section 4.1, item 10), but the choice is the server's (section
    4.2.2, item 5): it knows which one it can serve best. Names are compared with their case.
    """
    if not supported:
        return None
    offered = {name.strip(" \t") for name in (request.offer.subprotocols or "").split(",")}
    for name in supported:
        if name in offered and is_token(name):
            return name
    return None


def negotiate_deflate(
    request: Request, compression: Compression | None
) -> tuple[DeflateParams, bytes] | None:
    """Return the agreed parameters of permessage-deflate and the field's value for the 101; None for none."""
    if compression is None:
        return None
    offered = request.offer.extensions
    if not offered:
        return None
    # All browsers of one kind make the same offer.
    return _negotiate(offered, compression) if len(offered) <= 200 else ext.negotiate([offered], compression)


@lru_cache(maxsize=64)
def _negotiate(offered: str, compression: Compression) -> tuple[DeflateParams, bytes] | None:
    return ext.negotiate([offered], compression)


def _accept_token(key: bytes) -> bytes:
    return binascii.b2a_base64(sha1(key + _GUID, usedforsecurity=False).digest(), newline=False)


def accept_head(
    request: Request,
    subprotocol: str | None = None,
    extensions: bytes | None = None,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """Return the 101 for a request that ``check_upgrade`` accepted (RFC 6455, section 4.2.2, item 5).

    Raises ``ValueError`` for a subprotocol that is no token, for a header that belongs to the handshake,
    and for one that would split the response.
    """
    key = request.offer.key
    assert key is not None
    head = _SWITCHING + _accept_token(key.encode()) + b"\r\n"
    if subprotocol is not None:
        if not is_token(subprotocol):
            raise ValueError(f"{subprotocol!r} cannot be a subprotocol")
        head += b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode()
    if extensions is not None:
        head += b"Sec-WebSocket-Extensions: %b\r\n" % extensions
    return head + _answer_lines(tuple(headers)) + b"\r\n"


@lru_cache(maxsize=64)
def _answer_lines(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return the lines of fields, which are the same for every 101 of a route."""
    return _field_lines(headers)


def check_extra_fields(headers: HeaderPairs) -> list[tuple[bytes, bytes]]:
    """Return the fields ready to be sent. Raises ``ValueError`` for one that belongs to the handshake."""
    fields = [checked_field(name, value) for name, value in headers]
    for name, _ in fields:
        if name.decode().lower() in _RESERVED:
            raise ValueError(f"{name.decode()} belongs to the handshake")
    return fields


def _field_lines(headers: HeaderPairs) -> bytes:
    return b"".join([b"%b: %b\r\n" % field for field in check_extra_fields(headers)])


# -- client role --------------------------------------------------------------------------------


def new_key() -> bytes:
    """Return a fresh Sec-WebSocket-Key (RFC 6455, section 4.1, item 7)."""
    return binascii.b2a_base64(os.urandom(16), newline=False)


def request_head(
    *,
    host: str,
    target: str,
    key: bytes,
    origin: str | None = None,
    subprotocols: Sequence[str] = (),
    compression: Compression | None = None,
    headers: HeaderPairs = (),
) -> bytes:
    """Return the head of a request to upgrade (RFC 6455, section 4.1).

    Args:
        host: the value of Host, with a port that is not the default. A Host in ``headers`` replaces it.
        target: path and query, percent-encoded.
        key: see ``new_key``.
        origin: the value of Origin; None for no such field.
        subprotocols: the names to offer, the preferred one first.
        compression: None offers no permessage-deflate.
        headers: further fields.

    Raises ``ValueError`` for an argument that is not valid or would split the request, and for a header that
    belongs to the handshake.
    """
    if not re.fullmatch(r"/[\x21-\x7e]*", target):
        raise ValueError(f"{target!r} cannot be the target of a request")
    for name in subprotocols:
        if not is_token(name):
            raise ValueError(f"{name!r} cannot be a subprotocol")
    extra = [checked_field(name, value) for name, value in headers]
    lines = [b"GET %b HTTP/1.1" % target.encode()]
    if all(name.lower() != b"host" for name, _ in extra):
        lines.append(b"%b: %b" % checked_field("Host", host))
    if origin is not None:
        lines.append(b"%b: %b" % checked_field("Origin", origin))
    lines += [b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: " + key]
    lines.append(b"Sec-WebSocket-Version: 13")
    if subprotocols:
        lines.append(b"Sec-WebSocket-Protocol: " + ", ".join(subprotocols).encode())
    if compression is not None:
        lines.append(b"Sec-WebSocket-Extensions: " + ext.deflate_offer(compression))
    return b"\r\n".join(lines) + b"\r\n" + _field_lines(extra) + b"\r\n"


def check_accept(
    response: Response, *, key: bytes, subprotocols: Sequence[str], compression: Compression | None
) -> tuple[str | None, DeflateParams | None]:
    """Return the subprotocol and the compression on which a 101 agrees (RFC 6455, section 4.1).

    Raises ``HandshakeRefused`` for another status, ``HandshakeError`` for a 101 that breaks a rule of that
    section.
    """
    if response.status != 101:
        raise HandshakeRefused(response)
    headers = response.headers
    if headers.tokens("upgrade") != ["websocket"]:
        raise HandshakeError("the 101 does not say 'Upgrade: websocket'")
    if "upgrade" not in headers.tokens("connection"):
        raise HandshakeError("the 101 does not say 'Connection: Upgrade'")
    tokens = headers.get_list("sec-websocket-accept")
    if len(tokens) != 1 or not hmac.compare_digest(tokens[0].encode("latin-1"), _accept_token(key)):
        raise HandshakeError("the 101 does not carry the Sec-WebSocket-Accept of this handshake")
    chosen = headers.get_list("sec-websocket-protocol")
    if len(chosen) > 1 or (chosen and chosen[0] not in subprotocols):
        raise HandshakeError("the server chose a subprotocol that was not offered")
    params = ext.check_deflate(headers.get_list("sec-websocket-extensions"), compression)
    return (chosen[0] if chosen else None), params
