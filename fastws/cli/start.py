"""From the options of ``fastws serve`` to a running server."""

from __future__ import annotations

import importlib.util
import os
import ssl
from typing import Any

import click
from click.core import ParameterSource

from fastws.cli import logs
from fastws.cli.binds import Bind, FDBind, Listener, TCPBind, UnixBind, open_listeners, parse_bind
from fastws.cli.errors import CannotStart
from fastws.cli.load import load
from fastws.cli.options import seconds_or_never
from fastws.cli.tls import server_context
from fastws.config import Compression, Limits, Timeouts

__all__ = ["start"]


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


def limits_of(options: dict[str, Any]) -> Limits:
    return Limits(
        max_message_size=options["ws_max_size"],
        receive_queue=options["ws_max_queue"],
        send_queue=options["ws_send_queue"],
        send_queue_bytes=options["ws_send_queue_bytes"],
    )


def timeouts_of(options: dict[str, Any]) -> Timeouts:
    return Timeouts(
        ping_interval=seconds_or_never(options["ws_ping_interval"]),
        ping_timeout=seconds_or_never(options["ws_ping_timeout"]),
    )


def tls_of(options: dict[str, Any]) -> ssl.SSLContext | None:
    certfile, keyfile = options["ssl_certfile"], options["ssl_keyfile"]
    if certfile is None:
        if keyfile is not None:
            raise click.UsageError("--ssl-keyfile needs --ssl-certfile")
        return None
    return server_context(certfile, keyfile, options["ssl_keyfile_password"])


def static_of(text: str) -> tuple[str, str]:
    """``/prefix=DIR`` or ``DIR`` as prefix and directory. Raises `CannotStart` if it is none."""
    prefix, equals, directory = text.partition("=")
    if not (equals and text.startswith("/")) or os.path.isdir(text):
        prefix, directory = "/static", text
    if not os.path.isdir(directory):
        what = "is not a directory" if os.path.exists(directory) else "no such directory"
        raise CannotStart(f"--static {directory}: {what}")
    return prefix.rstrip("/") or "/", directory


def check_loop(name: str) -> None:
    if name == "uvloop" and importlib.util.find_spec("uvloop") is None:
        raise CannotStart("--loop uvloop: uvloop is not installed")


def announce(listeners: list[Listener], scheme: str) -> None:
    """The address to open. On stderr and whatever the log level: it tells which port 0 became."""
    for listener in listeners:
        click.echo(f"Serving on {listener.address(scheme)} (press Ctrl-C to stop)", err=True)
