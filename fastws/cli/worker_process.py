"""What a worker process runs: ``fastws serve`` with the sockets and options of its supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Coroutine
from functools import partial
from typing import Any

import click

from fastws.cli import logs
from fastws.cli.app_loader import AsyncFactory
from fastws.cli.brokers import use_in_worker
from fastws.cli.certificates import Certificates, silence_bad_server_names
from fastws.cli.publish_listener import publish_beside
from fastws.cli.start import (
    make_certificates,
    make_routes,
    make_settings,
    new_loops,
    proxies_of,
    startup_error,
)
from fastws.errors import StartupFailed
from fastws.meters.board import Board
from fastws.meters.meters import begin_measuring, measuring
from fastws.observe.sampling import sampling
from fastws.pubsub.bus import Bus, install
from fastws.pubsub.keeper.client import KeeperClient
from fastws.server.acceptor import Acceptor
from fastws.server.server import Server
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
    page = SharedPage.attach(hello.fds.pop(0))
    row = int(hello.values["row"])
    if hello.values["measures"]:
        page.board = Board.attach(hello.fds.pop())
        begin_measuring(page.board, row)  # before the application makes topics
    certificates = make_certificates(options)
    silence_bad_server_names()
    settings = make_settings(options)
    routes = make_routes(app, options, settings)
    address = {
        "ssl": certificates and certificates.context,
        "acceptor": Acceptor(page, page.row(row), proxies=proxies_of(options)),
    }
    sockets = [socket.socket(fileno=fd) for fd in hello.fds]
    mine = len(sockets) - int(hello.values["publish_sockets"])
    addresses = [{**address, "sock": sock} for sock in sockets[:mine]]
    beside = publish_beside(options, sockets[mine:], address["ssl"])
    # Without an option the limit is that of open files, which each process has for itself.
    is_limit_for_all = options["limit_concurrency"] is not None
    server = SupervisedServer(
        channel,
        Membership(page, page.row(row), bus.holdings, is_limit_for_all=is_limit_for_all),
        grace=options["timeout_graceful_shutdown"],
        bus=bus,
        answer=partial(answer_of, int(hello.values["worker"])),
        keeper=keeper,
    )
    if certificates is not None:
        certificates.speaks = server.leads
    try:
        with asyncio.Runner(loop_factory=loops) as runner:
            serving = server.run(
                routes, addresses, settings, factory=isinstance(routes, AsyncFactory), beside=beside
            )
            return runner.run(_serve(serving, bus, certificates))
    except StartupFailed as error:
        raise startup_error(app, error) from error


def answer_of(worker: int, server: Server | None, ask: str, values: dict[str, Any]) -> Any:
    """Answer an operator's question about this worker."""
    from fastws.observe.inspect import answer  # when somebody asks

    return answer(server, worker, ask, values)


async def _serve(serving: Coroutine[Any, Any, int], bus: Bus, certificates: Certificates | None) -> int:
    """Serve, and let the hubs talk to those of the other workers from before the application starts."""
    await bus.start()
    meters = measuring()
    try:
        async with contextlib.nullcontext() if meters is None else sampling(meters, bus):
            return await (serving if certificates is None else certificates.watched(serving))
    finally:
        await bus.close()


if __name__ == "__main__":
    sys.exit(main())
