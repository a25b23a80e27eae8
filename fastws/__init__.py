"""fastws: a fast and strict WebSocket server, client and library for asyncio.

Names are imported when they are first used, so that ``import fastws`` is cheap.

PYTEST_DONT_REWRITE: pytest takes its plugin from this package, and without this word it would warn when the
package had been imported before.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastws._version import __version__, choose_build, warn_about_build

if "FASTWS_COMPILED" in os.environ:
    choose_build(os.environ["FASTWS_COMPILED"])
if os.environ.get("FASTWS_COMPILED") != "0":
    warn_about_build()

if TYPE_CHECKING:
    from fastws.asgi.application import ASGI
    from fastws.asgi.subscriber import subscriber
    from fastws.auth.jwt import jwt_auth
    from fastws.auth.sessions import session_auth, starlette_session
    from fastws.auth.tickets import Tickets
    from fastws.client.connect import connect
    from fastws.client.credentials import BasicAuth, BearerAuth
    from fastws.client.reconnect import Backoff, is_retryable
    from fastws.config import Compression, Limits, Settings, SlowConsumerPolicy, Timeouts
    from fastws.connection.compression_meter import CompressionUse
    from fastws.connection.flow import FlowState, SendStatus
    from fastws.connection.handlers import Handler
    from fastws.connection.stream_handlers import streaming
    from fastws.connection.websocket import WebSocket
    from fastws.errors import (
        BrokerUnavailable,
        ConcurrencyError,
        ConnectionClosed,
        ConnectionClosedError,
        ConnectionClosedOK,
        FastWSError,
        HandshakeError,
        HandshakeRefused,
        InvalidURL,
        ProxyError,
        StartupFailed,
    )
    from fastws.feed.access import FeedClient, FeedError, Grant, Publication, User, anyone
    from fastws.feed.feed import Feed
    from fastws.feed.follow import FeedFollower, follow
    from fastws.log_output import JSONFormatter, LineHandler, RequestIdFilter
    from fastws.logs import current_request
    from fastws.protocol.http.messages import Headers, Request, Response
    from fastws.protocol.websocket.events import Fragment
    from fastws.protocol.websocket.frames import CloseCode
    from fastws.publish.async_publisher import AsyncPublisher
    from fastws.publish.errors import PublishError
    from fastws.publish.page import PublishPage, publish_page
    from fastws.publish.publisher import Publisher
    from fastws.pubsub.events import (
        Ended,
        Event,
        Gap,
        Live,
        Member,
        Message,
        Position,
        Presence,
        Published,
        Removed,
        Synced,
    )
    from fastws.pubsub.follower import Follower
    from fastws.pubsub.hub import Hub
    from fastws.server.application import Application
    from fastws.server.run import run, serve_until_signal
    from fastws.server.serve import serve
    from fastws.server.server import Server
    from fastws.web.auth import basic_auth, token_auth
    from fastws.web.rate_limit import RateLimit
    from fastws.web.routes import Route
    from fastws.web.static_files import Static

_MODULES = {
    "ASGI": "asgi.application",
    "Application": "server.application",
    "AsyncPublisher": "publish.async_publisher",
    "Backoff": "client.reconnect",
    "BasicAuth": "client.credentials",
    "BearerAuth": "client.credentials",
    "BrokerUnavailable": "errors",
    "CloseCode": "protocol.websocket.frames",
    "Compression": "config",
    "CompressionUse": "connection.compression_meter",
    "ConcurrencyError": "errors",
    "ConnectionClosed": "errors",
    "ConnectionClosedError": "errors",
    "ConnectionClosedOK": "errors",
    "Ended": "pubsub.events",
    "Event": "pubsub.events",
    "FastWSError": "errors",
    "Feed": "feed.feed",
    "FeedClient": "feed.access",
    "FeedError": "feed.access",
    "FeedFollower": "feed.follow",
    "FlowState": "connection.flow",
    "Follower": "pubsub.follower",
    "Fragment": "protocol.websocket.events",
    "Gap": "pubsub.events",
    "Grant": "feed.access",
    "Handler": "connection.handlers",
    "HandshakeError": "errors",
    "HandshakeRefused": "errors",
    "Headers": "protocol.http.messages",
    "Hub": "pubsub.hub",
    "InvalidURL": "errors",
    "JSONFormatter": "log_output",
    "Limits": "config",
    "LineHandler": "log_output",
    "Live": "pubsub.events",
    "Member": "pubsub.events",
    "Message": "pubsub.events",
    "Position": "pubsub.events",
    "Presence": "pubsub.events",
    "ProxyError": "errors",
    "Publication": "feed.access",
    "PublishError": "publish.errors",
    "PublishPage": "publish.page",
    "Published": "pubsub.events",
    "Publisher": "publish.publisher",
    "RateLimit": "web.rate_limit",
    "Removed": "pubsub.events",
    "Request": "protocol.http.messages",
    "RequestIdFilter": "log_output",
    "Response": "protocol.http.messages",
    "Route": "web.routes",
    "SendStatus": "connection.flow",
    "Server": "server.server",
    "Settings": "config",
    "SlowConsumerPolicy": "config",
    "StartupFailed": "errors",
    "Static": "web.static_files",
    "Synced": "pubsub.events",
    "Tickets": "auth.tickets",
    "Timeouts": "config",
    "User": "feed.access",
    "WebSocket": "connection.websocket",
    "anyone": "feed.access",
    "basic_auth": "web.auth",
    "connect": "client.connect",
    "current_request": "logs",
    "follow": "feed.follow",
    "is_retryable": "client.reconnect",
    "jwt_auth": "auth.jwt",
    "publish_page": "publish.page",
    "run": "server.run",
    "serve": "server.serve",
    "serve_until_signal": "server.run",
    "session_auth": "auth.sessions",
    "starlette_session": "auth.sessions",
    "streaming": "connection.stream_handlers",
    "subscriber": "asgi.subscriber",
    "token_auth": "web.auth",
}

__all__ = [
    "ASGI",
    "Application",
    "AsyncPublisher",
    "Backoff",
    "BasicAuth",
    "BearerAuth",
    "BrokerUnavailable",
    "CloseCode",
    "Compression",
    "CompressionUse",
    "ConcurrencyError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "Ended",
    "Event",
    "FastWSError",
    "Feed",
    "FeedClient",
    "FeedError",
    "FeedFollower",
    "FlowState",
    "Follower",
    "Fragment",
    "Gap",
    "Grant",
    "Handler",
    "HandshakeError",
    "HandshakeRefused",
    "Headers",
    "Hub",
    "InvalidURL",
    "JSONFormatter",
    "Limits",
    "LineHandler",
    "Live",
    "Member",
    "Message",
    "Position",
    "Presence",
    "ProxyError",
    "Publication",
    "PublishError",
    "PublishPage",
    "Published",
    "Publisher",
    "RateLimit",
    "Removed",
    "Request",
    "RequestIdFilter",
    "Response",
    "Route",
    "SendStatus",
    "Server",
    "Settings",
    "SlowConsumerPolicy",
    "StartupFailed",
    "Static",
    "Synced",
    "Tickets",
    "Timeouts",
    "User",
    "WebSocket",
    "__version__",
    "anyone",
    "basic_auth",
    "connect",
    "current_request",
    "follow",
    "is_retryable",
    "jwt_auth",
    "publish_page",
    "run",
    "serve",
    "serve_until_signal",
    "session_auth",
    "starlette_session",
    "streaming",
    "subscriber",
    "token_auth",
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
