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
from fastws.cli.brokers import use_in_worker
from fastws.cli.certificates import Certificates, silence_bad_server_names
from fastws.cli.start import (
    make_certificates,
    make_routes,
    make_settings,
    new_loops,
    proxies_of,
    startup_error,
)
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
    logs.configure(options["log_level"], access_log=options["access_log"], worker=hello.values["worker"])
    loops = new_loops(options)
    bus = install(int(hello.values["worker"]))  # before the application makes its hubs, which join it
    bus.keeper = keeper = KeeperClient(
        bus,
        lambda: channel.send("keeper"),
        lambda number: channel.send("keeper_failed", number=number),
    )
    use_in_worker(options["broker"])
    certificates = make_certificates(options)
    silence_bad_server_names()
    settings = make_settings(options)
    routes = make_routes(app, options, settings)
    page = SharedPage.attach(hello.fds.pop(0))
    row = page.row(int(hello.values["row"]))
    address = {
        "ssl": certificates and certificates.context,
        "acceptor": Acceptor(page, row, proxies=proxies_of(options)),
    }
    addresses = [{**address, "sock": socket.socket(fileno=fd)} for fd in hello.fds]
    # Without an option the limit is that of open files, which each process has for itself.
    is_limit_for_all = options["limit_concurrency"] is not None
    server = SupervisedServer(
        channel,
        Membership(page, row, bus.holdings, is_limit_for_all=is_limit_for_all),
        grace=options["timeout_graceful_shutdown"],
        bus=bus,
        keeper=keeper,
    )
    if certificates is not None:
        certificates.speaks = server.leads
    try:
        with asyncio.Runner(loop_factory=loops) as runner:
            serving = server.run(routes, addresses, settings, factory=isinstance(routes, AsyncFactory))
            return runner.run(_serve(serving, bus, certificates))
    except StartupFailed as error:
        raise startup_error(app, error) from error


async def _serve(serving: Coroutine[Any, Any, int], bus: Bus, certificates: Certificates | None) -> int:
    """Serve, and let the hubs talk to those of the other workers from before the application starts."""
    await bus.start()
    try:
        return await (serving if certificates is None else certificates.watched(serving))
    finally:
        await bus.close()


if __name__ == "__main__":
    sys.exit(main())
