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
from fastws.cli.brokers import join_own, use_in_worker
from fastws.cli.certificates import silence_bad_server_names
from fastws.cli.publish_listener import publish_beside
from fastws.cli.start import (
    make_routes,
    make_settings,
    new_loops,
    startup_error,
)
from fastws.cli.ways import Ways
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
    logs.configure(options, worker=hello.values["worker"])
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
    ways = Ways(options)
    silence_bad_server_names()
    settings = make_settings(options)
    routes = make_routes(app, options, settings)
    arguments = ways.arguments(lambda proxies: Acceptor(page, page.row(row), proxies=proxies))
    sockets = [socket.socket(fileno=fd) for fd in hello.fds]
    numbers = hello.values["ways"]
    addresses = [{**arguments[way], "sock": sock} for sock, way in zip(sockets, numbers, strict=False)]
    # Behind those of the server stand those of publishers.
    beside = publish_beside(options, sockets[len(numbers) :], ways.context)
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
    ways.let_speak(server.leads)
    try:
        with asyncio.Runner(loop_factory=loops) as runner:
            serving = server.run(
                routes, addresses, settings, factory=isinstance(routes, AsyncFactory), beside=beside
            )
            return runner.run(_serve(serving, bus, ways))
    except StartupFailed as error:
        raise startup_error(app, error) from error


def answer_of(worker: int, server: Server | None, ask: str, values: dict[str, Any]) -> Any:
    """Answer an operator's question about this worker."""
    from fastws.observe.inspect import answer  # when somebody asks

    return answer(server, worker, ask, values)


async def _serve(serving: Coroutine[Any, Any, int], bus: Bus, ways: Ways) -> int:
    """Serve, and let the hubs talk to those of the other workers from before the application starts."""
    await bus.start()
    meters = measuring()
    try:
        await join_own()
        async with contextlib.nullcontext() if meters is None else sampling(meters, bus):
            return await ways.watched(serving)
    finally:
        serving.close()  # where it has not begun
        await bus.close()


if __name__ == "__main__":
    sys.exit(main())
