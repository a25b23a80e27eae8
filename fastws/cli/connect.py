"""``fastws connect``: a WebSocket in the terminal. With ``--interval`` it is the client of the tutorial."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from fastws.cli.errors import EXIT_FAILED, CannotStart, os_error_text
from fastws.cli.options import HEADER, TOKEN, Command, option
from fastws.cli.output import nowhere
from fastws.cli.terminal import display, printable, read_lines
from fastws.errors import ConnectionClosed, ConnectionClosedOK, FastWSError, HandshakeRefused, InvalidURL

if TYPE_CHECKING:
    from fastws.connection.websocket import WebSocket

__all__ = ["connect"]

#: Time for the server to answer our close frame, after Ctrl-C or the end of the input.
CLOSE_SECONDS = 1.0
#: At the end of the input replies may still be on their way. We wait until the server has answered a PING,
#: which it reads after all our messages, and then until nothing has come for QUIET_SECONDS.
PONG_SECONDS = 5.0
QUIET_SECONDS = 0.25


@click.command(cls=Command)
@click.argument("url")
@option(
    "--interval",
    section="Messages",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Send the current time every so many seconds, and read no input.",
)
@option(
    "--text/--binary",
    section="Messages",
    default=True,
    show_default=True,
    help="The type of the messages that are sent.",
)
@option("--header", section="Handshake", type=HEADER, multiple=True, help="Add a header. Repeatable.")
@option("--origin", section="Handshake", metavar="ORIGIN", help="Send this Origin header.")
@option(
    "--subprotocol",
    section="Handshake",
    metavar="NAME",
    multiple=True,
    help="Offer a subprotocol, the preferred one first. Repeatable.",
)
@option(
    "--ssl-ca-certs",
    section="TLS",
    metavar="FILE",
    type=click.Path(),
    help="Trust the authorities in this file (for example certs/ca.pem) and no others.",
)
@option("--insecure", section="TLS", is_flag=True, help="Accept any certificate. For tests only.")
def connect(url: str, **options: Any) -> int:
    """Connect to URL (ws:// or wss://), send each line of the input and print what comes back.

    Control characters in received messages are shown escaped. Ctrl-C or the end of the input closes with
    1000. Exit code 1: it could not connect, or the connection ended without a normal close.
    """
    settings = connect_settings(url, options)
    try:
        return asyncio.run(session(url, settings, options))
    except BrokenPipeError:
        sys.stdout = nowhere()  # its reader has ended
        return EXIT_FAILED


def connect_settings(url: str, options: dict[str, Any]) -> dict[str, Any]:
    """Make the arguments of `fastws.connect`. Raises `click.UsageError` and `CannotStart`."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("ws", "wss") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise click.UsageError(f"{url!r} is not a WebSocket URL; write ws://HOST[:PORT]/PATH or wss://...")
    for name in options["subprotocol"]:
        if not TOKEN.fullmatch(name):
            raise click.UsageError(f"--subprotocol {name!r} is not a token")
    settings: dict[str, Any] = {
        "headers": list(options["header"]),
        "subprotocols": list(options["subprotocol"]),
        "origin": options["origin"],
    }
    if parts.scheme == "wss":
        settings["ssl"] = client_context(options["ssl_ca_certs"], insecure=options["insecure"])
    return settings


def client_context(cafile: str | None, *, insecure: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=cafile)
    except OSError as error:  # also an SSLError: a file without a certificate
        why = "there is no PEM certificate in it" if isinstance(error, ssl.SSLError) else os_error_text(error)
        raise CannotStart(f"--ssl-ca-certs {cafile}: {why}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def session(url: str, settings: dict[str, Any], options: dict[str, Any]) -> int:
    """Run one connection from its handshake to its end. Return the exit code."""
    from fastws.client.connect import connect as open_websocket

    try:
        ws = await open_websocket(url, **settings)
    except InvalidURL as error:
        raise click.UsageError(str(error)) from error
    except (OSError, FastWSError) as error:
        click.echo(f"fastws connect: cannot connect to {url}: {failure_text(error)}", err=True)
        return EXIT_FAILED
    chosen = f", subprotocol {ws.subprotocol}" if ws.subprotocol else ""
    stop = asyncio.Event()
    with stopped_by_signals(stop.set):
        click.echo(f"Connected to {printable(url)}{chosen}. Ctrl-C closes.", err=True)
        outgoing = (
            current_times(options["interval"]) if options["interval"] else read_lines(text=options["text"])
        )
        closed = await talk(ws, outgoing, stop)
    return 0 if stop.is_set() or closed is None else report(closed)


async def talk(
    ws: WebSocket, outgoing: AsyncIterator[str | bytes], stop: asyncio.Event
) -> ConnectionClosed | None:
    """Send and print until either side ends. ``None``: the server did not answer our close frame."""
    received = asyncio.Event()
    receiver = asyncio.create_task(receive(ws, received))
    sender = asyncio.create_task(send(ws, outgoing))
    stopper = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([receiver, sender, stopper], return_when=asyncio.FIRST_COMPLETED)
        if sender.done() and not receiver.done():
            replies = asyncio.create_task(wait_for_replies(ws, received))
            await asyncio.wait([replies, receiver, stopper], return_when=asyncio.FIRST_COMPLETED)
            replies.cancel()
        async with asyncio.timeout(CLOSE_SECONDS):
            await ws.close(1000)
            return await receiver
    except TimeoutError:
        return None
    finally:
        for task in (receiver, sender, stopper):
            task.cancel()
        await asyncio.gather(sender, stopper, return_exceptions=True)


async def receive(ws: WebSocket, received: asyncio.Event) -> ConnectionClosed:
    prefix = "< " if sys.stdout.isatty() else ""
    try:
        while True:
            click.echo(prefix + display(await ws.recv()))
            received.set()
    except ConnectionClosed as closed:
        return closed


async def wait_for_replies(ws: WebSocket, received: asyncio.Event) -> None:
    """Wait for the replies to our messages, also from a server that is far away."""
    with contextlib.suppress(TimeoutError, ConnectionClosed):
        await asyncio.wait_for(ws.ping(), PONG_SECONDS)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):  # a server may never be quiet
            while True:
                received.clear()
                # Not wait_for: with a reply at the same moment, Python 3.11 loses the outer timeout in it.
                async with asyncio.timeout(QUIET_SECONDS):
                    await received.wait()


async def send(ws: WebSocket, outgoing: AsyncIterator[str | bytes]) -> None:
    with contextlib.suppress(ConnectionClosed):  # `receive` reports it
        async for message in outgoing:
            await ws.send(message)


async def current_times(interval: float) -> AsyncIterator[str]:
    """Yield the current time again and again, each an interval after the last one was taken."""
    while True:
        await asyncio.sleep(interval)
        yield datetime.now().astimezone().isoformat()


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on SIGINT and SIGTERM where the loop supports it (not on Windows)."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    with contextlib.suppress(NotImplementedError):
        for number in signals:
            loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError):
            for number in signals:
                loop.remove_signal_handler(number)


def report(closed: ConnectionClosed) -> int:
    """Print how the connection ended, unless we closed it normally. Return the exit code."""
    if closed.code == 1006:
        click.echo("The connection was lost.", err=True)
    elif closed.by_peer:
        why = f" {printable(closed.reason)}" if closed.reason else ""
        click.echo(f"The server closed with {closed.code}{why}.", err=True)
    elif closed.code != 1000:
        click.echo(f"Closed with {closed.code} {printable(closed.reason)}.", err=True)
    return 0 if isinstance(closed, ConnectionClosedOK) else EXIT_FAILED


def failure_text(error: Exception) -> str:
    """Why it could not connect, in one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {printable(error.verify_message)}"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, socket.gaierror):
        return os_error_text(error)
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {str(getattr(error, 'reason', None) or error).lower().replace('_', ' ')}"
    if isinstance(error, OSError):
        # Where a name has several addresses asyncio joins their errors into one text, without errno.
        numbers = [error.errno] if error.errno else map(int, re.findall(r"\[Errno (\d+)\]", str(error)))
        return ", ".join(dict.fromkeys(map(os.strerror, numbers))) or os_error_text(error)
    if isinstance(error, HandshakeRefused):
        body = printable(error.response.body.decode("utf-8", "replace").strip())
        return f"{printable(str(error))}{': ' + body[:200] if body else ''}"
    return printable(str(error))
