"""``fastws serve --broker``: which broker joins this server with others, and that it can be reached."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import click

from fastws.cli.errors import CannotStart
from fastws.cli.options import adds, option
from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.urls import broker_at, check_broker, is_broker_url, read_broker_file
from fastws.pubsub.bus.registry import install_broker, start_all, use_broker

__all__ = [
    "broker_options",
    "check_reachable",
    "choose_broker",
    "gateway_hello",
    "join_own",
    "joined",
    "use_in_worker",
]

#: Seconds that a broker has to answer before the server starts.
START_SECONDS = 10.0

OPTIONS = [
    option(
        "--broker",
        section="Broker",
        metavar="URL",
        help="What joins this server with others: redis://, rediss://, redis+sentinel://, nats:// or tls://, "
        "for hubs without a broker= of their own. Passwords better in the environment, or in a file.",
    ),
    option(
        "--broker-file",
        section="Broker",
        metavar="FILE",
        help="The same URL in the first line of a file.",
    ),
]

broker_options = adds(OPTIONS)


def choose_broker(options: dict[str, Any]) -> str | None:
    """Return the broker that was asked for. Raises `click.UsageError`."""
    broker, path = options["broker"], options["broker_file"]
    try:
        if broker is None and path is not None:
            broker = read_broker_file(path)
        if broker is None:
            return None
        check_broker(broker)
        if is_broker_url(broker):
            broker_at(broker)
    except (ValueError, ImportError) as error:
        raise click.UsageError(f"--broker: {error}") from None
    return str(broker)


def check_reachable(broker: str | None, what: str = "--broker") -> None:
    """Connect, and let go: whether workers can be joined is known before they start. Raises `CannotStart`."""
    if broker is None or not is_broker_url(broker):
        return

    async def connect() -> None:
        found = broker_at(broker)
        try:
            await found.start(NoSink(), START_SECONDS)
        finally:
            await found.close()

    try:
        asyncio.run(connect())
    except BrokerUnavailable as error:
        raise CannotStart(f"{what} {error}") from None


class NoSink:
    """Hears a broker that is only tried."""

    def deliver(self, *_: object) -> None:
        """Do nothing."""

    def dropped(self, *_: object) -> None:
        """Do nothing."""

    def appended(self, *_: object) -> None:
        """Do nothing."""

    def refused(self, *_: object) -> None:
        """Do nothing."""

    def state(self, *_: object) -> None:
        """Do nothing."""


def joined(broker: str | None) -> Callable[[Coroutine[Any, Any, int]], Coroutine[Any, Any, int]]:
    """Return what serves in this process while its hubs are joined with others.

    Call it before the application is loaded, whose hubs it is about. Those that have a ``broker=`` of their
    own are joined too.
    """
    node = None
    if broker is not None:
        use_broker(None if is_broker_url(broker) else broker)
        if is_broker_url(broker):
            node = install_broker(broker)

    async def serve(serving: Coroutine[Any, Any, int]) -> int:
        try:
            if node is not None:
                await started(node.start, "--broker")
            await join_own()
            return await serving
        finally:
            serving.close()  # where it has not begun
            if node is not None:
                await node.close()

    return serve


async def join_own() -> None:
    """Join the hubs of the application that have a ``broker=`` of their own. Raises `CannotStart`."""
    await started(start_all, "broker")


async def started(start: Callable[[float], Awaitable[None]], what: str) -> None:
    """Wait until a broker has answered. Raises `CannotStart`."""
    try:
        await start(START_SECONDS)
    except BrokerUnavailable as error:
        raise CannotStart(f"{what} {error}") from None


def gateway_hello(broker: str | None) -> dict[str, Any]:
    """Return what the keeper's process is told of the broker: nothing where there is none."""
    if broker is None or not is_broker_url(broker):
        return {}
    return {"broker": broker, "node": secrets.token_hex(8)}


def use_in_worker(broker: str | None) -> None:
    """Let the hubs of a worker use its bus, behind which the gateway is, or what was asked for instead."""
    if broker is not None:
        use_broker(None if is_broker_url(broker) else broker)
