"""``fastws top``: a live view of a running server, over its control socket or its metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import click

from fastws import json
from fastws.cli.control_client import Control, Refused
from fastws.cli.errors import CannotStart
from fastws.cli.options import Command, option
from fastws.cli.top_keys import Keys
from fastws.cli.top_screen import Rates, Screen
from fastws.observe.inspect import SORTS

__all__ = ["top"]

#: Keys that sort.
SORT_KEYS = {"b": "queued", "a": "age", "t": "rtt", "r": "received", "s": "sent", "d": "dropped", "o": "open"}

Pull = Callable[[dict[str, Any]], dict[str, Any]]


@click.command(cls=Command, context_settings={"auto_envvar_prefix": "FASTWS", "show_default": True})
@click.argument("target", metavar="[PATH|URL]", required=True, envvar="FASTWS_CONTROL")
@option(
    "--interval",
    section="View",
    type=click.FloatRange(0.2),
    default=2.0,
    metavar="SECONDS",
    help="Between looks.",
)
@option(
    "--sort",
    section="View",
    type=click.Choice(list(SORTS)),
    default="queued",
    help="Which clients come first.",
)
@option(
    "--match",
    section="View",
    default="",
    metavar="TEXT",
    help="Only clients in whose address or path TEXT is.",
)
@option(
    "--limit",
    section="View",
    type=click.IntRange(1, 200),
    default=20,
    metavar="N",
    help="Clients and topics.",
)
@option("--once", section="View", is_flag=True, help="Print one view and end.")
@option("--json", "as_json", section="View", is_flag=True, help="As JSON, one object a line.")
def top(
    target: str,
    interval: float,
    sort: str,
    match: str,
    limit: int,
    once: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> int:
    """Show a running server: workers, rates, the slowest clients, topics, closes.

    PATH is what `fastws serve --control` says, URL the address of `fastws serve --metrics`, where single
    clients are not known. Keys: b a t r s d o sort, / filters, up and down select, k closes the selected
    client, q ends. It costs the server nothing while nobody looks.
    """
    asked = {"sort": sort, "match": match, "limit": limit}
    with ExitStack() as stack:
        pull = puller(target, stack)
        if as_json:
            return lines(pull, asked, interval, once=once)
        screen, rates = Screen(), Rates()
        if once:
            rates.take(pull(asked))
            screen.print(rates, asked)
            return 0
        keys = stack.enter_context(Keys())
        live = stack.enter_context(screen.live())
        return watch(pull, asked, interval, keys, live, screen, rates)


def puller(target: str, stack: ExitStack) -> Pull:
    """Return what looks at the server."""
    if target.startswith(("http://", "https://")):
        from fastws.cli.top_metrics import pulled

        return lambda asked: pulled(target)
    line: Control | None = Control(target)

    @stack.callback
    def close() -> None:
        nonlocal line
        if line is not None:
            line.close()
        line = None

    def pull(asked: dict[str, Any]) -> dict[str, Any]:
        nonlocal line
        to_close = asked.pop("close", None)
        line = line or Control(target)
        try:
            if to_close is not None:
                line.ask("close", id=to_close)
            found: dict[str, Any] = line.ask("top", **asked)
        except Refused:
            raise
        except CannotStart:
            close()  # the next look finds the server that has come since
            raise
        return found

    return pull


def lines(pull: Pull, asked: dict[str, Any], interval: float, *, once: bool) -> int:
    while True:
        click.echo(json.dumps(pull(asked)).decode())
        if once:
            return 0
        try:
            time.sleep(interval)
        except KeyboardInterrupt:
            return 0


def watch(
    pull: Pull,
    asked: dict[str, Any],
    interval: float,
    keys: Keys,
    live: Any,
    screen: Screen,
    rates: Rates,
) -> int:
    """Look, show, and obey the keys, until q or Ctrl-C. Raises `CannotStart` where the first look fails."""
    try:
        while True:
            try:
                rates.take(pull(asked))
                screen.note = ""
            except CannotStart as error:
                if not rates.now:
                    raise
                screen.note = error.format_message()
            live.update(screen.view(rates, asked), refresh=True)
            due = time.monotonic() + interval
            while (left := due - time.monotonic()) > 0:
                key = keys.read(left)
                if key is None:
                    break
                if obey(key, asked, screen, rates, keys):
                    break
                live.update(screen.view(rates, asked), refresh=True)
    except (KeyboardInterrupt, Ends):
        return 0


class Ends(Exception):
    """The person has seen enough."""


def obey(key: str, asked: dict[str, Any], screen: Screen, rates: Rates, keys: Keys) -> bool:
    """Do what a key says; True when the server is to be asked at once. Raises `Ends`."""
    if key == "q":
        raise Ends
    clients = rates.now.get("clients", [])
    if key in SORT_KEYS:
        asked["sort"] = SORT_KEYS[key]
        return True
    if key == "/":
        asked["match"] = keys.line("filter: ")
        return True
    if key in ("up", "down"):
        screen.selected = min(
            max(screen.selected + (1 if key == "down" else -1), 0), max(len(clients) - 1, 0)
        )
    elif key == "k" and screen.selected < len(clients):
        asked["close"] = clients[screen.selected]["id"]
        return True
    return False
