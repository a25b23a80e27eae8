"""``fastws connect``: a WebSocket in the terminal, and the tutorial's client under ``--interval``."""

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
from fastws.cli.terminal import lines, printable, show
from fastws.errors import ConnectionClosed, ConnectionClosedOK, FastWSError, InvalidURL, Refused

if TYPE_CHECKING:
    from fastws.connection.websocket import WebSocket

__all__ = ["connect"]

#: How long the server has to answer our close frame after Ctrl-C or the end of the input.
CLOSE_WAIT = 1.0
#: At the end of the input replies may still be under way: until the server has answered a PING, which
#: it reads behind all that was sent, and then until nothing has come for so long.
PONG_WAIT = 5.0
QUIET = 0.25


@click.command(cls=Command)
@click.argument("url")
@option(
    "--interval",
    section="Messages",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Send the current time so often, and read no input.",
)
@option(
    "--text/--binary",
    section="Messages",
    default=True,
    show_default=True,
    help="The type of the messages that lines of input become.",
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
    help="Trust the authorities in this file, for example certs/ca.pem, and no others.",
)
@option("--insecure", section="TLS", is_flag=True, help="Accept any certificate. For tests alone.")
def connect(url: str, **options: Any) -> int:
    """Connect to URL (ws:// or wss://), send each line of the input and print what comes back.

    Control characters in what is received are shown escaped. Ctrl-C or the end of the input closes with
    1000. Exit code 1: the connection could not be made, or ended for another reason than a normal close.
    """
    settings = connect_settings(url, options)
    try:
        return asyncio.run(session(url, settings, options))
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain about the rest of it at exit.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        return EXIT_FAILED


def connect_settings(url: str, options: dict[str, Any]) -> dict[str, Any]:
    """What `fastws.connect` is given. Raises `click.UsageError` and `CannotStart`."""
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
    except OSError as error:  # SSLError among them: a file without a certificate
        why = "there is no PEM certificate in it" if isinstance(error, ssl.SSLError) else os_error_text(error)
        raise CannotStart(f"--ssl-ca-certs {cafile}: {why}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def session(url: str, settings: dict[str, Any], options: dict[str, Any]) -> int:
    """One connection from the handshake to its end; returns the exit code."""
    from fastws.client.connect import connect as open_websocket

    try:
        ws = await open_websocket(url, **settings)
    except InvalidURL as error:
        raise click.UsageError(str(error)) from error
    except (OSError, FastWSError) as error:
        click.echo(f"fastws connect: cannot connect to {url}: {reason(error)}", err=True)
        return EXIT_FAILED
    chosen = f", subprotocol {ws.subprotocol}" if ws.subprotocol else ""
    stop = asyncio.Event()
    with stopped_by_signals(stop.set):
        click.echo(f"Connected to {printable(url)}{chosen}. Ctrl-C closes.", err=True)
        outgoing = ticks(options["interval"]) if options["interval"] else lines(text=options["text"])
        closed = await talk(ws, outgoing, stop)
    return 0 if stop.is_set() or closed is None else report(closed)


async def talk(
    ws: WebSocket, outgoing: AsyncIterator[str | bytes], stop: asyncio.Event
) -> ConnectionClosed | None:
    """Send and print until either side ends; ``None`` where the server did not answer our close."""
    heard = asyncio.Event()
    receiver = asyncio.create_task(receive(ws, heard))
    sender = asyncio.create_task(send(ws, outgoing))
    stopper = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([receiver, sender, stopper], return_when=asyncio.FIRST_COMPLETED)
        if sender.done() and not receiver.done():
            settled = asyncio.create_task(settle(ws, heard))
            await asyncio.wait([settled, receiver, stopper], return_when=asyncio.FIRST_COMPLETED)
            settled.cancel()
        async with asyncio.timeout(CLOSE_WAIT):
            await ws.close(1000)
            return await receiver
    except TimeoutError:
        return None
    finally:
        for task in (receiver, sender, stopper):
            task.cancel()
        await asyncio.gather(sender, stopper, return_exceptions=True)


async def receive(ws: WebSocket, heard: asyncio.Event) -> ConnectionClosed:
    prefix = "< " if sys.stdout.isatty() else ""
    try:
        while True:
            click.echo(prefix + show(await ws.recv()))
            heard.set()
    except ConnectionClosed as closed:
        return closed


async def settle(ws: WebSocket, heard: asyncio.Event) -> None:
    """Wait for the replies to what was sent, however far away the server is."""
    with contextlib.suppress(TimeoutError, ConnectionClosed):
        await asyncio.wait_for(ws.ping(), PONG_WAIT)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_WAIT):  # it may never be quiet
            while True:
                heard.clear()
                # Not wait_for: with a reply at the same moment, Python 3.11 loses the outer timeout in it.
                async with asyncio.timeout(QUIET):
                    await heard.wait()


async def send(ws: WebSocket, outgoing: AsyncIterator[str | bytes]) -> None:
    with contextlib.suppress(ConnectionClosed):  # the receiver says so
        async for message in outgoing:
            await ws.send(message)


async def ticks(interval: float) -> AsyncIterator[str]:
    """The current time, once an interval; late ones are not made up for."""
    while True:
        await asyncio.sleep(interval)
        yield datetime.now().astimezone().isoformat()


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on SIGINT and SIGTERM, where the loop can (not on Windows)."""
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
    """Say how it ended, unless it was we who ended it as intended."""
    if closed.code == 1006:
        click.echo("The connection was lost.", err=True)
    elif closed.by_peer:
        why = f" {printable(closed.reason)}" if closed.reason else ""
        click.echo(f"The server closed with {closed.code}{why}.", err=True)
    elif closed.code != 1000:
        click.echo(f"Closed with {closed.code} {printable(closed.reason)}.", err=True)
    return 0 if isinstance(closed, ConnectionClosedOK) else EXIT_FAILED


def reason(error: Exception) -> str:
    """Why the connection could not be made, in one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, socket.gaierror):
        return os_error_text(error)
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {str(getattr(error, 'reason', None) or error).lower().replace('_', ' ')}"
    if isinstance(error, OSError):
        # Where a name has several addresses asyncio joins the failures into one text without errno.
        numbers = [error.errno] if error.errno else map(int, re.findall(r"\[Errno (\d+)\]", str(error)))
        return ", ".join(dict.fromkeys(map(os.strerror, numbers))) or os_error_text(error)
    if isinstance(error, Refused):
        body = printable(error.response.body.decode("utf-8", "replace").strip())
        return f"{error}{': ' + body[:200] if body else ''}"
    return printable(str(error))
