"""``fastws serve``: its options. What becomes of them is in ``start.py``."""

from __future__ import annotations

from typing import Any

import click

from fastws.cli import logs
from fastws.cli.options import HEADER, ORIGIN, TRUSTED, Command, option
from fastws.config import Limits, Timeouts

__all__ = ["serve"]

LIMITS, TIMEOUTS = Limits(), Timeouts()


@click.command(
    cls=Command,
    context_settings={"auto_envvar_prefix": "FASTWS", "show_default": True},
    epilog="Each option can also stand in the environment: --ws-max-size as FASTWS_WS_MAX_SIZE. "
    "Exit codes: 0 stopped as told, 2 wrong usage, 3 cannot start.",
)
@click.argument("app", metavar="[MODULE:ATTR]", required=False, envvar="FASTWS_APP")
@option("--factory", section="Application", is_flag=True, help="MODULE:ATTR is a function to call for it.")
@option(
    "--app-dir",
    section="Application",
    metavar="DIR",
    default=".",
    help="Look for MODULE here first.",
)
@option(
    "--static",
    section="Application",
    metavar="[/PREFIX=]DIR",
    multiple=True,
    help="Serve the files of DIR under /PREFIX, or under /static. Repeatable.",
)
@option(
    "--header",
    section="Application",
    type=HEADER,
    multiple=True,
    help="Add a header to every response, or replace it (X-Server). Repeatable.",
)
@option(
    "--host", section="Address", metavar="HOST", default="127.0.0.1", help="0.0.0.0 is every IPv4 address."
)
@option(
    "--port",
    section="Address",
    type=click.IntRange(0, 65535),
    metavar="N",
    default=8080,
    help="0 takes a free one and prints it.",
)
@option(
    "--bind",
    section="Address",
    metavar="ADDRESS",
    multiple=True,
    help="HOST:PORT, unix:PATH or fd://N, instead of --host and --port. Repeatable.",
)
@option("--uds", section="Address", metavar="PATH", help="Listen on a Unix socket.")
@option("--fd", section="Address", type=click.IntRange(0), metavar="N", help="Listen on an open socket.")
@option(
    "--backlog",
    section="Address",
    type=click.IntRange(1),
    metavar="N",
    default=2048,
    help="Connections that may wait to be accepted.",
)
@option("--ssl-certfile", section="TLS", metavar="FILE", help="Certificate (and chain), PEM.")
@option("--ssl-keyfile", section="TLS", metavar="FILE", help="Its key, PEM, if not in the same file.")
@option("--ssl-keyfile-password", section="TLS", metavar="TEXT", help="Better in the environment.")
@option(
    "--ws-max-size",
    section="WebSocket",
    type=click.IntRange(1),
    metavar="BYTES",
    default=LIMITS.max_message_size,
    help="Largest message taken from a client, decompressed.",
)
@option(
    "--ws-max-queue",
    section="WebSocket",
    type=click.IntRange(1),
    metavar="N",
    default=LIMITS.receive_queue,
    help="Received messages that wait for a handler before reading pauses.",
)
@option(
    "--ws-send-queue",
    section="WebSocket",
    type=click.IntRange(1),
    metavar="N",
    default=LIMITS.send_queue,
    help="Messages that may wait for a client that does not read.",
)
@option(
    "--ws-send-queue-bytes",
    section="WebSocket",
    type=click.IntRange(1),
    metavar="BYTES",
    default=LIMITS.send_queue_bytes,
    help="Bytes that may wait for it.",
)
@option(
    "--ws-ping-interval",
    section="WebSocket",
    type=click.FloatRange(0),
    metavar="SECONDS",
    default=TIMEOUTS.ping_interval,
    help="Between two pings; 0 for none.",
)
@option(
    "--ws-ping-timeout",
    section="WebSocket",
    type=click.FloatRange(0),
    metavar="SECONDS",
    default=TIMEOUTS.ping_timeout,
    help="For the pong to come; 0 to wait for ever.",
)
@option(
    "--ws-per-message-deflate",
    section="WebSocket",
    type=click.BOOL,
    default=True,
    help="Compress where a client offers it.",
)
@option(
    "--origin",
    section="Access",
    type=ORIGIN,
    multiple=True,
    help="Accept browsers from this origin besides our own; * for all. Repeatable.",
)
@option("--require-origin", section="Access", is_flag=True, help="Refuse upgrades without an Origin.")
@option(
    "--limit-concurrency",
    section="Access",
    type=click.IntRange(1),
    metavar="N",
    help="Answer 503 to connections above this many.",
)
@option(
    "--limit-connections-per-address",
    section="Access",
    type=click.IntRange(1),
    metavar="N",
    help="Answer 429 to connections of one address above this many.",
)
@option(
    "--limit-handshakes-per-address",
    section="Access",
    type=click.IntRange(1),
    metavar="N",
    help="Answer 429 to upgrades of one address above this many in a second.",
)
@option(
    "--limit-messages-per-second",
    section="Access",
    type=click.IntRange(1),
    metavar="N",
    help="Close a WebSocket (1008) that sends more messages in a second.",
)
@option(
    "--limit-bytes-per-second",
    section="Access",
    type=click.IntRange(1),
    metavar="BYTES",
    help="Close a WebSocket (1008) that sends more bytes in a second.",
)
@option(
    "--proxy-headers/--no-proxy-headers",
    section="Access",
    default=True,
    help="Take client address and scheme from X-Forwarded-For and -Proto of trusted proxies.",
)
@option(
    "--forwarded-allow-ips",
    section="Access",
    type=TRUSTED,
    envvar=["FASTWS_FORWARDED_ALLOW_IPS", "FORWARDED_ALLOW_IPS"],
    default="127.0.0.1,::1",
    help="Addresses or networks of those proxies; * for all.",
)
@option(
    "--access-log/--no-access-log",
    section="Process",
    default=True,
    help="A line for each response and each closed WebSocket, on stdout.",
)
@option(
    "--log-level",
    section="Process",
    type=click.Choice(logs.LEVELS, case_sensitive=False),
    default="info",
    help="Of the log on stderr.",
)
@option(
    "--loop",
    section="Process",
    type=click.Choice(["auto", "asyncio", "uvloop"]),
    default="auto",
    help="auto is uvloop where it is installed.",
)
@option(
    "--timeout-graceful-shutdown",
    section="Process",
    type=click.FloatRange(0),
    metavar="SECONDS",
    default=10.0,
    help="From a signal until those who do not read are cut.",
)
def serve(app: str | None, **options: Any) -> int:
    """Run a server until SIGINT or SIGTERM; a second signal ends it at once.

    Without an argument: the start page on /, the chat on /chat, echo on /echo and /wsecho, broadcast on
    /broadcast. MODULE:ATTR is a handler (async def handler(ws), or a fastws.Handler) or a list of routes of
    your own.
    """
    from fastws.cli.start import start

    return start(app, options)
