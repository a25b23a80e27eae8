"""Scripts of the load generator: what each client does, one JSON object a line."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from fastws.loadgen.thresholds import parse_duration

__all__ = ["Action", "Script", "ScriptError", "Step", "parse_script"]

#: Stands for the moment of sending. Messages that come with it tell their latency.
STAMP_FIELD = "{stamp}"
#: Seconds in which what is expected has to come.
WITHIN = 10.0
OPTIONS = ("within", "clients")


class ScriptError(ValueError):
    """A line of a script is wrong; the text says which, and why."""


class Action(StrEnum):
    """What a step does."""

    #: Send a text, or any JSON value as one.
    SEND = "send"
    #: Send bytes, which are written as base64.
    BINARY = "binary"
    #: Subscribe to a topic of a feed, and wait until it has begun.
    SUB = "sub"
    #: Do nothing for a time.
    WAIT = "wait"
    #: Wait for a message.
    EXPECT = "expect"
    #: No step: the lines after it are repeated.
    REPEAT = "repeat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. Its value is a text (``send``, ``sub``), bytes, seconds, or what a message must have."""

    line: int
    action: Action
    value: Any
    #: Seconds that ``expect`` and ``sub`` wait at most.
    within: float = WITHIN
    #: Only so many clients take this step, the first ones. None: all.
    clients: int | None = None

    def is_of(self, client: int) -> bool:
        """Whether the client of this number takes it."""
        return self.clients is None or client < self.clients

    @property
    def waits(self) -> bool:
        return self.action in (Action.WAIT, Action.EXPECT, Action.SUB)


@dataclass(frozen=True, slots=True)
class Script:
    """Steps that each client takes once, and steps that it takes again and again after them."""

    once: tuple[Step, ...]
    again: tuple[Step, ...] = ()
    #: How often. None: until the run ends.
    times: int | None = None

    @property
    def stamped(self) -> bool:
        """Whether messages say when they were sent: then these count, and not what steps expect."""
        sent = (step.value for step in (*self.once, *self.again) if step.action is Action.SEND)
        return any(STAMP_FIELD in text for text in sent)

    @property
    def expects(self) -> bool:
        return any(step.action in (Action.EXPECT, Action.SUB) for step in (*self.once, *self.again))


def parse_script(text: str) -> Script:
    """Read the lines of a script. Empty lines and lines that begin with ``#`` are left out.

    Raises:
        ScriptError: A line is wrong.
    """
    once: list[Step] = []
    again: list[Step] = []
    marker: Step | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        step = _step(number, line)
        if step.action is not Action.REPEAT:
            (once if marker is None else again).append(step)
        elif marker is not None:
            raise ScriptError(f"line {number}: lines are repeated since line {marker.line} already")
        else:
            marker = step
    if marker is None:
        if not once:
            raise ScriptError("there is no step")
        return Script(tuple(once))
    if not again:
        raise ScriptError(f"line {marker.line}: nothing follows that could be repeated")
    times = None if marker.value is True else marker.value
    if times is None:
        _check_pauses(marker.line, again)
    return Script(tuple(once), tuple(again), times)


def _check_pauses(line: int, steps: Sequence[Step]) -> None:
    """Raise where a client would send without an end and without a pause."""
    for client in (0, *(step.clients for step in steps if step.clients is not None)):
        own = [step for step in steps if step.is_of(client)]
        if own and not any(step.waits for step in own):
            raise ScriptError(
                f"line {line}: client {client + 1} would send without a pause: repeat a wait or an expect too"
            )


def _step(number: int, line: str) -> Step:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ScriptError(f"line {number}: this is no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ScriptError(f"line {number}: a step is a JSON object")
    actions = [name for name in fields if name not in OPTIONS]
    if len(actions) != 1 or actions[0] not in list(Action):
        raise ScriptError(f"line {number}: a step has one of {', '.join(Action)}")
    action = Action(actions[0])
    try:
        value = _value(action, fields[action])
        return Step(line=number, action=action, value=value, **_options(action, fields))
    except ValueError as error:
        raise ScriptError(f"line {number}: {action}: {error}") from None


def _value(action: Action, value: Any) -> Any:
    match action, value:
        case Action.SEND, str():
            return value
        case Action.SEND, _:
            return orjson.dumps(value).decode()
        case Action.BINARY, str():
            try:
                return base64.b64decode(value, validate=True)
            except binascii.Error:
                raise ValueError(f"{value!r} is no base64") from None
        case Action.SUB, str() if value:
            return value
        case Action.WAIT, str() | int() | float() if value is not True and (
            seconds := parse_duration(str(value))
        ):
            return seconds
        case Action.EXPECT, str() | dict():
            return value
        case Action.REPEAT, bool() | int() if value >= 1:
            return value
    raise ValueError(f"write {_FORMS[action]}")


_FORMS = {
    Action.BINARY: "bytes as base64",
    Action.SUB: "the name of a topic",
    Action.WAIT: 'a time above 0, such as "100ms"',
    Action.EXPECT: "a text that the message has in it, or a JSON object with some of its members",
    Action.REPEAT: "how often, or true for until the run ends",
}


def _options(action: Action, fields: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "within" in fields:
        if action not in (Action.EXPECT, Action.SUB):
            raise ValueError("only expect and sub have a within")
        found["within"] = _value(Action.WAIT, fields["within"])
    if "clients" in fields:
        clients = fields["clients"]
        if type(clients) is not int or clients < 1 or action is Action.REPEAT:
            raise ValueError("clients says how many of them take a step: a number of at least 1")
        found["clients"] = clients
    return found
