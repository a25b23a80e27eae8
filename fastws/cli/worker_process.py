"""What a worker process runs: ``fastws serve`` with the sockets and options of its supervisor."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any

import click

from fastws.cli import logs
from fastws.cli.app_loader import AsyncFactory
from fastws.cli.certificates import silence_bad_server_names
from fastws.cli.start import (
    make_routes,
    make_settings,
    new_loops,
    startup_error,
)
from fastws.cli.ways import Ways
from fastws.errors import StartupFailed
from fastws.pubsub.bus import Bus, install
from fastws.pubsub.keeper.client import KeeperClient
from fastws.server.acceptor import Acceptor
from fastws.server.shared_page import Membership, SharedPage
from fastws.workers.control import Channel, Message
from fastws.workers.orphans import end_with_parent
from fastws.workers.worker import SupervisedServer

__all__ = ["main"]


def main() -> int:
    """Serve as the supervisor says, by the control pair whose descriptor is the first argument."""
    for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    end_with_parent(channel)
    hello = channel.wait()
    if hello is None:
        return 1
    try:
        return serve(channel, hello)
    except click.ClickException as error:
        text = " ".join(error.format_message().split())
        channel.send("failed", text=text, code=error.exit_code)
        return error.exit_code


def serve(channel: Channel, hello: Message) -> int:
    """Serve until the supervisor says stop. Raises `CannotStart` and `click.UsageError`."""
    app, options = hello.values["app"], hello.values["options"]
    options["header"] = [tuple(header) for header in options["header"]]
    logs.configure(options, worker=hello.values["worker"])
    loops = new_loops(options)
    bus = install(int(hello.values["worker"]))  # before the application makes its hubs, which join it
    bus.keeper = keeper = KeeperClient(
        bus,
        lambda: channel.send("keeper"),
        lambda number: channel.send("keeper_failed", number=number),
    )
    ways = Ways(options)
    silence_bad_server_names()
    settings = make_settings(options)
    routes = make_routes(app, options, settings)
    page = SharedPage.attach(hello.fds.pop(0))
    row = page.row(int(hello.values["row"]))
    arguments = ways.arguments(lambda proxies: Acceptor(page, row, proxies=proxies))
    addresses = [
        {**arguments[way], "sock": socket.socket(fileno=fd)}
        for fd, way in zip(hello.fds, hello.values["ways"], strict=False)
    ]
    # Without an option the limit is that of open files, which each process has for itself.
    is_limit_for_all = options["limit_concurrency"] is not None
    server = SupervisedServer(
        channel,
        Membership(page, row, bus.holdings, is_limit_for_all=is_limit_for_all),
        grace=options["timeout_graceful_shutdown"],
        bus=bus,
        keeper=keeper,
    )
    ways.let_speak(server.leads)
    try:
        with asyncio.Runner(loop_factory=loops) as runner:
            serving = server.run(routes, addresses, settings, factory=isinstance(routes, AsyncFactory))
            return runner.run(_serve(serving, bus, ways))
    except StartupFailed as error:
        raise startup_error(app, error) from error


async def _serve(serving: Coroutine[Any, Any, int], bus: Bus, ways: Ways) -> int:
    """Serve, and let the hubs talk to those of the other workers from before the application starts."""
    await bus.start()
    try:
        return await ways.watched(serving)
    finally:
        await bus.close()


if __name__ == "__main__":
    sys.exit(main())
