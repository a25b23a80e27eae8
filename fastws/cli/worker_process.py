"""What a worker process runs: ``fastws serve`` with the sockets and options of its supervisor."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys

import click

from fastws.cli import logs
from fastws.cli.errors import CannotStart
from fastws.cli.start import loop_factory, make_routes, make_settings, make_tls_context
from fastws.errors import StartupFailed
from fastws.workers.control import Channel, Message
from fastws.workers.worker import Link, end_with_parent

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
    tls = make_tls_context(options)
    settings = make_settings(options)
    routes = make_routes(app, options, settings)
    addresses = [
        {"sock": socket.socket(fileno=fd), "ssl": tls, "backlog": options["backlog"]} for fd in hello.fds
    ]
    link = Link(
        channel,
        grace=options["timeout_graceful_shutdown"],
        counts_messages=options["limit_max_messages"] is not None,
    )
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(link.run(routes, addresses, settings))
    except StartupFailed as error:
        raise CannotStart(f"{app} cannot be served: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
