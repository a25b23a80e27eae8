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
from fastws.cli.certificates import Certificates
from fastws.cli.errors import CannotStart
from fastws.cli.start import loop_factory, make_certificates, make_routes, make_settings, proxies_of
from fastws.errors import StartupFailed
from fastws.pubsub.bus import Bus, install
from fastws.server.acceptor import Acceptor
from fastws.server.shared_page import SharedPage
from fastws.workers.control import Channel, Message
from fastws.workers.worker import SupervisedServer, end_with_parent

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
    factory = loop_factory(options["loop"])
    bus = install(int(hello.values["worker"]))  # before the application makes its hubs, which join it
    certificates = make_certificates(options)
    settings = make_settings(options)
    routes = make_routes(app, options, settings)
    page = SharedPage.attach(hello.fds.pop(0))
    row = page.row(int(hello.values["row"]))
    address = {
        "ssl": certificates and certificates.context,
        "acceptor": Acceptor(page, row, proxies=proxies_of(options)),
    }
    addresses = [{**address, "sock": socket.socket(fileno=fd)} for fd in hello.fds]
    server = SupervisedServer(
        channel,
        page,
        row,
        grace=options["timeout_graceful_shutdown"],
        on_peer=bus.add_peer,
        counts_messages=options["limit_max_messages"] is not None,
    )
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(_serve(server.run(routes, addresses, settings), bus, certificates))
    except StartupFailed as error:
        raise CannotStart(f"{app} cannot be served: {error}") from error


async def _serve(serving: Coroutine[Any, Any, int], bus: Bus, certificates: Certificates | None) -> int:
    """Serve, and let the hubs talk to those of the other workers from before the application starts."""
    await bus.start()
    watching = None if certificates is None else asyncio.create_task(certificates.watch())
    try:
        return await serving
    finally:
        if watching is not None:
            watching.cancel()
        await bus.close()


if __name__ == "__main__":
    sys.exit(main())
