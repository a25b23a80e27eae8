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
from typing import Any, Unpack

from fastws.config import Settings, check_options
from fastws.server.descriptors import accepts_in_bulk
from fastws.server.memory import keep_blocks, trim_when_calm
from fastws.server.server import APPLICATION_FAILED, DEFAULT_GRACE, Server
from fastws.server.settings import SettingsOptions, settings_from
from fastws.server.shared_page import Row, SharedPage
from fastws.server.site import FULL_WARNING_INTERVAL, App

__all__ = ["AcceptErrors", "new_event_loop", "run", "serve_until_signal", "serving"]

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
    app: App,
    addresses: Iterable[Mapping[str, Any]],
    settings: Settings,
    *,
    leads: bool = True,
    page: SharedPage | None = None,
    row: Row | None = None,
) -> AsyncIterator[Server]:
    """A server that listens, in a process that has nothing else to do; the caller has to shut it down.

    When the block is left by an exception, all connections are cut. With ``page`` and ``row`` it is one of
    several workers; see :meth:`Server.share`.
    """
    loop = asyncio.get_running_loop()
    if accepts_in_bulk(loop):
        loop.set_exception_handler(AcceptErrors())
    server = Server(app, settings, leads=leads)
    if page is not None and row is not None:
        server.share(page, row)
    trimming: asyncio.Task[None] | None = None
    try:
        await server.startup()
        for address in addresses:
            await server.listen(**address)
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
    app: App,
    addresses: Iterable[Mapping[str, Any]],
    settings: Settings,
    *,
    started: Callable[[Server], None] = lambda server: None,
    grace: float | None = DEFAULT_GRACE,
) -> int:
    """Serve in the running loop until SIGINT or SIGTERM, then shut down and return 0, the exit code.

    Where the lifespan of an ASGI application or a background task fails meanwhile, it shuts down too, and
    returns 3.

    For a program of its own, as ``fastws serve`` is one: it takes both signals, of which a second one ends
    the process at once with 128 + its number. :func:`run` brings the loop too. Only the main thread can
    take signals. When it is cancelled, it cuts all connections at once.

    Args:
        app: as for :func:`serve`.
        addresses: where to listen; each a mapping of the arguments of :meth:`Server.listen`.
        settings: the defaults of all routes.
        started: called with the server as soon as it listens.
        grace: seconds (10) after the signal in which the process can have ended; clients that have not
            are cut half a second before. None: wait until the last client has ended.

    Raises:
        OSError: an address cannot be had.
        TypeError: the application is of the wrong type.
        ValueError: the routes cannot be served.
        StartupFailed: an ASGI application or an ``on_startup`` hook cannot start.
    """
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()

    def on_signal(number: int) -> None:
        if stop.done():
            os._exit(128 + number)
        stop.set_result(number)

    def on_failure(_: object) -> None:
        if not stop.done():
            stop.set_result(0)

    async with serving(app, addresses, settings) as server:
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, on_signal, number)
        started(server)
        server.application_failed.add_done_callback(on_failure)
        stopped_by = await stop
    why = signal.Signals(stopped_by).name if stopped_by else "the application failed"
    log.info("%s: closing %d connections", why, len(server.connections))
    await server.shutdown(None if grace is None else max(grace - EXIT_SECONDS, 0.0))
    return 0 if stopped_by else APPLICATION_FAILED


def run(
    app: App,
    host: str | None = "127.0.0.1",
    port: int = 8080,
    *,
    ssl: ssl_module.SSLContext | None = None,
    sock: socket.socket | None = None,
    unix: str | os.PathLike[str] | None = None,
    backlog: int = 2048,
    reuse_port: bool | None = None,
    grace: float | None = DEFAULT_GRACE,
    announce: bool = True,
    **settings: Unpack[SettingsOptions],
) -> None:
    """Serve until SIGINT (Ctrl-C) or SIGTERM, then shut down and return: a whole program in one call.

    ``fastws.run(handler)`` is what ``fastws serve`` does with its defaults. It makes an event loop, uvloop's
    where that is installed, and closes it in the end. It configures no logging: with
    ``logging.basicConfig(level=logging.INFO)`` before it the access log is written. Both signals are its own
    until it returns; a second one ends the process at once with 128 + its number.

    Args:
        app: as for :func:`serve`.
        host: a name or an IP address (127.0.0.1); None: every interface.
        port: (8080); 0 takes a free one.
        ssl: a server-side ``ssl.SSLContext``; the default None serves without TLS.
        sock: a bound socket in place of ``host`` and ``port``.
        unix: the path of a Unix socket in their place; see :meth:`Server.listen`.
        backlog: connections that may wait in the kernel until the server accepts them (2048).
        reuse_port: True lets several processes listen at the same port.
        grace: as for :func:`serve_until_signal`: seconds (10), or None.
        announce: False does not print ``Serving on http://127.0.0.1:8080 (press Ctrl-C to stop)`` to stderr.
        settings: all other arguments of :func:`serve`.

    Raises:
        RuntimeError: a loop is running in this thread already (use :func:`serve`, or
            :func:`serve_until_signal`), or this is not the main thread, which alone can take signals.
        OSError: the address cannot be had.
        TypeError: an argument is not known, or of the wrong type.
        ValueError: settings or routes cannot be served.
        StartupFailed: an ASGI application or an ``on_startup`` hook cannot start.
        SystemExit: the lifespan of an ASGI application, or a background task, has failed while the
            application was served; the status is 3.
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
    # Ctrl-C before the server has taken the signals is a KeyboardInterrupt: it ends the start without a word.
    with (
        _signals_restored(),
        contextlib.suppress(KeyboardInterrupt),
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        status = runner.run(serve_until_signal(app, [address], chosen, started=started, grace=grace))
        if status:
            raise SystemExit(status)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of uvloop where that is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


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
