"""``fastws publish``: messages to a running server, from the command line or from the lines of its input."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from fastws.cli.connect import client_context
from fastws.cli.errors import EXIT_FAILED, CannotStart, os_error_text
from fastws.cli.interrupts import exit_code, heeding_sigterm
from fastws.cli.options import Command, option
from fastws.cli.output import nowhere, say

__all__ = ["publish"]

#: Bytes that are read from the input at once: what has come then is published together.
READ_BYTES = 2**18
#: Bytes of one line.
MAX_LINE_BYTES = 2**20
#: Seconds between two lines about the progress, on a terminal and elsewhere.
PROGRESS_SECONDS, LOG_SECONDS = 0.5, 5.0


class UnreadableInput(Exception):
    """The input is closed, or fails."""


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    epilog="Exit codes: 0 all is published, even where the position cannot be written, 1 something was "
    "refused or the server cannot be reached, 2 wrong usage, 3 a file cannot be read, 130 and 143 "
    "interrupted by Ctrl-C and by SIGTERM.",
)
@click.argument("topic")
@click.argument("message", metavar="[MESSAGE|-]", required=False)
@option(
    "--url",
    section="Server",
    metavar="URL",
    envvar="FASTWS_PUBLISH_URL",
    show_envvar=True,
    help="http://HOST:PORT, https:// or unix:/PATH: where `fastws serve --publish` listens.",
)
@option(
    "--token-file",
    section="Server",
    metavar="FILE",
    envvar="FASTWS_TOKEN_FILE",
    show_envvar=True,
    help="The bearer token is the first word of this file.",
)
@option(
    "--timeout",
    section="Server",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    default=5.0,
    help="Time for each request, of up to a thousand messages.",
)
@option(
    "--ssl-ca-certs",
    section="Server",
    metavar="FILE",
    type=click.Path(),
    help="Trust the authorities in this file (for example certs/ca.pem) and no others.",
)
@option("--key", section="Messages", metavar="KEY", help="Of a keyed topic: the key whose value it is.")
@option("--remove", section="Messages", is_flag=True, help="The key holds nothing any more.")
@option("--json", section="Messages", is_flag=True, help="Each message is JSON text, and is checked here.")
@option(
    "--once",
    section="Messages",
    metavar="ID",
    help="Publish once, of a topic with a history or keys, and try again where the server does not answer. "
    "Of several lines the ids are ID:1, ID:2 and so on.",
)
def publish(topic: str, message: str | None, **options: Any) -> int:
    """Publish MESSAGE to TOPIC of a server that listens for it (`fastws serve --publish`).

    With - each line of the input is a message. What has come is published at once, a thousand lines in a
    request. At the first line that is refused it stops, and says which one it was.
    """
    check_usage(message, options)
    publisher = publisher_of(options)
    with publisher, heeding_sigterm():
        if message != "-":
            return publish_one(publisher, topic, message, options)
        return publish_lines(publisher, topic, options)


def interrupted(stop: KeyboardInterrupt, text: str) -> int:
    """Say what is known to be published. Return the exit code."""
    say(f"fastws publish: interrupted; {text}")
    return exit_code(stop)


def check_usage(message: str | None, options: dict[str, Any]) -> None:
    """Raise `click.UsageError` for what does not go together."""
    if options["url"] is None:
        raise click.UsageError("say where, by --url or FASTWS_PUBLISH_URL")
    if options["remove"]:
        if options["key"] is None:
            raise click.UsageError("--remove needs --key")
        if message is not None or options["json"]:
            raise click.UsageError("--remove goes without a message")
    elif message is None:
        raise click.UsageError("give a MESSAGE, or - for the lines of the input")


def publisher_of(options: dict[str, Any]) -> Any:
    """Return the publisher. Raises `click.UsageError` and `CannotStart`."""
    from fastws.publish.publisher import Publisher

    token = None if options["token_file"] is None else token_in(options["token_file"])
    context = None
    if options["ssl_ca_certs"] is not None:
        context = client_context(options["ssl_ca_certs"], insecure=False)
    try:
        return Publisher(options["url"], token=token, timeout=options["timeout"], ssl=context)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def token_in(path: str) -> str:
    """Return the first word of a file, but not of a comment. Raises `CannotStart`."""
    try:
        with open(path, encoding="ascii") as file:
            for line in file:
                if line.strip() and not line.startswith("#"):
                    return line.split()[0]
    except OSError as error:
        raise CannotStart(f"--token-file {path}: {os_error_text(error)}") from error
    except UnicodeDecodeError:
        raise CannotStart(f"--token-file {path}: it is not ASCII") from None
    raise CannotStart(f"--token-file {path}: there is no token in it")


def item_of(topic: str, message: str | None, options: dict[str, Any], once: str | None) -> dict[str, Any]:
    """Return what is published. Raises ``ValueError`` for text that is no JSON."""
    item: dict[str, Any] = {"topic": topic, "key": options["key"], "once": once}
    if options["remove"]:
        return {**item, "remove": True}
    if options["json"]:
        import orjson

        from fastws.json import checked_source

        assert message is not None
        return {**item, "json": orjson.Fragment(checked_source(message))}
    return {**item, "message": message}


def publish_one(publisher: Any, topic: str, message: str | None, options: dict[str, Any]) -> int:
    """Publish one message. Return the exit code."""
    from fastws.publish.errors import PublishError

    try:
        done = publisher.publish(**item_of(topic, message, options, options["once"]))
    except (PublishError, ValueError, TypeError) as error:
        return failed(f"{error.code}: {error.reason}" if isinstance(error, PublishError) else str(error))
    except KeyboardInterrupt as stop:
        return interrupted(stop, "the message may be published")
    if done is not None:
        told = f"{done.at}{' duplicate' if done.duplicate else ''}"
        try:
            click.echo(told)
        except OSError as error:
            # A script that tried again by this exit code would publish it twice.
            sys.stdout = nowhere()
            say(f"fastws publish: published at {told}, which cannot be written: {os_error_text(error)}")
    return 0


def failed(text: str) -> int:
    say(f"fastws publish: {' '.join(text.split())}")
    return EXIT_FAILED


def publish_lines(publisher: Any, topic: str, options: dict[str, Any]) -> int:
    """Publish each line of the input. Return the exit code."""
    from fastws.publish.errors import PublishError

    progress, under_way = Progress(), 0
    try:
        for lines in read_lines(0):
            items = []
            wrong: str | None = None
            for number, line in enumerate(lines, progress.lines + 1):
                once = None if options["once"] is None else f"{options['once']}:{number}"
                try:
                    if len(line) > MAX_LINE_BYTES:
                        raise ValueError(f"more than {MAX_LINE_BYTES} bytes")
                    items.append(item_of(topic, line.decode(), options, once))
                except ValueError as error:
                    wrong = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
                    break
            try:
                under_way = len(items)
                publisher.publish_many(items)
            except PublishError as error:
                return stopped(progress, error)
            under_way = 0
            progress.add(len(items))
            if wrong is not None:
                return failed(f"line {progress.lines + 1}: {wrong}; {progress.lines} lines are published")
    except KeyboardInterrupt as stop:
        progress.end()
        more = f", {under_way} may be" if under_way else ""
        return interrupted(stop, f"{progress.lines} lines are published{more}")
    except UnreadableInput as error:
        progress.end()
        return failed(f"the input cannot be read: {error}; {progress.lines} lines are published")
    progress.end()
    return 0


def stopped(progress: Progress, error: Any) -> int:
    """Say at which line it stopped, and what is published. Return the exit code."""
    progress.end()
    codes = [code for code, _ in error.failed.values()]
    before = min(error.failed, default=0)
    place = f"line {progress.lines + 1 + (before if error.index is None else error.index)}: "
    sent = max(error.failed, default=-1) + 1
    known = progress.lines + sent - len(error.failed)
    unknown = codes.count("uncertain")
    rest = f", {unknown} may be" if unknown else ""
    return failed(f"{place}{error.code}: {error.reason}; {known} lines are published{rest}")


def read_lines(descriptor: int) -> Iterator[list[bytes]]:
    """Yield what has come, in whole lines without their ends; at the end of the input what is left.

    Raises `UnreadableInput`.
    """
    rest = b""
    while chunk := read_some(descriptor):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            yield [*map(without_return, lines), rest]
            return
        if lines:
            yield list(map(without_return, lines))
    if rest:
        yield [rest]


def read_some(descriptor: int) -> bytes:
    """Return what has come; nothing at the end. Raises `UnreadableInput`."""
    try:
        return os.read(descriptor, READ_BYTES)
    except OSError as error:
        raise UnreadableInput(os_error_text(error)) from None


def without_return(line: bytes) -> bytes:
    return line.removesuffix(b"\r")


class Progress:
    """Says on stderr how far it is: at once on a terminal, and every few seconds elsewhere."""

    def __init__(self) -> None:
        self.lines = 0
        self._is_terminal = sys.stderr.isatty()
        self._began = time.monotonic()
        self._every = PROGRESS_SECONDS if self._is_terminal else LOG_SECONDS
        self._next = self._began + self._every
        self._has_said = False

    def add(self, lines: int) -> None:
        """So many more are published."""
        self.lines += lines
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._every
            self._say(now)

    def _say(self, now: float) -> None:
        rate = self.lines / (now - self._began)
        text = f"{self.lines:,} messages, {rate:,.0f} a second"
        say(f"\r\x1b[K{text}" if self._is_terminal else text, nl=not self._is_terminal)
        self._has_said = True

    def end(self) -> None:
        """Say the sum, where anything was said."""
        if self._has_said:
            self._say(time.monotonic())
            if self._is_terminal:
                say("")
