"""``fastws serve --metrics``: what it opens for who operates the server."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

import click

from fastws.cli.errors import CannotStart
from fastws.cli.listeners import FDAddress, ListenAddress, Listener, open_listeners, parse_address, unix_files
from fastws.cli.options import option
from fastws.server.descriptors import remove_own

if TYPE_CHECKING:
    from fastws.observe.collector import Metrics
    from fastws.server.server import Server
    from fastws.web.routes import Route
    from fastws.workers.supervisor import Supervisor

__all__ = ["Observing", "observe_options"]

#: Connections that may wait to be accepted.
BACKLOG = 16
#: Seconds without a turn of the supervisor after which it does not live.
HANG_SECONDS = 10.0

OPTIONS = [
    option(
        "--metrics",
        section="Operation",
        metavar="[HOST:]PORT",
        help="Serve /metrics for Prometheus, /livez and /readyz there, in plain HTTP; HOST is 127.0.0.1.",
    ),
    option(
        "--pid",
        section="Operation",
        metavar="FILE",
        help="Write the process to send signals to into FILE; removed in the end.",
    ),
]


def observe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all these options to a command."""
    for add in reversed(OPTIONS):
        command = add(command)
    return command


def metrics_address(text: str) -> ListenAddress:
    """Parse ``[HOST:]PORT``. Raises click.UsageError."""
    try:
        address = parse_address(f"127.0.0.1:{text}" if text.isascii() and text.isdigit() else text)
    except click.UsageError as error:
        raise click.UsageError(error.message.replace("--bind", "--metrics")) from None
    if isinstance(address, FDAddress):
        raise click.UsageError(f"--metrics {text!r} is not [HOST:]PORT")
    return address


class Observing:
    """The listeners and files for who operates the server, from the options to the end.

    Args:
        options: those of ``fastws serve``.

    Raises:
        CannotStart: prometheus-client is missing.
        click.UsageError: an option says what cannot be.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._pid: str | None = options["pid"]
        self._addresses = [metrics_address(options["metrics"])] if options["metrics"] else []
        self._listeners: list[Listener] = []
        self._server: Server | None = None
        if self._addresses:
            from fastws.observe.collector import check_client

            try:
                check_client()
            except ImportError as error:
                raise CannotStart(f"--metrics: {error}") from None

    @property
    def measures(self) -> bool:
        """Whether anything is to be measured."""
        return bool(self._addresses)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Have the listeners open, and the file written. Raises `CannotStart`."""
        files: list[Any] = []
        try:
            self._listeners = open_listeners(self._addresses, BACKLOG)
            files = unix_files(self._addresses)
            with self._pid_written():
                yield
        finally:
            for listener in self._listeners:
                for sock in listener.sockets:
                    sock.close()
            for path, ours in files:
                remove_own(path, ours)

    @contextlib.contextmanager
    def _pid_written(self) -> Iterator[None]:
        if self._pid is None:
            yield
            return
        try:
            with open(self._pid, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
        except OSError as error:
            raise CannotStart(f"--pid {self._pid}: {error.strerror}") from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError, ValueError):
                # Not that of a server which has taken the name meanwhile.
                with open(self._pid, encoding="ascii") as file:
                    is_ours = int(file.read()) == os.getpid()
                if is_ours:
                    os.unlink(self._pid)

    def announce(self) -> None:
        """Say where the metrics are."""
        for listener in self._listeners:
            click.echo(f"Metrics on {listener.url('http')}", err=True)

    # -- one process ----------------------------------------------------------------------------

    def begin_measuring(self) -> None:
        """Measure in this process, before the application makes topics."""
        if self.measures:
            from fastws.meters.meters import begin_measuring

            begin_measuring()

    def serving(self, server: Server) -> None:
        """Take the server, which listens."""
        self._server = server
        self.announce()

    async def around(self, serving: Coroutine[Any, Any, int]) -> int:
        """Serve the metrics beside ``serving``, on its loop."""
        if not self._listeners:
            return await serving
        from fastws.meters.meters import begin_measuring
        from fastws.observe.collector import metrics_of
        from fastws.observe.listener import listening
        from fastws.observe.sampling import sampling
        from fastws.observe.sources import OwnSource

        meters = begin_measuring()
        metrics = metrics_of(OwnSource(lambda: self._server, meters.board))
        routes = self._routes(metrics, lives=[], ready=[self._why_not_ready])
        async with listening(routes, self._sockets()), sampling(meters):
            return await serving

    def _why_not_ready(self) -> str | None:
        if self._server is None:
            return "it starts"
        return None if self._server.is_serving() else "it drains"

    # -- several --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def beside(self, supervisor: Supervisor) -> Iterator[None]:
        """Serve the metrics of a supervisor's workers in a thread."""
        if not self._listeners:
            yield
            return
        from fastws.observe.collector import metrics_of
        from fastws.observe.listener import ListenerThread
        from fastws.observe.sources import PageSource

        watch = supervisor.watch
        metrics = metrics_of(PageSource(watch.page, watch.states, watch.pids))

        def hangs() -> str | None:
            return "the supervisor hangs" if time.monotonic() - watch.turned > HANG_SECONDS else None

        routes = self._routes(metrics, lives=[hangs], ready=[watch.why_not_ready])
        thread = ListenerThread(routes, self._sockets())
        thread.start()
        try:
            yield
        finally:
            thread.stop()

    def _sockets(self) -> list[Any]:
        return [sock.dup() for listener in self._listeners for sock in listener.sockets]

    def _routes(self, metrics: Metrics, *, lives: list[Any], ready: list[Any]) -> list[Route]:
        from fastws.observe.health import Health
        from fastws.observe.listener import operator_routes

        return operator_routes(Health(lives, ready), metrics)
