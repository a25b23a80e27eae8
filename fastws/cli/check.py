"""``fastws check``: which options are in force, from where, and whether a server could start with them.

It opens no listener and serves nobody, so it may run beside the server whose file has been edited.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import click

from fastws.cli.app_loader import AsyncFactory
from fastws.cli.config_option import config_of, tables_of
from fastws.cli.errors import EXIT_CANNOT_START, CannotStart
from fastws.cli.options import Command
from fastws.cli.serve import serve
from fastws.cli.sources import mistyped_variables, source_of

__all__ = ["TRIALS", "check"]

#: Their values are not shown.
SECRETS = ("auth_basic", "auth_token", "ssl_keyfile_password")


class CheckCommand(Command):
    """Takes what ``fastws serve`` takes; what is wrong with that ends with 3."""

    #: The command whose help and page have these options.
    options_of = "serve"

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise failed(error) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Options"):
            formatter.write_text(f"All of `fastws {self.options_of}`.")
        with formatter.section("Other"):
            formatter.write_dl([("--help", "Show this message and exit.")])


def failed(error: click.ClickException) -> CannotStart:
    """The same error, with the exit code of a check that failed, and all problems of a file."""
    from fastws.cli.main import from_environment

    context = getattr(error, "ctx", None)
    problems = getattr(error, "problems", [])
    for problem in problems[:-1]:
        click.echo(f"fastws check: {problem}", err=True)
    text = problems[-1] if problems else f"{error.format_message()}{from_environment(error)}"
    wrong = CannotStart(text)
    wrong.ctx = context
    return wrong


def run(app: str | None, **options: Any) -> int:
    """Print what is in force, and try it."""
    context = click.get_current_context()
    options["tables"] = tables_of(context)
    for line in lines(context, {"app": app, **options}):
        click.echo(line)
    code = 0
    for name, trial in TRIALS.items():
        try:
            result = trial(app, options)
        except click.ClickException as error:
            click.echo(f"{name}: failed")
            click.echo(f"fastws check: {' '.join(error.format_message().split())}", err=True)
            code = EXIT_CANNOT_START
        else:
            click.echo(f"{name}: {result}")
    for warning in warnings(context, options):
        click.echo(f"warning: {warning}", err=True)
    return code


# -- what is in force ---------------------------------------------------------------------------


def lines(context: click.Context, values: dict[str, Any]) -> Iterator[str]:
    """Yield the options as a file for ``--config`` would have them, each with its source as a comment."""
    rows = []
    for param in context.command.params:
        name = param.name or ""
        if name not in values or name == "config":
            continue
        key = name.replace("_", "-")
        source = source_of(context, param)
        value = values[name]
        value = shown(name, value)
        is_set = value not in (None, (), [])
        rows.append((f"{key} = {toml(value)}" if is_set else f"# {key}", f"# {source}"))
    width = min(max(len(left) for left, _ in rows), 48)
    for left, right in rows:
        yield f"{left:{width}}  {right}"
    tables = values["tables"]
    for entry in tables["listeners"]:
        yield from table_lines("[[listeners]]", entry)
    for kind in ("routes", "topics"):
        for name, entry in tables[kind].items():
            yield from table_lines(f"[{kind}.{toml(name)}]", entry)


def table_lines(heading: str, entry: dict[str, Any]) -> Iterator[str]:
    yield f"\n{heading}  # {entry['places']['']}"
    for name, value in entry["values"].items():
        yield f"{name.replace('_', '-')} = {toml(shown(name, value))}  # {entry['places'][name]}"


def shown(name: str, value: Any) -> Any:
    """Return a value, without a secret that is in it."""
    if name == "broker" and value:
        from fastws.pubsub.brokers.redacting import redacted

        return redacted(value)
    return "***" if name in SECRETS and value else value


def toml(value: Any) -> str:
    """Return a value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(each, tuple) for each in value):  # headers
            value = [f"{name}: {content}" for name, content in value]
        return f"[{', '.join(map(toml, value))}]"
    return '"' + "".join(map(_escaped, str(value))) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else f"\\u{ord(char):04x}"


# -- what is tried ------------------------------------------------------------------------------


def try_logs(app: str | None, options: dict[str, Any]) -> str:
    from fastws.cli.logs import check_log_options

    check_log_options(options)
    return str(options["log_config"] or options["log_format"])


def try_certificates(app: str | None, options: dict[str, Any]) -> str:
    from fastws.cli.ways import Ways

    files = [file for each in Ways(options).certificates for file in each.files()]
    return ", ".join(map(valid_until, files)) or "none"


def valid_until(file: str) -> str:
    """Return the file of a certificate, and its last day. Raises `CannotStart` outside of its time."""
    from cryptography import x509

    with open(file, "rb") as opened:
        certificate = x509.load_pem_x509_certificate(opened.read())
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= datetime.now(UTC) <= end:
        raise CannotStart(f"--ssl-certfile {file} is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}")
    return f"{file} until {end:%Y-%m-%d}"


def try_application(app: str | None, options: dict[str, Any]) -> str:
    from fastws.cli.start import make_authorize, make_routes, make_settings, new_loops
    from fastws.server.site import as_routes

    loops = new_loops(options)
    make_authorize(options)
    settings = make_settings(options)
    routes = make_routes(app, {**options, "asgi_body_size": None}, settings)
    if isinstance(routes, AsyncFactory):
        with asyncio.Runner(loop_factory=loops) as runner:
            routes = runner.run(routes())
    served = as_routes(routes)
    return f"{app or 'built in'}, {len(served)} {'route' if len(served) == 1 else 'routes'}"


def try_listeners(app: str | None, options: dict[str, Any]) -> str:
    from fastws.cli.listeners import taken
    from fastws.cli.start import choose_addresses

    addresses = choose_addresses(options)
    for address in addresses:
        taken(address)
    return ", ".join(map(str, addresses))


def try_operation(app: str | None, options: dict[str, Any]) -> str:
    from fastws.cli.observing import Observing
    from fastws.cli.publish_listener import check_publish

    check_publish(options)
    Observing(options)
    asked = [name for name in ("publish", "metrics", "control", "pid") if options[name]]
    return ", ".join(asked) or "none"


def try_broker(app: str | None, options: dict[str, Any]) -> str:
    from fastws.cli.brokers import check_reachable, choose_broker
    from fastws.pubsub.brokers.redacting import redacted
    from fastws.pubsub.bus.registry import broker_urls

    broker = choose_broker(options)
    check_reachable(broker)
    own = broker_urls()  # of the hubs of the application, which has been tried
    for url in own:
        check_reachable(url, "broker")
    reached = own if broker is None else [broker, *own]
    return ", ".join(f"{redacted(url)} is reached" for url in reached) or "none"


#: What is tried, one after the other; each returns in words what it has found, or raises a `ClickException`.
TRIALS: dict[str, Callable[[str | None, dict[str, Any]], str]] = {
    "listeners": try_listeners,
    "logs": try_logs,
    "certificates": try_certificates,
    "application": try_application,
    "operation": try_operation,
    "broker": try_broker,
}


def warnings(context: click.Context, options: dict[str, Any]) -> Iterator[str]:
    """Yield what works, and may be a mistake all the same."""
    from fastws.cli.listeners import taken
    from fastws.cli.start import choose_addresses

    yield from mistyped_variables(context)
    with contextlib.suppress(click.ClickException):
        for address in choose_addresses(options):
            if taken(address):
                yield f"{address} is in use: by the server that runs now, or by another program"
    config = config_of(context)
    if config is None or not any(name in config.options for name in (*SECRETS, "broker")):
        return
    with contextlib.suppress(OSError):
        if stat.S_IMODE(os.stat(config.path).st_mode) & 0o044:
            yield f"others may read {config.path}, which holds a secret"


check = CheckCommand(
    "check",
    params=serve.params,
    callback=run,
    context_settings=serve.context_settings,
    help="Say which options are in force and from where, and whether a server could start with them.\n\n"
    "The options are printed as a file for --config, each with its source. Then addresses, certificates, "
    "application and broker are tried; no listener is opened. Ends with 0, or with 3 where something is "
    "wrong.",
    short_help="Say which options are in force and from where, and whether they work.",
)
