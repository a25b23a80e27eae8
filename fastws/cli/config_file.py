"""Reads ``fastws.toml``: options by their names, and tables for listeners, routes and topics.

All of it is checked before anything starts: each name, the type of each value, and where a value belongs to
an option, the value itself. An error names the file and the line.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import Any

import click

from fastws.cli.errors import CannotStart, os_error_text
from fastws.cli.limits import LIMITS, TIMEOUTS
from fastws.cli.options import TrustedType, WorkersType
from fastws.cli.toml_places import Places
from fastws.config import SERVER_LIMITS, SERVER_TIMEOUTS
from fastws.pubsub.overrides import NUMBERS, WORDS

__all__ = ["ConfigError", "ConfigFile", "read_config", "suggestion"]

#: Numbers of a topic that count something.
WHOLE_NUMBERS = ("history", "history_bytes", "max_keys")
#: Options that a route may have as well.
ROUTE_OPTIONS = (
    *(each.key for each in LIMITS if each.field not in SERVER_LIMITS),
    *(each.key for each in TIMEOUTS if each.field not in SERVER_TIMEOUTS),
    "ws_per_message_deflate",
    "origin",
    "require_origin",
)
#: Options that a listener may have as well.
LISTENER_OPTIONS = (
    "proxy_protocol", "ssl_certfile", "ssl_keyfile", "ssl_keyfile_password",
    "ssl_keyfile_password_file", "ssl_ca_certs", "ssl_cert_reqs", "ssl_ciphers",
)  # fmt: skip
#: Of the command line alone.
NOT_IN_A_FILE = ("config", "help")
TABLES = ("listeners", "routes", "topics")


class ConfigError(click.UsageError):
    """What is wrong in a file; ``problems`` has a line for each mistake, the message is the first of them."""

    def __init__(self, problems: list[str], ctx: click.Context | None = None) -> None:
        more = f" (and {len(problems) - 1} more: see `fastws check`)" if len(problems) > 1 else ""
        super().__init__(problems[0] + more, ctx)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file says. ``options`` are by the names that click gives them."""

    path: str
    options: dict[str, Any]
    #: ``listeners``, ``routes`` and ``topics``; each entry has its ``values``, and its ``places`` by name.
    tables: dict[str, Any]
    places: dict[str, str]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return what a mistyped name may have meant, as the end of a sentence."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def read_config(path: str, ctx: click.Context) -> ConfigFile:
    """Read and check a file for the command of ``ctx``.

    Raises:
        CannotStart: it cannot be read.
        ConfigError: it is no TOML, or something in it is wrong.
    """
    try:
        with open(path, "rb") as file:
            text = file.read().decode()
        document = tomllib.loads(text)
    except OSError as error:
        raise CannotStart(f"--config {path}: {os_error_text(error)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path} is no UTF-8: {error.reason}"], ctx) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path} is no TOML: {error}"], ctx) from None
    return _Reader(path, Places(text), ctx).read(document)


class _Reader:
    """Collects what a document says, and everything that is wrong with it."""

    def __init__(self, path: str, places: Places, ctx: click.Context) -> None:
        self._path = path
        self._places = places
        self._ctx = ctx
        self._problems: list[str] = []
        self._params = {
            param.name: param
            for param in ctx.command.params
            if param.name and param.name not in NOT_IN_A_FILE
        }

    def read(self, document: dict[str, Any]) -> ConfigFile:
        options: dict[str, Any] = {}
        places: dict[str, str] = {}
        for key, value in document.items():
            name = key.replace("-", "_")
            if name in TABLES:
                continue
            if name not in self._params:
                known = [*map(written, self._params), *TABLES]
                self._wrong([key], f"there is no option {key!r}{suggestion(key.replace('_', '-'), known)}")
            elif name in options:
                self._wrong([key], f"{written(name)} stands there twice, with - and with _")
            elif self._has_type([key], name, value):
                options[name] = self._given(name, value)
                places[name] = self._place(key)
        tables = {
            "listeners": self._listeners(document.get("listeners", [])),
            "routes": self._named("routes", document.get("routes", {}), self._route_value),
            "topics": self._named("topics", document.get("topics", {}), self._topic_value),
        }
        if self._problems:
            raise ConfigError(self._problems, self._ctx)
        return ConfigFile(self._path, options, tables, places)

    # -- what is said of a mistake --------------------------------------------------------------

    def _place(self, *path: str | int) -> str:
        line = self._places.line(*path)
        return self._path if line is None else f"{self._path}, line {line}"

    def _wrong(self, path: Iterable[str | int], what: str) -> None:
        self._problems.append(f"{self._place(*path)}: {what}")

    # -- options --------------------------------------------------------------------------------

    def _has_type(self, path: list[str | int], name: str, value: Any) -> bool:
        """Whether a value has the type of its option; else note it."""
        param = self._params[name]
        values = value if param.multiple or isinstance(param.type, TrustedType) else [value]
        for each in values if isinstance(values, list) else [values]:
            wanted = _wanted(param, each)
            if wanted is not None:
                self._wrong(path, f"{path[-1]} is {wanted}, not {shown(each)}")
                return False
        return True

    def _given(self, name: str, value: Any) -> Any:
        """Return a value as click takes it from its map of defaults."""
        param = self._params[name]
        if isinstance(param.type, TrustedType):
            return ",".join(value) if isinstance(value, list) else value
        if param.multiple:
            return value if isinstance(value, list) else [value]
        return value

    def _converted(self, path: list[str | int], name: str, value: Any) -> Any:
        """Return a value of a table as its option would have it; None, and a note, for a wrong one."""
        if not self._has_type(path, name, value):
            return None
        param, given = self._params[name], self._given(name, value)
        try:
            if param.multiple:
                return [param.type.convert(each, param, self._ctx) for each in given]
            return param.type.convert(given, param, self._ctx)
        except click.BadParameter as error:
            self._wrong(path, f"{path[-1]}: {error.message}")
            return None

    # -- tables ---------------------------------------------------------------------------------

    def _named(self, kind: str, tables: Any, convert: Any) -> dict[str, Any]:
        """Read ``[routes."/chat"]`` and the like."""
        found: dict[str, Any] = {}
        if not isinstance(tables, dict):
            self._wrong([kind], f'{kind} is a table of tables: [{kind}."NAME"]')
            return found
        for name, table in tables.items():
            if not isinstance(table, dict):
                self._wrong([kind, name], f'{kind} is a table of tables: [{kind}."{name}"]')
                continue
            found[name] = self._entry([kind, name], table, convert)
        return found

    def _entry(self, path: list[str | int], table: Mapping[str, Any], convert: Any) -> dict[str, Any]:
        values: dict[str, Any] = {}
        places: dict[str, str] = {"": self._place(*path)}
        for key, value in table.items():
            name = key.replace("-", "_")
            values[name] = convert([*path, key], name, value)
            places[name] = self._place(*path, key)
        return {"values": values, "places": places}

    def _route_value(self, path: list[str | int], name: str, value: Any) -> Any:
        if name in ROUTE_OPTIONS:
            return self._converted(path, name, value)
        if name in self._params:
            self._wrong(path, f"{written(name)} is an option of the server, not of a route")
        else:
            hint = suggestion(written(name), map(written, ROUTE_OPTIONS))
            self._wrong(path, f"a route has no {path[-1]!r}{hint}")
        return None

    def _topic_value(self, path: list[str | int], name: str, value: Any) -> Any:
        if name in NUMBERS:
            if name in WHOLE_NUMBERS and (isinstance(value, bool) or not isinstance(value, int)):
                self._wrong(path, f"{path[-1]} is a whole number, not {shown(value)}")
            elif isinstance(value, bool) or not isinstance(value, (int, float)):
                self._wrong(path, f"{path[-1]} is a number, not {shown(value)}")
            elif not (0 < value < math.inf) and not (name == "every" and value == 0):
                self._wrong(path, f"{path[-1]} is a number above 0, not {value}")
        elif name in WORDS:
            if not isinstance(value, str):
                self._wrong(path, f"{path[-1]} is text, not {shown(value)}")
        else:
            hint = suggestion(written(name), map(written, (*NUMBERS, *WORDS)))
            self._wrong(path, f"a topic has no {path[-1]!r}{hint}")
        return value

    def _listeners(self, tables: Any) -> list[dict[str, Any]]:
        if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
            self._wrong(["listeners"], "listeners is a list of tables: [[listeners]]")
            return []
        found = []
        for number, table in enumerate(tables):
            path: list[str | int] = ["listeners", number]
            entry = self._entry(path, table, self._listener_value)
            if "bind" not in entry["values"]:
                self._wrong(path, "a listener has a bind: HOST:PORT, unix:PATH or fd://N")
            found.append(entry)
        return found

    def _listener_value(self, path: list[str | int], name: str, value: Any) -> Any:
        if name == "bind":
            if not isinstance(value, str):
                self._wrong(path, f"bind is text, not {shown(value)}")
            return value
        if name == "routes":
            if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
                self._wrong(path, f"routes is a list of paths of routes, not {shown(value)}")
            return value
        if name == "tls":
            if not isinstance(value, bool):
                self._wrong(path, f"tls is true or false, not {shown(value)}")
            return value
        if name in LISTENER_OPTIONS and name in self._params:
            return self._converted(path, name, value)
        if name in self._params:
            self._wrong(path, f"{written(name)} is an option of the server, not of a listener")
        else:
            known = ["bind", "routes", "tls", *map(written, LISTENER_OPTIONS)]
            self._wrong(path, f"a listener has no {path[-1]!r}{suggestion(written(name), known)}")
        return None


def written(name: str) -> str:
    """Return the name of an option as people write it in the file."""
    return name.replace("_", "-")


def shown(value: Any) -> str:
    """Return a value in few words, as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return str(value) if isinstance(value, (date, time)) else repr(value)


def _wanted(param: click.Parameter, value: Any) -> str | None:
    """Return what an option takes, where this value is nothing of it; None: it is."""
    kind = param.type
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(kind, click.types.BoolParamType) or getattr(param, "is_flag", False):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(kind, click.types.FloatParamType):
        return None if is_number else "a number"
    if isinstance(kind, WorkersType):
        whole = is_number and isinstance(value, int)
        return None if whole or isinstance(value, str) else 'a whole number or "auto"'
    if isinstance(kind, click.types.IntParamType):
        return None if is_number and isinstance(value, int) else "a whole number"
    return None if isinstance(value, str) else "text"
