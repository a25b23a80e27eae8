"""Applies the tables of ``fastws.toml`` to what the application is made of."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastws.cli.config_file import suggestion
from fastws.cli.errors import CannotStart
from fastws.cli.limits import LIMITS, TIMEOUTS
from fastws.cli.options import seconds_or_never
from fastws.config import Compression
from fastws.pubsub.overrides import overrides
from fastws.web.origins import parse_origins
from fastws.web.routes import Route

__all__ = ["check_listener_routes", "check_topics", "set_topics", "tables", "with_route_tables"]


def set_topics(options: Mapping[str, Any]) -> None:
    """Have topics changed that are declared from now on: before the application is imported."""
    overrides.replace(tables(options)["topics"])


def check_topics() -> None:
    """Raise `CannotStart` for a table of topics that the application has not declared."""
    for pattern, place in overrides.missing():
        hint = suggestion(pattern, overrides.declared)
        raise CannotStart(f"{place}: the application declares no topic {pattern!r}{hint}")


def with_route_tables(routes: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """Return the routes with what their tables change. Raises `CannotStart` for one that does not exist."""
    changes = dict(tables(options)["routes"])
    found = []
    for route in routes:
        table = changes.pop(route.path, None) if isinstance(route, Route) else None
        found.append(route if table is None else _changed(route, table["values"]))
    paths = [route.path for route in routes if isinstance(route, Route)]
    for path, table in changes.items():
        hint = suggestion(path, paths)
        raise CannotStart(f"{table['places']['']}: the application has no route {path!r}{hint}")
    return found


def check_listener_routes(options: Mapping[str, Any], paths: Sequence[str]) -> None:
    """Raise `CannotStart` where a listener serves a route that the application does not have."""
    for table in tables(options)["listeners"]:
        for path in table["values"].get("routes") or ():
            if path not in paths:
                place, hint = table["places"]["routes"], suggestion(path, paths)
                raise CannotStart(f"{place}: the application has no route {path!r}{hint}")


def tables(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables among the options of a command; empty ones where no file was read."""
    found: dict[str, Any] = options.get("tables") or {"listeners": [], "routes": {}, "topics": {}}
    return found


def _changed(route: Route, values: Mapping[str, Any]) -> Route:
    """Return a copy of a route with the options of its table. What it does not name stays."""
    changed = copy.copy(route)
    limits = {each.field: values[each.key] for each in LIMITS if each.key in values}
    timeouts = {each.field: seconds_or_never(values[each.key]) for each in TIMEOUTS if each.key in values}
    changed.limits = _merged(route.limits, limits)
    changed.timeouts = _merged(route.timeouts, timeouts)
    deflates = values.get("ws_per_message_deflate")
    if deflates is False:
        changed.compression = None
    elif deflates and not isinstance(route.compression, Compression):
        changed.compression = Compression()
    if "origin" in values:
        changed.origins = parse_origins(values["origin"])
    if "require_origin" in values:
        changed.require_origin = values["require_origin"]
    return changed


def _merged(given: Any, changes: dict[str, Any]) -> Any:
    """Return limits or timeouts of a route, given as a whole or as the fields to change, with changes."""
    if not changes:
        return given
    if given is None or isinstance(given, Mapping):
        return {**(given or {}), **changes}
    return replace(given, **changes)
