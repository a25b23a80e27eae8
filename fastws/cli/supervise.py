"""``fastws serve --workers N``: open the listeners, start the supervisor, and return the exit code."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import click

from fastws.cli.brokers import check_reachable, gateway_hello
from fastws.cli.errors import EXIT_USAGE, CannotStart
from fastws.cli.listeners import ListenAddress, announce, open_listeners, unix_files
from fastws.cli.observing import Observing
from fastws.cli.publish_listener import Publishing, publish_sockets, say
from fastws.cli.reread import Reread
from fastws.cli.ways import Ways
from fastws.meters.board import Board
from fastws.server.descriptors import remove_own
from fastws.workers.states import ROWS, Failure, Rules
from fastws.workers.supervisor import Supervisor

__all__ = ["supervise"]

log = logging.getLogger("fastws.error")

#: What the keeper of histories is told.
KEEPER_OPTIONS = ("loop", "log_level", "log_format", "log_time", "log_config", "access_log_format")


def supervise(
    app: str | None,
    options: dict[str, Any],
    addresses: list[ListenAddress],
    ways: Ways,
    observing: Observing,
    again: Reread,
) -> int:
    """Run workers until a signal. The options are checked already.

    Raises as :func:`run_workers`.
    """
    with publish_sockets(options, ways.scheme) as publishing:
        return run_workers(app, options, addresses, ways, observing, publishing, again)


def run_workers(
    app: str | None,
    options: dict[str, Any],
    addresses: list[ListenAddress],
    ways: Ways,
    observing: Observing,
    publishing: Publishing,
    again: Reread,
) -> int:
    """Run workers until a signal, with what listens for publishers already.

    Raises:
        CannotStart: a listener cannot be opened, or the first workers cannot start.
        click.UsageError: the workers find the command line wrong.
    """
    changes = watcher(options) if options["reload"] else None
    check_reachable(options["broker"])
    listeners = open_listeners(addresses, options["backlog"])
    files = unix_files(addresses)
    sockets = [sock for listener in listeners for sock in listener.sockets]
    numbers = [ways.number(index) for index, listener in enumerate(listeners) for _ in listener.sockets]
    hello = {"app": app, "options": plain_options(options), "ways": numbers}

    def serving() -> None:
        announce(listeners, ways.schemes, options)
        observing.announce()
        say(publishing[1])

    try:
        supervisor = RereadingSupervisor(
            "fastws.cli.worker_process",
            (
                "fastws.cli.keeper_process",
                {
                    "options": {name: options[name] for name in KEEPER_OPTIONS},
                    **gateway_hello(options["broker"]),
                },
            ),
            hello,
            [*sockets, *publishing[0]],
            options["workers"],
            rules_of(options),
            serving,
            Board.create(ROWS) if observing.measures else None,
        )
        supervisor.refresh = lambda: refresh(again, hello)
        if changes is not None:
            threading.Thread(target=changes, args=(supervisor,), name="fastws-reload", daemon=True).start()
        with observing.beside(supervisor):
            code, failure = supervisor.run()
    finally:
        for sock in sockets:
            sock.close()
        for path, ours in files:
            remove_own(path, ours)
    if failure is not None:
        raise as_error(failure)
    return code


class RereadingSupervisor(Supervisor):
    """A supervisor whose reloads begin with the options."""

    #: Gives new workers the options of now.
    refresh: Callable[[], None]

    def _signal(self, number: int) -> None:
        if number == signal.SIGHUP and not self._stopped_by:
            self.refresh()
        super()._signal(number)


def refresh(again: Reread, hello: dict[str, Any]) -> None:
    """Read the options again, and write them as workers are told them."""
    again.refresh(hello)
    hello["options"] = plain_options(hello["options"])


def as_error(failure: Failure) -> click.ClickException:
    if failure.code == EXIT_USAGE:
        return click.UsageError(failure.text, click.get_current_context(silent=True))
    return CannotStart(failure.text)


def rules_of(options: dict[str, Any]) -> Rules:
    """The settings of the supervisor. With ``--reload`` nobody waits for clients to leave."""
    return Rules(
        hang_timeout=options["timeout_worker"],
        drain=0.0 if options["reload"] else options["timeout_drain"],
        grace=options["timeout_graceful_shutdown"],
        max_lifetime=options["max_lifetime"],
        max_messages=options["limit_max_messages"],
        max_rss=options["worker_max_rss"],
    )


def plain_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options as JSON can carry them: strings, numbers, and lists of those."""
    return {
        name: [list(each) if isinstance(each, tuple) else each for each in value]
        if isinstance(value, (list, tuple))
        else value
        for name, value in options.items()
    }


def watcher(options: dict[str, Any]) -> Any:
    """Return what watches the files of ``--app-dir``. Raises `CannotStart` without watchfiles."""
    try:
        watchfiles = importlib.import_module("watchfiles")
    except ImportError:
        raise CannotStart("--reload needs watchfiles: pip install watchfiles") from None
    folder = os.path.abspath(options["app_dir"])
    if not os.path.isdir(folder):
        raise CannotStart(f"--app-dir {options['app_dir']}: no such directory")

    def watch(supervisor: Supervisor) -> None:
        # Python files alone: the log of this very server may be written into the same folder.
        python = watchfiles.PythonFilter()
        options = {"raise_interrupt": False, "ignore_permission_denied": True}
        try:
            for _ in watchfiles.watch(folder, watch_filter=python, **options):
                supervisor.wake(signal.SIGHUP)
        except Exception as error:  # the system has no room for more watches, or the folder is gone
            log.error("--reload sees no more changes under %s: %s", folder, error)

    return watch
