"""``fastws serve --metrics``: what it opens for who operates the server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from fastws.cli import logs
from fastws.cli.errors import CannotStart, os_error_text
from fastws.cli.listeners import FDAddress, ListenAddress, Listener, open_listeners, parse_address, unix_files
from fastws.cli.options import adds, option
from fastws.server.descriptors import inode, is_socket, remove_own, take_over
from fastws.workers.notify import beat_watchdog, watchdog_seconds

if TYPE_CHECKING:
    from fastws.meters.board import Board
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
        "--control",
        section="Operation",
        metavar="PATH",
        help="Answer `fastws top` and `fastws ctl` at this Unix socket, in a folder of your own.",
    ),
    option(
        "--require-broker",
        section="Operation",
        is_flag=True,
        help="Answer /readyz with 503 while the broker of --broker cannot be reached.",
    ),
    option(
        "--pid",
        section="Operation",
        metavar="FILE",
        help="Write the process to send signals to into FILE; removed in the end.",
    ),
]

observe_options = adds(OPTIONS)


def metrics_address(text: str) -> ListenAddress:
    """Parse ``[HOST:]PORT``. Raises click.UsageError."""
    try:
        address = parse_address(f"127.0.0.1:{text}" if text.isascii() and text.isdigit() else text)
    except click.UsageError as error:
        raise click.UsageError(error.message.replace("--bind", "--metrics")) from None
    if isinstance(address, FDAddress):
        raise click.UsageError(f"--metrics {text!r} is not [HOST:]PORT")
    return address


def opened_control(path: str) -> socket.socket:
    """Listen at ``--control``. Raises `CannotStart`."""
    from fastws.observe.control import ControlRefused, open_control

    try:
        take_over(path)
        return open_control(path)
    except ControlRefused as error:
        raise CannotStart(f"--control {path}: {error}") from None
    except OSError as error:
        is_file = error.errno == errno.EADDRINUSE and not is_socket(path)
        reason = "there is a file that is no socket" if is_file else os_error_text(error)
        raise CannotStart(f"--control {path}: {reason}") from None


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
        self._control: str | None = options["control"]
        self._control_socket: socket.socket | None = None
        self._requires_broker: bool = options["require_broker"]
        self._addresses = [metrics_address(options["metrics"])] if options["metrics"] else []
        self._listeners: list[Listener] = []
        self._server: Server | None = None
        if self._requires_broker and not options["broker"]:
            raise click.UsageError("--require-broker needs --broker")
        if self._addresses:
            from fastws.observe.collector import check_client

            try:
                check_client()
            except ImportError as error:
                raise CannotStart(f"--metrics: {error}") from None

    @property
    def measures(self) -> bool:
        """Whether anything is to be measured."""
        return bool(self._addresses) or self._control is not None

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Have the listeners open, and the file written. Raises `CannotStart`."""
        files: list[Any] = []
        try:
            self._listeners = open_listeners(self._addresses, BACKLOG)
            files = unix_files(self._addresses)
            if self._control is not None:
                self._control_socket = opened_control(self._control)
                files.append((self._control, inode(self._control)))
            with self._pid_written():
                yield
        finally:
            if self._control_socket is not None:
                self._control_socket.close()
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
            logs.say(f"Metrics on {listener.url('http')}")

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
        async with contextlib.AsyncExitStack() as stack:
            if watchdog_seconds() is not None:
                stack.callback(asyncio.create_task(beat_watchdog()).cancel)
            if self.measures:
                await self._observe_here(stack)
            return await serving

    async def _observe_here(self, stack: contextlib.AsyncExitStack) -> None:
        from fastws.meters.meters import begin_measuring
        from fastws.observe.sampling import sampling

        meters = begin_measuring()
        await stack.enter_async_context(sampling(meters))
        if self._listeners:
            from fastws.observe.collector import metrics_of
            from fastws.observe.listener import listening
            from fastws.observe.sources import OwnSource

            metrics = metrics_of(OwnSource(lambda: self._server, meters.board))
            routes = self._routes(metrics, meters.board, lives=[], ready=[self._why_not_ready])
            await stack.enter_async_context(listening(routes, self._sockets()))
        if self._control_socket is not None:
            from fastws.observe.control import controlling
            from fastws.observe.desk import LoneDesk

            desk = LoneDesk(meters.board, lambda: self._server)
            await stack.enter_async_context(controlling(self._control_socket.dup(), desk.answer))

    def _why_not_ready(self) -> str | None:
        if self._server is None:
            return "it starts"
        return None if self._server.is_serving() else "it drains"

    # -- several --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def beside(self, supervisor: Supervisor) -> Iterator[None]:
        """Serve the metrics of a supervisor's workers in a thread."""
        if not self.measures:
            yield
            return
        from fastws.observe.thread import ObservingThread

        thread = ObservingThread(partial(self._observe_workers, supervisor))
        thread.start()
        try:
            yield
        finally:
            thread.stop()

    async def _observe_workers(self, supervisor: Supervisor, stack: contextlib.AsyncExitStack) -> None:
        """Serve the metrics and answer, on the loop of a thread."""
        watch = supervisor.watch

        def hangs() -> str | None:
            return "the supervisor hangs" if time.monotonic() - watch.turned > HANG_SECONDS else None

        if self._listeners:
            from fastws.observe.collector import metrics_of
            from fastws.observe.listener import listening
            from fastws.observe.sources import PageSource

            source = PageSource(watch.page, watch.states, watch.pids)
            metrics = metrics_of(source)
            routes = self._routes(metrics, source.board, lives=[hangs], ready=[watch.why_not_ready])
            await stack.enter_async_context(listening(routes, self._sockets()))
        if self._control_socket is not None:
            from fastws.observe.control import controlling
            from fastws.observe.desk import WorkersDesk

            desk = WorkersDesk(watch, supervisor.inquiry, supervisor.wake)
            await stack.enter_async_context(controlling(self._control_socket.dup(), desk.answer))

    def _sockets(self) -> list[socket.socket]:
        return [sock.dup() for listener in self._listeners for sock in listener.sockets]

    def _routes(self, metrics: Metrics, board: Board, *, lives: list[Any], ready: list[Any]) -> list[Route]:
        from fastws.observe.health import Health, broker_is_up
        from fastws.observe.listener import operator_routes

        if self._requires_broker:
            ready.append(partial(broker_is_up, board))
        return operator_routes(Health(lives, ready), metrics)
