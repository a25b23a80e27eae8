"""``fastws serve --publish``: a listener of its own, where other programs publish."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

import click

from fastws.cli import logs
from fastws.cli.errors import CannotStart, os_error_text
from fastws.cli.listeners import (
    ListenAddress,
    UnixAddress,
    open_listeners,
    parse_address,
    unix_files,
)
from fastws.cli.options import adds, option
from fastws.server.beside import Beside
from fastws.server.descriptors import remove_own
from fastws.server.settings import settings_from

__all__ = ["Publishing", "check_publish", "publish_beside", "publish_options", "publish_sockets", "say"]

log = logging.getLogger("fastws.error")

#: Connections of publishers, to each process.
MAX_CONNECTIONS = 1024
BACKLOG = 128

#: Sockets that listen, and for each address what to say.
Publishing = tuple[list[socket.socket], list[str]]

OPTIONS = [
    option(
        "--publish",
        section="Publishing",
        metavar="ADDRESS",
        multiple=True,
        help="Take messages by POST /publish at [HOST:]PORT, unix:PATH or fd://N, for programs that are not "
        "this one. A port needs --publish-token-file. Repeatable.",
    ),
    option(
        "--publish-token-file",
        section="Publishing",
        metavar="FILE",
        help="Bearer tokens: on each line one, and the patterns of topics that it may publish to.",
    ),
    option(
        "--publish-hub",
        section="Publishing",
        metavar="NAME",
        default="default",
        help="The hub of the application that they are published to.",
    ),
]

publish_options = adds(OPTIONS)


def addresses_of(options: dict[str, Any]) -> list[ListenAddress]:
    """Parse ``--publish``. Raises `click.UsageError`."""
    return [address_of(text) for text in options["publish"]]


def address_of(text: str) -> ListenAddress:
    if text.isascii() and text.isdigit():
        text = f"127.0.0.1:{text}"
    elif text.startswith(("/", "./")):
        text = f"unix:{text}"
    try:
        return parse_address(text)
    except click.UsageError as error:
        raise click.UsageError(error.message.replace("--bind", "--publish", 1)) from None


def check_publish(options: dict[str, Any]) -> None:
    """Raise `click.UsageError` and `CannotStart` for what cannot be."""
    addresses = addresses_of(options)
    path = options["publish_token_file"]
    if path is None:
        for address in addresses:
            if not isinstance(address, UnixAddress):
                raise click.UsageError(
                    f"--publish {address} needs --publish-token-file: only a Unix socket has an owner who "
                    "alone may use it"
                )
    elif not addresses:
        raise click.UsageError("--publish-token-file needs --publish, where to listen")
    else:
        tokens_of(options)


def tokens_of(options: dict[str, Any]) -> Any:
    """Read the tokens; None where there is no file. Raises `CannotStart`."""
    path = options["publish_token_file"]
    if path is None:
        return None
    from fastws.publish.tokens import TokenFile

    try:
        return TokenFile(path)
    except OSError as error:
        raise CannotStart(f"--publish-token-file {path}: {os_error_text(error)}") from error
    except ValueError as error:
        raise CannotStart(f"--publish-token-file {path}: {error}") from error


@contextlib.contextmanager
def publish_sockets(options: dict[str, Any], scheme: str) -> Iterator[Publishing]:
    """Listen while the block runs. Raises `CannotStart`."""
    addresses = addresses_of(options)
    # A socket without tokens is its owner's. One with tokens is everybody's, as a port is.
    before = os.umask(0o177 if options["publish_token_file"] is None else 0o111) if addresses else None
    try:
        listeners = open_listeners(addresses, BACKLOG)
    finally:
        if before is not None:
            os.umask(before)
    files = unix_files(addresses)
    sockets = [sock for listener in listeners for sock in listener.sockets]
    try:
        yield sockets, [listener.url(scheme) for listener in listeners]
    finally:
        for sock in sockets:
            sock.close()
        for path, ours in files:
            remove_own(path, ours)


def say(urls: list[str]) -> None:
    """Say where programs publish."""
    for url in urls:
        logs.say(f"Publishing at {url}")


def publish_beside(options: dict[str, Any], sockets: list[socket.socket], tls: Any) -> list[Beside]:
    """What listens at those sockets. Raises `CannotStart`."""
    if not sockets:
        return []
    from fastws.publish.page import PublishPage

    name = options["publish_hub"]
    page = PublishPage(lambda: hub_called(name), tokens_of(options))
    settings = settings_from(access_log=options["access_log"], limit_concurrency=MAX_CONNECTIONS)
    unix = getattr(socket, "AF_UNIX", None)
    addresses = [
        {"sock": sock, "ssl": None if sock.family == unix else tls, "backlog": BACKLOG} for sock in sockets
    ]
    return [Beside([page.route()], addresses, settings)]


def hub_called(name: str) -> Any:
    """Return the hub of this process that is called so. Raises `Refusal`."""
    from fastws.publish.items import Refusal
    from fastws.pubsub.kept import HUBS

    found = [hub for hub in HUBS if hub.name == name]
    if len(found) == 1:
        return found[0]
    reason = f"this server has {'no hub' if not found else f'{len(found)} hubs'} called {name!r}"
    log.error("--publish-hub: %s; there are %s", reason, sorted({hub.name for hub in HUBS}))
    raise Refusal("unavailable", reason)
