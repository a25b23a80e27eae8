"""The types of ASGI 3, and the scope of a request."""

from __future__ import annotations

import asyncio
import base64
import re
import textwrap
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from fastws.protocol.http.addresses import unmapped
from fastws.protocol.http.headers import raw_fields
from fastws.protocol.http.messages import Request

__all__ = [
    "Application",
    "ClientDisconnected",
    "Event",
    "Receive",
    "Scope",
    "Send",
    "address",
    "is_disconnect",
    "scope_of",
    "tls_extension",
]

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: The key of ``scope["extensions"]`` that leads to the session of a WebSocket of ours.
OURS = "fastws"


class ClientDisconnected(OSError):
    """``send`` was called, and the client is gone (the ASGI specification 2.4 wants an ``OSError``)."""


def is_disconnect(exc: BaseException) -> bool:
    """Return whether an application that has lost its client says only that with ``exc``.

    Frameworks have exceptions of their own for it: ``ClientDisconnect`` and ``WebSocketDisconnect`` of
    Starlette, ``RequestAborted`` of Django, ``MessageAborted`` of BlackSheep. A ``CancelledError`` is what
    remains of a task that the framework has cancelled because the client had left.
    """
    if isinstance(exc, BaseExceptionGroup):
        return all(map(is_disconnect, exc.exceptions))
    if isinstance(exc, (ClientDisconnected, asyncio.CancelledError)):
        return True
    if any(word in type(exc).__name__ for word in ("Disconnect", "Aborted")):
        return True
    return exc.__cause__ is not None and is_disconnect(exc.__cause__)


def address(peer: Any) -> tuple[str, int] | None:
    """Return host and port, or None for what has none (a Unix socket)."""
    if isinstance(peer, (tuple, list)) and len(peer) >= 2:
        return (str(peer[0]), int(peer[1]))
    return None


#: Short names of a certificate's attributes (RFC 4514, section 3).
_ATTRIBUTES = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}
_TLS_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


def tls_extension(request: Request) -> dict[str, Any]:
    """Return the TLS extension of ASGI, ``{"tls": {...}}``; empty where the connection is not one of TLS.

    ``server_cert`` is None: Python's ``ssl`` does not tell it.
    """
    tls = request.tls
    if isinstance(tls, bool):
        return {}
    der = tls.peer_certificate_der
    subject = (tls.peer_certificate or {}).get("subject")
    chain = []
    if der is not None:
        body = textwrap.fill(base64.b64encode(der).decode(), 64)
        chain.append(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    return {
        "tls": {
            "server_cert": None,
            "client_cert_chain": chain,
            "client_cert_name": None if subject is None else _distinguished_name(subject),
            "client_cert_error": None,
            "tls_version": _TLS_VERSIONS.get(tls.version or ""),
            "cipher_suite": tls.cipher_suite,
        }
    }


def _distinguished_name(subject: Iterable[Iterable[tuple[str, str]]]) -> str:
    """Return a certificate's subject as a text (RFC 4514, section 2): the last attribute is the first."""
    return ",".join(
        "+".join(f"{_ATTRIBUTES.get(name, name)}={_escaped(value)}" for name, value in relative)
        for relative in reversed(list(subject))
    )


def _escaped(value: str) -> str:
    """RFC 4514, section 2.4."""
    text = re.sub(r'([",+;<>\\])', r"\\\1", value).replace("\0", "\\00")
    text = re.sub(r"^([ #])", r"\\\1", text)
    return text[:-1] + "\\ " if text.endswith(" ") and len(value) > 1 else text


def scope_of(
    request: Request, transport: Any, root_path: str, state: dict[str, Any], *, spec_version: str
) -> dict[str, Any]:
    """Return what the scopes of HTTP and WebSocket have in common; ``state`` is copied."""
    sockname = unmapped(transport.get_extra_info("sockname"))
    path, query = request.path, request.query
    return {
        "asgi": {"version": "3.0", "spec_version": spec_version},
        "http_version": request.http_version,
        "scheme": request.scheme,
        "path": root_path + path,
        "raw_path": root_path.encode() + request.raw_path,
        "query_string": query.encode("latin-1"),
        "root_path": root_path,
        "headers": [(name.lower(), value) for name, value in raw_fields(request.raw_head)],
        "client": address(request.peer),
        "server": address(sockname) or ((str(sockname), None) if sockname else None),
        "state": state.copy(),
    }
