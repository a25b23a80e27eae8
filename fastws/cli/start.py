"""``fastws serve`` after its options are read: start the server and return the exit code."""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import click
from click.core import ParameterSource

from fastws.apps import builtin
from fastws.cli import logs
from fastws.cli.app_loader import AsyncFactory, as_app, load_app
from fastws.cli.brokers import choose_broker, joined
from fastws.cli.certificates import silence_bad_server_names
from fastws.cli.config_tables import (
    check_listener_routes,
    check_topics,
    set_topics,
    tables,
    with_route_tables,
)
from fastws.cli.errors import CannotStart, os_error_text
from fastws.cli.limits import limits_of, timeouts_of
from fastws.cli.listeners import (
    FDAddress,
    ListenAddress,
    TCPAddress,
    UnixAddress,
    announce,
    open_listeners,
    parse_address,
    unix_files,
)
from fastws.cli.observing import Observing
from fastws.cli.publish_listener import Publishing, check_publish, publish_beside, publish_sockets, say
from fastws.cli.reread import Reread
from fastws.cli.secret_files import secret_lines
from fastws.cli.sources import mistyped_variables
from fastws.cli.ways import Ways, listener_addresses
from fastws.cli.worker_options import without_effect
from fastws.config import Compression, Settings
from fastws.connection.handlers import as_handler
from fastws.errors import StartupFailed
from fastws.loop.event_loops import loop_factory
from fastws.server.acceptor import Acceptor
from fastws.server.application import Application
from fastws.server.descriptors import connections_that_fit, remove_own
from fastws.server.run import serve_until_signal
from fastws.server.send_buffer import check_send_buffer
from fastws.server.server import Server
from fastws.server.settings import settings_from
from fastws.server.site import as_routes
from fastws.web.auth import basic_auth, token_auth
from fastws.web.routes import Authorize, Route, Router
from fastws.web.static_files import Static
from fastws.workers.notify import notify_ready, notify_reloading, notify_stopping
from fastws.workers.terminal import Terminal

__all__ = ["start"]

log = logging.getLogger("fastws.error")


def start(app: str | None, options: dict[str, Any]) -> int:
    """Run until a signal and return the exit code.

    All options are checked before the first socket opens. Raises `click.UsageError` and `CannotStart`.
    """
    addresses = choose_addresses(options)
    check_publish(options)
    options = prepared(options)
    loops = new_loops(options)
    ways = Ways(options)
    logs.check_log_options(options)
    logs.configure(options)
    for line in mistyped_variables(click.get_current_context()):
        log.warning("%s", line)
    for line in ways.conflicts():
        log.warning("--ssl-certfile: %s", line)
    settings = make_settings(options)
    observing = Observing(options)
    if options["workers"] > 1 or options["reload"]:
        from fastws.cli.supervise import supervise

        make_authorize(options)
        with observing.opened():
            again = Reread(options, prepared, CHECKS)
            return supervise(app, options, addresses, ways, observing, again)
    if ignored := without_effect(options):
        log.warning(
            "one worker has no supervisor that replaces it, so these have no effect: %s", ", ".join(ignored)
        )
    silence_bad_server_names()
    observing.begin_measuring()
    join = joined(options["broker"])
    routes = make_routes(app, options, settings)
    try:
        with observing.opened(), publish_sockets(options, ways.scheme) as publishing:
            return serve_here(
                app, routes, addresses, settings, ways, loops, options, observing, publishing, join
            )
    finally:
        if isinstance(routes, AsyncFactory):
            routes.close()


def prepared(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with what follows from them and their sources. Raises `click.UsageError`."""
    return {**options, "asgi_body_size": asgi_body_size(options), "broker": choose_broker(options)}


def serve_here(
    app: str | None,
    routes: Any,
    addresses: list[ListenAddress],
    settings: Settings,
    ways: Ways,
    loops: Callable[[], asyncio.AbstractEventLoop],
    options: dict[str, Any],
    observing: Observing,
    publishing: Publishing,
    join: Callable[[Coroutine[Any, Any, int]], Coroutine[Any, Any, int]],
) -> int:
    """Serve in this process until a signal. Raises `CannotStart`."""
    listeners = open_listeners(addresses, options["backlog"])
    files = unix_files(addresses)
    arguments = ways.arguments(lambda proxies: None if proxies is None else Acceptor(proxies=proxies))
    sockets = [
        {"sock": sock, **arguments[ways.number(index)]}
        for index, listener in enumerate(listeners)
        for sock in listener.sockets
    ]
    hang_up = HangUp(ways)

    def started(server: Server) -> None:
        hang_up.take_signal()  # before anybody is told that we are here
        announce(listeners, ways.schemes, options)
        observing.serving(server)
        say(publishing[1])
        notify_ready()

    def stopping(server: Server) -> None:
        notify_stopping()

    try:
        with asyncio.Runner(loop_factory=loops) as runner:
            serving = serve_until_signal(
                routes,
                sockets,
                settings,
                factory=isinstance(routes, AsyncFactory),
                started=started,
                stopping=stopping,
                grace=options["timeout_graceful_shutdown"],
                beside=publish_beside(options, publishing[0], ways.context),
            )
            return runner.run(observing.around(join(ways.watched(serving))))
    except StartupFailed as error:
        raise startup_error(app, error) from error
    finally:
        for path, ours in files:
            remove_own(path, ours)


def startup_error(app: str | None, error: StartupFailed) -> CannotStart:
    """What to say of an application that cannot start; the traceback of its ``on_startup`` hook is logged."""
    if error.__cause__ is not None:
        log.error("%s cannot be served", app, exc_info=error.__cause__)
    return CannotStart(f"{app} cannot be served: {error}")


class HangUp:
    """SIGHUP in a single process renews the certificates; a hang-up of the terminal is a clean stop."""

    def __init__(self, ways: Ways) -> None:
        self._terminal = Terminal()
        self._ways = ways

    def take_signal(self) -> None:
        """Take the signal, on the running loop."""
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_signal)

    def _on_signal(self) -> None:
        if self._terminal.hung_up():
            signal.raise_signal(signal.SIGTERM)
            return
        notify_reloading()
        self._ways.reload()
        notify_ready()
        log.info("SIGHUP: one process reads its certificates again and no more; --workers 2 reloads all")


def choose_addresses(options: dict[str, Any]) -> list[ListenAddress]:
    """Where to listen: the tables; ``--bind``, ``--uds`` and ``--fd``; or ``--host`` and ``--port``."""
    if tables(options)["listeners"]:
        return listener_addresses(options)
    addresses = [parse_address(text) for text in options["bind"]]
    if options["uds"]:
        addresses.append(UnixAddress(options["uds"]))
    if options["fd"] is not None:
        addresses.append(FDAddress(options["fd"]))
    if not addresses:
        return [TCPAddress(options["host"].strip("[]"), options["port"])]
    context = click.get_current_context()
    for name in ("host", "port"):
        # In the environment they are defaults. On the command line they contradict --bind.
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} does not go with --bind, --uds or --fd")
    return addresses


def make_settings(options: dict[str, Any]) -> Settings:
    try:
        check_send_buffer(options["notsent_lowat"])
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return settings_from(
        limits=limits_of(options),
        timeouts=timeouts_of(options),
        compression=Compression() if options["ws_per_message_deflate"] else None,
        origins=options["origin"],
        allowed_hosts=options["allowed_host"],
        require_origin=options["require_origin"],
        headers=options["header"],
        access_log=options["access_log"],
        limit_concurrency=options["limit_concurrency"] or connections_that_fit(),
        limit_connections_per_address=options["limit_connections_per_address"],
        limit_handshakes_per_address=options["limit_handshakes_per_address"],
        proxy_headers=options["proxy_headers"],
        forwarded_allow_ips=options["forwarded_allow_ips"],
        socket_send_buffer=options["socket_send_buffer"],
        notsent_lowat=options["notsent_lowat"],
        memory_budget=options["memory_budget"],
    )


def make_routes(app: str | None, options: dict[str, Any], settings: Settings) -> Any:
    """The built-in routes or the user's own, with the folders of ``--static``.

    For an async factory an `AsyncFactory` of those.
    """
    folders = [parse_static(text) for text in options["static"]]
    set_topics(options)
    if app is None:
        if options["factory"]:
            raise click.UsageError("--factory needs MODULE:ATTR")
        own = builtin.application(folders)
        routes = with_route_tables(as_routes(own), options)
        routes = configured(routes, options, Router(routes, settings, as_handler))
        return with_hooks_of(own, routes, options)
    given = load_app(app, factory=options["factory"], app_dir=options["app_dir"])
    if isinstance(given, AsyncFactory):
        given.finish = lambda value: routes_of(value, app, folders, options, settings)
        return given
    return routes_of(given, app, folders, options, settings)


def routes_of(
    given: Any, app: str, folders: list[Static], options: dict[str, Any], settings: Settings
) -> Any:
    """The user's own routes, checked: those of what ``app`` names, and ``folders``. Raises `CannotStart`."""
    given = as_app(given, options["interface"], app, **asgi_options(options))
    try:
        routes = with_route_tables([*as_routes(given), *folders], options)
        router = Router(routes, settings, as_handler)
    except (TypeError, ValueError) as error:
        raise CannotStart(f"{app} cannot be served: {error}") from error
    routes = configured(routes, options, router)
    return with_hooks_of(given, routes, options) if isinstance(given, Application) else routes


def configured(routes: list[Any], options: dict[str, Any], router: Router) -> list[Any]:
    """The routes as the command line wants them, once all topics are declared. Raises `CannotStart`."""
    check_topics()
    check_listener_routes(options, router.paths)
    return with_authorize(routes, options)


def with_hooks_of(given: Application, routes: list[Any], options: dict[str, Any]) -> Application:
    """The application with these routes; ``--lifespan-failure continue`` holds for its tasks too."""
    changed = copy.copy(given)
    changed.routes = routes
    if options["lifespan_failure"] == "continue":
        changed.lifespan_failure = "continue"
    return changed


def asgi_body_size(options: dict[str, Any]) -> int | None:
    """The limit on a body of an ASGI application: without ``--limit-body-size`` it takes any size."""
    source = click.get_current_context().get_parameter_source("limit_body_size")
    limited = source is not None and source is not ParameterSource.DEFAULT
    return options["limit_body_size"] if limited else None


def asgi_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options of an ASGI application."""
    return {
        "root_path": options["root_path"],
        "lifespan": options["lifespan"],
        "lifespan_failure": options["lifespan_failure"],
        "max_body_size": options["asgi_body_size"],
    }


def with_authorize(routes: list[Any], options: dict[str, Any]) -> list[Any]:
    """The routes. Those without their own ``authorize`` get that of ``--auth-basic`` or ``--auth-token``."""
    authorize = make_authorize(options)
    if authorize is None:
        return list(routes)
    return [_copy_with_authorize(route, authorize) if isinstance(route, Route) else route for route in routes]


def _copy_with_authorize(route: Route, authorize: Authorize) -> Route:
    changed = copy.copy(route)
    changed.authorize = route.authorize or authorize
    return changed


def make_authorize(options: dict[str, Any]) -> Authorize | None:
    """The check of ``--auth-basic`` or ``--auth-token``. No text of a click.UsageError holds a secret."""
    users = secret_lines("--auth-basic-file", options["auth_basic"], options["auth_basic_file"])
    tokens = secret_lines("--auth-token-file", options["auth_token"], options["auth_token_file"])
    if users and tokens:
        raise click.UsageError("--auth-basic does not go with --auth-token")
    if not all(":" in user for user in users):
        raise click.UsageError("--auth-basic is written USER:PASSWORD")
    if not all(tokens):
        raise click.UsageError("--auth-token is not empty")
    if users:
        return basic_auth("fastws", dict(user.split(":", 1) for user in users))
    return token_auth(tokens, query="token") if tokens else None


def parse_static(text: str) -> Static:
    """Parse ``/prefix=DIR`` or ``DIR``. Raises `CannotStart` where there is no such directory."""
    prefix, equals, directory = text.partition("=")
    if not (equals and text.startswith("/")) or os.path.isdir(text):
        prefix, directory = "/static", text
    try:
        return Static(prefix, directory)
    except OSError as error:
        if not os.path.exists(directory):
            raise CannotStart(f"--static {directory}: no such directory") from error
        raise CannotStart(f"--static {directory}: {os_error_text(error)}") from error


def new_loops(options: dict[str, Any]) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the event loop of ``--loop``. Raises `CannotStart`."""
    try:
        return loop_factory(options["loop"])
    except ImportError:
        raise CannotStart("--loop uvloop: uvloop is not installed") from None


#: What new options have to pass before a reload takes them.
CHECKS = (choose_addresses, new_loops, Ways, logs.check_log_options, make_settings, make_authorize)
