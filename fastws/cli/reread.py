"""A reload reads the file of options again: new workers get what it says then."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import click

from fastws.cli.config_option import tables_of
from fastws.cli.options import arguments_of

__all__ = ["Reread"]

log = logging.getLogger("fastws.error")

Options = dict[str, Any]

#: What the supervisor, or the keeper, has from its start on; and what belongs to sockets that are open.
FIXED = (
    "host", "port", "bind", "uds", "fd", "backlog", "workers", "reload", "metrics", "control", "pid",
    "publish", "broker", "broker_file", "timeout_worker", "timeout_drain", "timeout_graceful_shutdown",
    "max_lifetime", "limit_max_messages", "worker_max_rss",
)  # fmt: skip


class Reread:
    """Reads the options of the running command again.

    Args:
        options: those that it has begun with.
        prepare: completes options, as for those.
        checks: each is called with new options, and raises a `click.ClickException` for what cannot be.
    """

    def __init__(
        self,
        options: Options,
        prepare: Callable[[Options], Options],
        checks: Sequence[Callable[[Options], object]],
    ) -> None:
        context = click.get_current_context()
        self._command = context.command
        self._arguments = arguments_of(context)
        self._options = options
        self._prepare = prepare
        self._checks = checks

    def refresh(self, hello: dict[str, Any]) -> None:
        """Give new workers what the file says now; where it is wrong, say so and leave all as it was."""
        if self._options["config"] is None:
            return
        try:
            app, options = self._read()
        except click.ClickException as error:
            log.error("the options stay as they were: %s", " ".join(error.format_message().split()))
            return
        changed = _changes(self._options, options)
        hello["app"] = app
        hello["options"] = options
        self._options = options
        if changed:
            log.info("the file of options has been read again; changed: %s", ", ".join(changed))

    def _read(self) -> tuple[str | None, Options]:
        context = self._command.make_context(self._command.name, list(self._arguments))
        with context:
            app = context.params.pop("app")
            options = self._prepare({**context.params, "tables": tables_of(context)})
            self._keep(options)
            for check in self._checks:
                check(options)
        return app, options

    def _keep(self, options: Options) -> None:
        """Put back what only a restart changes."""
        for name in FIXED:
            if options[name] != self._options[name]:
                log.warning("--%s changes with a restart only", name.replace("_", "-"))
                options[name] = self._options[name]
        before, after = self._options["tables"]["listeners"], options["tables"]["listeners"]
        if [each["values"]["bind"] for each in before] != [each["values"]["bind"] for each in after]:
            log.warning("[[listeners]] change with a restart only")
            options["tables"] = {**options["tables"], "listeners": before}


def _changes(before: Options, after: Options) -> list[str]:
    """Return the names of the options and kinds of tables whose values differ; lines may have moved."""
    changed = [
        name.replace("_", "-") for name in after if name != "tables" and after[name] != before.get(name)
    ]
    old, new = _values(before["tables"]), _values(after["tables"])
    return changed + [kind for kind in new if new[kind] != old[kind]]


def _values(tables: Any) -> dict[str, Any]:
    """Return the values of the tables, without the places where they stand."""
    named = {
        kind: {name: each["values"] for name, each in tables[kind].items()} for kind in ("routes", "topics")
    }
    return {"listeners": [each["values"] for each in tables["listeners"]], **named}
