"""From the options of ``fastws serve`` to a running server, and to its exit code."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import importlib.util
import os
import ssl
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from fastws.apps import builtin
from fastws.cli import logs
from fastws.cli.app_loader import load
from fastws.cli.errors import CannotStart, os_error_text
from fastws.cli.interface import as_app
from fastws.cli.limits import limits_of, timeouts_of
from fastws.cli.listeners import Bind, FDBind, TCPBind, UnixBind, open_listeners, parse_bind
from fastws.cli.tls import server_context
from fastws.config import Compression, Settings
from fastws.connection.handlers import as_handler
from fastws.errors import StartupFailed
from fastws.server.descriptors import connections_that_fit
from fastws.server.run import serve_until_signal
from fastws.server.serve import Server
from fastws.server.settings import settings_from
from fastws.server.site import as_routes
from fastws.web.auth import basic_auth, token_auth
from fastws.web.routes import Authorize, Route, Router
from fastws.web.static_files import Static

__all__ = ["start"]


def start(app: str | None, options: dict[str, Any]) -> int:
    """Run until a signal. Everything that can be wrong is looked at before the first socket opens."""
    binds = choose_binds(options)
    factory = loop_factory(options["loop"])
    tls = tls_of(options)
    logs.configure(options["log_level"], access_log=options["access_log"])
    settings = settings_of(options)
    routes = routes_of(app, options, settings)
    listeners = open_listeners(binds, options["backlog"])
    scheme = "http" if tls is None else "https"
    addresses = [
        {"sock": sock, "ssl": tls, "backlog": options["backlog"]}
        for listener in listeners
        for sock in listener.sockets
    ]

    def started(server: Server) -> None:
        # On stderr and whatever the log level: it tells which port 0 became.
        for listener in listeners:
            click.echo(f"Serving on {listener.address(scheme)} (press Ctrl-C to stop)", err=True)

    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            grace = options["timeout_graceful_shutdown"]
            return runner.run(serve_until_signal(routes, addresses, settings, started=started, grace=grace))
    except StartupFailed as error:
        raise CannotStart(f"{app} cannot be served: {error}") from error
    finally:
        for bind in binds:
            if isinstance(bind, UnixBind):
                with contextlib.suppress(OSError):
                    os.unlink(bind.path)


def choose_binds(options: dict[str, Any]) -> list[Bind]:
    """Where to listen: ``--bind``, ``--uds`` and ``--fd``, or else ``--host`` and ``--port``."""
    binds = [parse_bind(text) for text in options["bind"]]
    if options["uds"]:
        binds.append(UnixBind(options["uds"]))
    if options["fd"] is not None:
        binds.append(FDBind(options["fd"]))
    if not binds:
        return [TCPBind(options["host"].strip("[]"), options["port"])]
    context = click.get_current_context()
    for name in ("host", "port"):
        # From the environment they are defaults; beside --bind on one line they are a contradiction.
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} does not go with --bind, --uds or --fd")
    return binds


def tls_of(options: dict[str, Any]) -> ssl.SSLContext | None:
    certfile, keyfile = options["ssl_certfile"], options["ssl_keyfile"]
    if certfile is None:
        if keyfile is not None:
            raise click.UsageError("--ssl-keyfile needs --ssl-certfile")
        return None
    return server_context(certfile, keyfile, options["ssl_keyfile_password"])


def settings_of(options: dict[str, Any]) -> Settings:
    return settings_from(
        limits=limits_of(options),
        timeouts=timeouts_of(options),
        compression=Compression() if options["ws_per_message_deflate"] else None,
        origins=options["origin"],
        require_origin=options["require_origin"],
        headers=options["header"],
        access_log=options["access_log"],
        limit_concurrency=options["limit_concurrency"] or connections_that_fit(),
        limit_connections_per_address=options["limit_connections_per_address"],
        limit_handshakes_per_address=options["limit_handshakes_per_address"],
        proxy_headers=options["proxy_headers"],
        forwarded_allow_ips=options["forwarded_allow_ips"],
    )


def routes_of(app: str | None, options: dict[str, Any], settings: Settings) -> list[Any]:
    """The built-in routes or the person's own, with the folders of ``--static``."""
    folders = [static_of(text) for text in options["static"]]
    if app is None:
        if options["factory"]:
            raise click.UsageError("--factory needs MODULE:ATTR")
        return protected(builtin.routes(folders), options)
    given = load(app, factory=options["factory"], app_dir=options["app_dir"])
    given = as_app(given, options["interface"], app, **mount_of(options))
    try:
        routes = [*as_routes(given), *folders]
        Router(routes, settings, as_handler)
    except (TypeError, ValueError) as error:
        raise CannotStart(f"{app} cannot be served: {error}") from error
    return protected(routes, options)


def mount_of(options: dict[str, Any]) -> dict[str, Any]:
    """What only an ASGI application is told. It takes bodies of any size unless the option is given."""
    source = click.get_current_context().get_parameter_source("limit_body_size")
    limited = source is not None and source is not ParameterSource.DEFAULT
    return {
        "root_path": options["root_path"],
        "lifespan": options["lifespan"],
        "max_body_size": options["limit_body_size"] if limited else None,
    }


def protected(routes: list[Any], options: dict[str, Any]) -> list[Any]:
    """The routes, those without an ``authorize`` of their own with the one of ``--auth-…``."""
    authorize = authorize_of(options)
    if authorize is None:
        return list(routes)
    return [_with_authorize(route, authorize) if isinstance(route, Route) else route for route in routes]


def _with_authorize(route: Route, authorize: Authorize) -> Route:
    changed = copy.copy(route)
    changed.authorize = route.authorize or authorize
    return changed


def authorize_of(options: dict[str, Any]) -> Authorize | None:
    """What ``--auth-basic`` or ``--auth-token`` asks for. No message repeats a secret."""
    users, tokens = options["auth_basic"], options["auth_token"]
    if users and tokens:
        raise click.UsageError("--auth-basic does not go with --auth-token")
    if not all(":" in user for user in users):
        raise click.UsageError("--auth-basic is written USER:PASSWORD")
    if not all(tokens):
        raise click.UsageError("--auth-token is not empty")
    if users:
        return basic_auth("fastws", dict(user.split(":", 1) for user in users))
    return token_auth(tokens, query="token") if tokens else None


def static_of(text: str) -> Static:
    """``/prefix=DIR`` or ``DIR``. Raises `CannotStart` if there is no such directory."""
    prefix, equals, directory = text.partition("=")
    if not (equals and text.startswith("/")) or os.path.isdir(text):
        prefix, directory = "/static", text
    try:
        return Static(prefix, directory)
    except OSError as error:
        if not os.path.exists(directory):
            raise CannotStart(f"--static {directory}: no such directory") from error
        raise CannotStart(f"--static {directory}: {os_error_text(error)}") from error


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """``auto`` is uvloop where it is installed."""
    if name != "asyncio" and importlib.util.find_spec("uvloop") is not None:
        import uvloop

        return uvloop.new_event_loop
    if name == "uvloop":
        raise CannotStart("--loop uvloop: uvloop is not installed")
    return asyncio.new_event_loop
