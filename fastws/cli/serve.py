"""``fastws serve``: its options. ``start.py`` acts on them."""

from __future__ import annotations

from typing import Any

import click

from fastws.cli import logs
from fastws.cli.brokers import broker_options
from fastws.cli.config_option import config_option, tables_of
from fastws.cli.limits import limit_options
from fastws.cli.observing import observe_options
from fastws.cli.options import ALLOWED_HOST, FILES, HEADER, ORIGIN, TRUSTED, Command, Seconds, option
from fastws.cli.publish_listener import publish_options
from fastws.cli.worker_options import worker_options
from fastws.config import MAX_SOCKET_BYTES

__all__ = ["serve"]


@click.command(
    cls=Command,
    context_settings={"auto_envvar_prefix": "FASTWS", "show_default": True},
    epilog="Each option can also stand in the environment: --ws-max-size as FASTWS_WS_MAX_SIZE. "
    "Exit codes: 0 stopped by a signal, 2 wrong usage, 3 cannot start.",
)
@config_option
@click.argument("app", metavar="[MODULE:ATTR]", required=False, envvar="FASTWS_APP")
@option(
    "--factory",
    section="Application",
    is_flag=True,
    help="MODULE:ATTR is a function that returns it, def or async def.",
)
@option(
    "--app-dir",
    section="Application",
    metavar="DIR",
    default=".",
    help="Look for MODULE here first.",
)
@option(
    "--interface",
    section="Application",
    type=click.Choice(["auto", "fastws", "asgi3"]),
    default="auto",
    help="What MODULE:ATTR is; auto looks at its arguments.",
)
@option(
    "--root-path",
    section="Application",
    metavar="PATH",
    default="",
    help="Where a proxy has mounted the ASGI application.",
)
@option(
    "--lifespan",
    section="Application",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    help="Lifespan events of the ASGI application; auto: if it takes them.",
)
@option(
    "--lifespan-failure",
    section="Application",
    type=click.Choice(["stop", "continue"]),
    default="stop",
    help="When the application's lifespan fails while it is served: exit with 3, or go on.",
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
    help="0 takes a free port and prints it.",
)
@option(
    "--bind",
    section="Address",
    metavar="ADDRESS",
    multiple=True,
    help="HOST:PORT, unix:PATH or fd://N, instead of --host and --port. Repeatable.",
)
@option("--uds", section="Address", metavar="PATH", help="Listen on a Unix socket.")
@option(
    "--fd",
    section="Address",
    type=click.IntRange(0),
    metavar="N",
    help="Listen on a socket that is already open.",
)
@option(
    "--backlog",
    section="Address",
    type=click.IntRange(1),
    metavar="N",
    default=2048,
    help="Connections that may wait to be accepted.",
)
@option(
    "--socket-send-buffer",
    section="Address",
    type=click.IntRange(1, MAX_SOCKET_BYTES),
    metavar="BYTES",
    help="SO_SNDBUF of each connection: bytes that the kernel holds for a client.",
)
@option(
    "--notsent-lowat",
    section="Address",
    type=click.IntRange(1, MAX_SOCKET_BYTES),
    metavar="BYTES",
    help="TCP_NOTSENT_LOWAT: unsent bytes in the kernel, beyond which a client is congested.",
)
@option(
    "--ssl-certfile",
    section="TLS",
    type=FILES,
    multiple=True,
    help="Certificate (and chain), PEM. Repeatable: a client gets the one for the server name it asks for, "
    "else the first.",
)
@option(
    "--ssl-keyfile",
    section="TLS",
    type=FILES,
    multiple=True,
    help="Its key, PEM, if not in the same file. Repeatable, in the order of the certificates.",
)
@option(
    "--ssl-keyfile-password",
    section="TLS",
    metavar="TEXT",
    help="Password of the key; better in the environment, or in a file.",
)
@option(
    "--ssl-keyfile-password-file",
    section="TLS",
    metavar="FILE",
    help="A file with that password in its first line.",
)
@option(
    "--ssl-ca-certs",
    section="TLS",
    metavar="FILE",
    help="Authorities of the clients' certificates, PEM; with --ssl-cert-reqs.",
)
@option(
    "--ssl-cert-reqs",
    section="TLS",
    type=click.IntRange(0, 2),
    metavar="N",
    default=0,
    help="A client's certificate: 0 is not asked for, 1 is checked if there is one, 2 is required.",
)
@option(
    "--ssl-ciphers",
    section="TLS",
    metavar="TEXT",
    help="Ciphers of TLS 1.2 in OpenSSL's words, in place of ECDHE with AES-GCM or ChaCha20.",
)
@limit_options
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
    help="Accept browsers from this origin besides our own, or from https://*.HOST; * for all. Repeatable.",
)
@option(
    "--allowed-host",
    section="Access",
    type=ALLOWED_HOST,
    multiple=True,
    help="Answer only requests to this host, NAME or *.SUFFIX; 421 for others. Repeatable.",
)
@option("--require-origin", section="Access", is_flag=True, help="Refuse upgrades without an Origin.")
@option(
    "--auth-basic",
    section="Access",
    metavar="USER:PASSWORD",
    multiple=True,
    help="Ask for one of these before a WebSocket opens, except where a route has its own authorize=. Pages "
    "stay open. Better in the environment, or in a file. Repeatable.",
)
@option(
    "--auth-basic-file",
    section="Access",
    type=FILES,
    multiple=True,
    help="A file with a USER:PASSWORD in each line. Repeatable.",
)
@option(
    "--auth-token",
    section="Access",
    metavar="TOKEN",
    multiple=True,
    help="The same with Authorization: Bearer TOKEN or ?token=TOKEN. Better in the environment, or in "
    "a file. Repeatable.",
)
@option(
    "--auth-token-file",
    section="Access",
    type=FILES,
    multiple=True,
    help="A file with a TOKEN in each line. Repeatable.",
)
@option(
    "--limit-concurrency",
    section="Access",
    type=click.IntRange(1),
    metavar="N",
    show_default="as many in each process as its limit of open files allows",
    help="Most connections, of all workers; 503 beyond it.",
)
@option(
    "--memory-budget",
    section="Access",
    type=click.IntRange(1),
    metavar="BYTES",
    help="Bytes, in each process, that may wait for clients or be kept by topics; over it the clients with "
    "most are evicted.",
)
@option(
    "--limit-connections-per-address",
    section="Access",
    type=click.IntRange(1),
    metavar="N",
    help="Most connections of one address, to all workers; 429 beyond it.",
)
@option(
    "--limit-handshakes-per-address",
    section="Access",
    type=click.IntRange(1),
    metavar="N",
    help="Most upgrades of one address in a second, by all workers; 429 beyond it.",
)
@option(
    "--proxy-headers/--no-proxy-headers",
    section="Access",
    default=True,
    help="Take client address and scheme from X-Forwarded-For and -Proto, or Forwarded, of trusted proxies.",
)
@option(
    "--proxy-protocol",
    section="Access",
    is_flag=True,
    help="Each connection begins with a PROXY header (v1 or v2, before TLS), from a proxy that "
    "--forwarded-allow-ips names.",
)
@option(
    "--forwarded-allow-ips",
    section="Access",
    type=TRUSTED,
    envvar=["FASTWS_FORWARDED_ALLOW_IPS", "FORWARDED_ALLOW_IPS"],
    default="127.0.0.1,::1",
    help="Addresses or networks of trusted proxies; * for all.",
)
@logs.log_options
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
    type=Seconds(0),
    metavar="SECONDS",
    default=10.0,
    help="Time after a signal in which clients may read the rest.",
)
@publish_options
@worker_options
@broker_options
@observe_options
def serve(app: str | None, **options: Any) -> int:
    """Run a server until SIGINT or SIGTERM; a second signal ends it at once.

    Without an argument: the start page on /, the chat on /chat, echo on /echo and /wsecho, broadcast on
    /broadcast. MODULE:ATTR is a handler (async def handler(ws), or a fastws.Handler) or a list of routes of
    your own, or any ASGI 3 application (FastAPI, Starlette, ...).
    """
    from fastws.cli.start import start

    options["tables"] = tables_of(click.get_current_context())
    return start(app, options)
