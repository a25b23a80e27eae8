"""What the options of ``fastws bench`` ask for: the plan of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastws.cli.errors import CannotStart

if TYPE_CHECKING:
    from fastws.loadgen import Plan
    from fastws.loadgen.keyed import Keyed
    from fastws.loadgen.storm import Storm

__all__ = ["SCENARIOS", "make_keyed", "make_plan", "make_storm", "urls_and_scenario"]

#: Default of --warmup. A script has none: what it does once would be over.
WARMUP_SECONDS = 1.0
SCENARIOS = ("echo", "fanout", "room", "connect", "idle", "feed", "keyed", "resume")
#: The scenarios that an option is for.
SCENARIO_OF_OPTION = {
    "depth": ("echo",),
    "publishers": ("fanout", "feed"),
    "window": ("fanout",),
    "speak_once": ("idle",),
    "stayers": ("resume",),
    "missed": ("resume",),
    "spread": ("resume",),
    "keys": ("keyed",),
    "stalled": ("keyed",),
    "stall": ("keyed",),
    "slow": ("keyed",),
    "slow_rate": ("keyed",),
    "moved_by": ("keyed",),
}
#: Options of messages and of schedules: a script has its own.
NOT_FOR_SCRIPTS = ("rate", "message", "deflate", "merged_by", "to_others", "any_reply")
NOT_FOR_FEEDS = ("message", "deflate", "merged_by", "to_others", "header", "origin", "subprotocol", "ramp")


def urls_and_scenario(words: Sequence[str], script: str | None) -> tuple[list[str], str]:
    """Return what the arguments name. With a script there is no scenario. Raises click.UsageError."""
    if script is not None:
        if words[-1] in SCENARIOS:
            raise click.UsageError(f"--script says what clients do: leave {words[-1]} out")
        return list(words), "script"
    *urls, scenario = words
    if scenario not in SCENARIOS:
        raise click.UsageError(f"{scenario!r} is not one of {', '.join(SCENARIOS)}, and there is no --script")
    if not urls:
        raise click.UsageError("Missing argument 'URL'")
    return urls, scenario


def make_plan(urls: Sequence[str], scenario: str, options: dict[str, Any], *, duration: float) -> Plan:
    """Make the plan; ``duration`` is its default.

    Raises click.UsageError for options that do not belong together, and PlanError.
    """
    from fastws.loadgen import Plan, Scenario

    check_scenario(scenario, options)
    for name in ("depth", "window"):
        if options[name] and options["rate"]:
            raise click.UsageError(
                f"--{name} is for a closed loop and --rate for an open one: give one of them"
            )
    values = {name: value for name, value in options.items() if value is not None}
    topic, script = values.pop("topic"), values.pop("script", None)
    if scenario == "feed":
        urls, scenario = through_feed(urls, topic, values), "fanout"
    if script is not None:
        values["script"] = read_script(script, options)
    if options["warmup"] is None:
        values["warmup"] = 0.0 if script is not None else WARMUP_SECONDS
    values["binary"] = not values.pop("text")
    values["headers"] = values.pop("header")
    values["subprotocols"] = values.pop("subprotocol")
    values.setdefault("duration", duration)
    return Plan(url=urls[0], more_urls=tuple(urls[1:]), scenario=Scenario(scenario), **values)


def read_script(file: str, options: dict[str, Any]) -> str:
    """Return the text of a script, whose lines are right.

    Raises click.UsageError for a wrong line and for an option that a script has no use for, and CannotStart.
    """
    from fastws.loadgen.script import ScriptError, parse_script

    for name in NOT_FOR_SCRIPTS:
        if options[name]:
            raise click.UsageError(
                f"--{name.replace('_', '-')} is not for a script, which has its own messages"
            )
    try:
        text = Path(file).read_text("utf-8")
        parse_script(text)
    except OSError as error:
        raise CannotStart(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{file} is not a text in UTF-8") from None
    except ScriptError as error:
        raise click.UsageError(f"{file}: {error}") from None
    return text


def check_scenario(scenario: str, options: dict[str, Any]) -> None:
    """Raise click.UsageError for an option of another scenario."""
    for name, needed in SCENARIO_OF_OPTION.items():
        if options[name] and scenario not in needed:
            raise click.UsageError(
                f"--{name.replace('_', '-')} belongs to {' and '.join(needed)}, not to {scenario}"
            )


def through_feed(urls: Sequence[str], topic: str, values: dict[str, Any]) -> list[str]:
    """Make the values of a fan-out those of one through a feed; return the URLs that subscribe."""
    import json
    from urllib.parse import quote

    from fastws.loadgen.payload import filler
    from fastws.loadgen.plan import STAMP_SIZE
    from fastws.loadgen.storm import MAX_RATE

    if "message" in values:
        raise click.UsageError("--message is not for a feed, whose messages are JSON objects: give --size")
    publishers = values.get("publishers", 1)
    most = MAX_RATE * publishers
    if values.setdefault("rate", most) > most:
        raise click.UsageError(
            f"a feed takes 50 commands a second from a client: {publishers} publishers send at most {most:g}"
        )
    text = filler(max(0, values["size"] - STAMP_SIZE), binary=False).decode()
    command = json.dumps({"pub": topic, "d": "STAMP" + text}, separators=(",", ":"))
    values["message"] = command.replace('"d":"STAMP', '"d":"{stamp}', 1)
    return [f"{url}{'&' if '?' in url else '?'}topic={quote(topic)}" for url in urls]


def make_storm(urls: Sequence[str], options: dict[str, Any]) -> Storm:
    """Return what a storm is to be. Raises click.UsageError for options of other scenarios, and PlanError."""
    from fastws.loadgen.storm import Storm

    names = ("topic", "clients", "stayers", "missed", "rate", "size", "spread", "insecure", "pid")
    return Storm(url=only("resume", urls), **chosen("resume", options, names))


def make_keyed(urls: Sequence[str], options: dict[str, Any]) -> Keyed:
    """Return how a keyed topic is to be measured. Raises as :func:`make_storm`."""
    from fastws.loadgen.keyed import Keyed

    names = (
        "topic", "clients", "keys", "stalled", "stall", "slow", "slow_rate", "rate", "moved_by", "duration",
        "insecure", "pid",
    )  # fmt: skip
    return Keyed(url=only("keyed", urls), **chosen("keyed", options, names))


def only(scenario: str, urls: Sequence[str]) -> str:
    """Return the URL. Raises click.UsageError where there are several."""
    if len(urls) > 1:
        raise click.UsageError(f"{scenario} takes one URL")
    return urls[0]


def chosen(scenario: str, options: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the options that were given. Raises click.UsageError for those that the scenario has not."""
    check_scenario(scenario, options)
    for name in NOT_FOR_FEEDS:
        if options[name]:
            raise click.UsageError(f"--{name.replace('_', '-')} is not for {scenario}")
    return {name: options[name] for name in names if options[name] is not None}
