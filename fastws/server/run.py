"""A server as a program of its own: until SIGINT or SIGTERM, in a running loop or with a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl as ssl_module
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, Unpack, cast

from fastws.config import Settings, check_options
from fastws.loop.event_loops import loop_factory
from fastws.meters.meters import measuring
from fastws.server.beside import Beside, listening_beside
from fastws.server.descriptors import accepts_in_bulk
from fastws.server.factory import Factory, called_early, check_factory, made
from fastws.server.memory import keep_blocks, trim_when_calm
from fastws.server.server import APPLICATION_FAILED, DEFAULT_GRACE, Server
from fastws.server.settings import SettingsOptions, settings_from
from fastws.server.shared_page import Membership
from fastws.server.site import FULL_WARNING_INTERVAL, App

__all__ = ["AcceptErrors", "run", "serve_until_signal", "serving"]

log = logging.getLogger("fastws.error")

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: Seconds of the grace that the process itself needs to end, once the last clients are cut.
EXIT_SECONDS = 0.5


class AcceptErrors:
    """Logs once in 10 s that accepting fails; asyncio's own handler would fill the log with it."""

    def __init__(self) -> None:
        self._next_warning = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not str(context.get("message")).startswith("socket.accept()"):
            loop.default_exception_handler(context)
        elif loop.time() >= self._next_warning:
            self._next_warning = loop.time() + FULL_WARNING_INTERVAL
            log.warning("connections cannot be accepted: %s", context.get("exception"))


@contextlib.asynccontextmanager
async def serving(
    app: App | Factory,
    addresses: Iterable[Mapping[str, Any]],
    settings: Settings,
    *,
    factory: bool = False,
    leads: bool = True,
    membership: Membership | None = None,
    beside: Iterable[Beside] = (),
) -> AsyncIterator[Server]:
    """A server that listens, in a process that has nothing else to do; the caller has to shut it down.

    When the block is left by an exception, all connections are cut. With ``membership`` it is one of several
    workers. What is to be served ``beside`` it ends with the block, before the server does.
    """
    loop = asyncio.get_running_loop()
    if accepts_in_bulk(loop):
        loop.set_exception_handler(AcceptErrors())
    server = Server(await made(app, factory=factory), settings, leads=leads)
    if membership is not None:
        server.share(membership)
    if (meters := measuring()) is not None:
        server.measure(meters)
    trimming: asyncio.Task[None] | None = None
    try:
        await server.startup()
        for address in addresses:
            await server.listen(**address)
        async with listening_beside(beside):
            keep_blocks()
            trimming = loop.create_task(trim_when_calm())
            yield server
    except BaseException:
        await server.shutdown(0)
        raise
    finally:
        if trimming is not None:
            trimming.cancel()


async def serve_until_signal(
    app: App | Factory,
    addresses: Iterable[Mapping[str, Any]],
    settings: Settings,
    *,
    factory: bool = False,
    started: Callable[[Server], None] = lambda server: None,
    stopping: Callable[[Server], None] = lambda server: None,
    grace: float | None = DEFAULT_GRACE,
    beside: Iterable[Beside] = (),
) -> int:
    """Serve in the running loop until SIGINT or SIGTERM, then shut down and return 0, the exit code.

    Where the lifespan of an ASGI application or a background task fails meanwhile, it shuts down too, and
    returns 3.

    For a program of its own, as ``fastws serve`` is one: it takes both signals, of which a second one ends
    the process at once with 128 + its number. :func:`run` brings the loop too. Only the main thread can
    take signals. When it is cancelled, it cuts all connections at once.

    Args:
        app, factory: as for :func:`serve`.
        addresses: where to listen; each a mapping of the arguments of :meth:`Server.listen`.
        settings: the defaults of all routes.
        started: called with the server as soon as it listens.
        stopping: called with the server when the signal has come, before it tells its clients.
        grace: seconds (10) after the signal in which the process can have ended; clients that have not
            are cut half a second before. None: wait until the last client has ended.
        beside: what ``fastws serve`` listens for with routes of their own. Default: nothing.

    It raises what :func:`serve` does.
    """
    if factory:
        check_factory(app)
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()

    def on_signal(number: int) -> None:
        if stop.done():
            os._exit(128 + number)
        stop.set_result(number)

    def on_failure(_: object) -> None:
        if not stop.done():
            stop.set_result(0)

    async with serving(app, addresses, settings, factory=factory, beside=beside) as server:
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, on_signal, number)
        started(server)
        server.application_failed.add_done_callback(on_failure)
        stopped_by = await stop
        stopping(server)
    why = signal.Signals(stopped_by).name if stopped_by else "the application failed"
    log.info("%s: closing %d connections", why, len(server.connections))
    await server.shutdown(None if grace is None else max(grace - EXIT_SECONDS, 0.0))
    return 0 if stopped_by else APPLICATION_FAILED


def run(
    app: App | Factory,
    host: str | None = "127.0.0.1",
    port: int = 8080,
    *,
    ssl: ssl_module.SSLContext | None = None,
    sock: socket.socket | None = None,
    unix: str | os.PathLike[str] | None = None,
    backlog: int = 2048,
    reuse_port: bool | None = None,
    factory: bool = False,
    grace: float | None = DEFAULT_GRACE,
    announce: bool = True,
    **settings: Unpack[SettingsOptions],
) -> None:
    """Serve until SIGINT (Ctrl-C) or SIGTERM, then shut down and return: a whole program in one call.

    ``fastws.run(handler)`` is what ``fastws serve`` does with its defaults. It makes an event loop, uvloop's
    where that is installed, and closes it in the end. It configures no logging: with
    ``logging.basicConfig(level=logging.INFO)`` before it the access log is written. Both signals are its own
    until it returns; a second one ends the process at once with 128 + its number.

    Arguments, exceptions and defaults that are not named here are those of :func:`serve`.

    Args:
        host: as for :func:`serve`, but 127.0.0.1 by default.
        port: as for :func:`serve`, but 8080 by default.
        factory: as for :func:`serve`. A ``def`` is called before there is a loop.
        grace: as for :func:`serve_until_signal`: seconds (10), or None.
        announce: False does not print ``Serving on http://127.0.0.1:8080 (press Ctrl-C to stop)`` to stderr.

    Raises:
        RuntimeError: a loop is running in this thread already (use :func:`serve`, or
            :func:`serve_until_signal`), or this is not the main thread, which alone can take signals.
        SystemExit: the lifespan of an ASGI application, or a background task, has failed while it was served;
            the status is 3.
    """
    check_options("run", settings, SettingsOptions.__annotations__)
    _check_thread()
    address = {
        "host": host,
        "port": port,
        "ssl": ssl,
        "sock": sock,
        "unix": unix,
        "backlog": backlog,
        "reuse_port": reuse_port,
    }

    def started(server: Server) -> None:
        if announce:
            for listening in server.sockets:
                where = address_text(listening.getsockname(), "http" if ssl is None else "https")
                print(f"Serving on {where} (press Ctrl-C to stop)", file=sys.stderr, flush=True)

    chosen = settings_from(**settings)
    if factory:
        check_factory(app)
    # Ctrl-C before the server has taken the signals is a KeyboardInterrupt: it ends the start without a word.
    with (
        _signals_restored(),
        contextlib.suppress(KeyboardInterrupt),
        asyncio.Runner(loop_factory=loop_factory()) as runner,
    ):
        if factory:
            # While the loop runs, a Ctrl-C would cancel its main task, which does not end a plain function.
            app = called_early(cast("Factory", app))
        status = runner.run(
            serve_until_signal(app, [address], chosen, factory=factory, started=started, grace=grace)
        )
        if status:
            raise SystemExit(status)


def address_text(name: Any, scheme: str) -> str:
    """Return what a person can open, from a socket's ``getsockname()``."""
    if not isinstance(name, tuple):
        return f"unix:{os.fsdecode(name)}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{scheme}://{host}:{name[1]}"


def _check_thread() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError("a loop is running already: await fastws.serve or fastws.serve_until_signal there")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("fastws.run takes the signals, which only the main thread can; use fastws.serve")


@contextlib.contextmanager
def _signals_restored() -> Iterator[None]:
    """Give the signals back, in the end, to who had them."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: it was not set from Python
                signal.signal(number, handler)
