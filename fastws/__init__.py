"""fastws: a fast and strict WebSocket server, client and library for asyncio.

Names are imported when they are first used, so that ``import fastws`` is cheap.

(For pytest, whose plugin this package has, and which warns where it was imported before:
PYTEST_DONT_REWRITE.)
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastws._version import __version__

if "FASTWS_COMPILED" in os.environ:
    from fastws import _build

    _build.choose(os.environ["FASTWS_COMPILED"])

if TYPE_CHECKING:
    from fastws.asgi.application import ASGI
    from fastws.asgi.members import member
    from fastws.auth import basic_auth, token_auth
    from fastws.client import connect
    from fastws.config import Compression, Limits, Settings, SlowPolicy, Timeouts
    from fastws.credentials import BasicAuth, BearerAuth
    from fastws.errors import (
        ConcurrencyError,
        ConnectionClosed,
        ConnectionClosedError,
        ConnectionClosedOK,
        FastWSError,
        HandshakeError,
        InvalidURL,
        ProxyError,
        Refused,
        StartupFailed,
    )
    from fastws.handlers import Handler
    from fastws.hub import Hub
    from fastws.outbox import SendStatus
    from fastws.protocol.events import Fragment
    from fastws.protocol.frames import CloseCode
    from fastws.protocol.messages import Headers, Request, Response
    from fastws.reconnect import Backoff, worth_retrying
    from fastws.routes import Route
    from fastws.server import Server, run, serve
    from fastws.static_files import Static
    from fastws.stream_handlers import streaming
    from fastws.websocket import WebSocket

_MODULES = {
    "ASGI": "asgi.application",
    "Backoff": "reconnect",
    "BasicAuth": "credentials",
    "BearerAuth": "credentials",
    "CloseCode": "protocol.frames",
    "Compression": "config",
    "ConcurrencyError": "errors",
    "ConnectionClosed": "errors",
    "ConnectionClosedError": "errors",
    "ConnectionClosedOK": "errors",
    "FastWSError": "errors",
    "Fragment": "protocol.events",
    "Handler": "handlers",
    "HandshakeError": "errors",
    "Headers": "protocol.messages",
    "Hub": "hub",
    "InvalidURL": "errors",
    "Limits": "config",
    "ProxyError": "errors",
    "Refused": "errors",
    "Request": "protocol.messages",
    "Response": "protocol.messages",
    "Route": "routes",
    "SendStatus": "outbox",
    "Server": "server",
    "Settings": "config",
    "SlowPolicy": "config",
    "StartupFailed": "errors",
    "Static": "static_files",
    "Timeouts": "config",
    "WebSocket": "websocket",
    "basic_auth": "auth",
    "connect": "client",
    "member": "asgi.members",
    "run": "server",
    "serve": "server",
    "streaming": "stream_handlers",
    "token_auth": "auth",
    "worth_retrying": "reconnect",
}

__all__ = [
    "ASGI",
    "Backoff",
    "BasicAuth",
    "BearerAuth",
    "CloseCode",
    "Compression",
    "ConcurrencyError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "FastWSError",
    "Fragment",
    "Handler",
    "HandshakeError",
    "Headers",
    "Hub",
    "InvalidURL",
    "Limits",
    "ProxyError",
    "Refused",
    "Request",
    "Response",
    "Route",
    "SendStatus",
    "Server",
    "Settings",
    "SlowPolicy",
    "StartupFailed",
    "Static",
    "Timeouts",
    "WebSocket",
    "__version__",
    "basic_auth",
    "connect",
    "member",
    "run",
    "serve",
    "streaming",
    "token_auth",
    "worth_retrying",
]


if not TYPE_CHECKING:
    # Type checkers would believe in every name.
    def __getattr__(name: str) -> Any:
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module 'fastws' has no attribute {name!r}")
        value = getattr(import_module(f"fastws.{module}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
