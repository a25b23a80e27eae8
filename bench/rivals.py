"""The servers of the matrix: how each is started, what it can do, and whether it is here at all."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import orjson

from bench import builds
from bench.builds import SERVERS as FOLDER
from bench.builds import NotInstalled
from bench.model import ServerRecord

__all__ = [
    "DEFAULT_SERVERS",
    "NotInstalled",
    "OURS",
    "QUICK_SERVERS",
    "UNDER_CLIENTS",
    "VARIANTS",
    "Server",
    "catalogue",
    "extra",
    "record",
]

#: The subject: ratios are ours divided by theirs.
OURS = "fastws"
#: What all clients are measured against: the server that leaves most of the time to them.
UNDER_CLIENTS = "bare-echo"

_ALL = frozenset({"echo", "broadcast", "tls", "deflate", "connect", "idle"})
_PYTHON = _ALL | {"import"}
#: What several processes do otherwise than one: they share the connections and a bus.
_WORKERS = frozenset({"echo", "broadcast", "connect"})
#: The application of the rows of uvicorn under us.
ASGI = ("asgi_app:app", "--app-dir", str(builds.SERVERS))
FEEDS = ("feeds:routes", "--app-dir", str(builds.SERVERS))
#: Who has a file NAME_client.py in here takes part in the cells of clients.
CLIENTS = builds.SERVERS.parent / "clients"


@dataclass(frozen=True, slots=True)
class Server:
    """One server. ``command`` and ``version`` raise NotInstalled where it cannot be had."""

    name: str
    title: str
    can: frozenset[str]
    #: The command; PORT and, for TLS, CERTFILE KEYFILE are appended.
    command: Callable[[], list[str]]
    version: Callable[[], str]
    #: What stands before the port and before certificate and key.
    flags: tuple[str, str, str] = ("", "", "")
    #: Where messages are broadcast, and what the server puts between messages it merges.
    broadcast: str = "/broadcast"
    merged_by: str | None = None
    #: The line with which a program begins to use it.
    first_line: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    #: One process, on the server's core. Several run wherever there is time, beside the generator too.
    is_pinned: bool = True

    def argv(self, port: int, tls: tuple[str, str] | None = None) -> list[str]:
        """The whole command line. May build the server first."""
        words = zip(self.flags, (str(port), *(tls or ())), strict=False)
        return [*self.command(), *(word for pair in words for word in pair if word)]


def _ours(name: str, title: str, can: frozenset[str] = _ALL, *app: str, **more: object) -> Server:
    command = [sys.executable, "-m", "fastws", "serve", "--no-access-log", *app]
    flags = ("--port", "--ssl-certfile", "--ssl-keyfile")
    return Server(name, title, can, lambda: command, _our_version, flags, **more)  # type: ignore[arg-type]


def _workers(number: int) -> Server:
    command = [sys.executable, "-m", "fastws", "serve", "--no-access-log", "--workers", str(number)]
    name, title = f"fastws-workers-{number}", f"fastws, --workers {number}, on all cores"
    flags = ("--port", "", "")
    return Server(name, title, _WORKERS, lambda: command, _our_version, flags, is_pinned=False)


def _our_version() -> str:
    from fastws._version import __version__

    return __version__


def _script(name: str, title: str, package: str, *more: str, first_line: str | None = None) -> Server:
    """A Python rival: ``servers/<package>_server.py``."""
    command = [sys.executable, str(FOLDER / f"{package}_server.py"), *more]
    can = _PYTHON if first_line else _ALL
    if package == "picows":  # frames only, no extensions
        can = can - {"deflate"}
    if (CLIENTS / f"{package}_client.py").exists():
        can = can | {"client"}
    return Server(
        name, title, can, lambda: command, lambda: _python_version(package, *more), first_line=first_line
    )


def _python_version(package: str, *more: str) -> str:
    own = builds.python_package(package)
    builds.python_package("uvloop")
    if package != "uvicorn":
        return own
    if "--fastws" in more:
        return f"{own} (fastws {_our_version()})"
    engine = "wsproto" if "--wsproto" in more else "websockets"
    return f"{own} ({engine} {builds.python_package(engine)})"


def _gorilla(name: str, title: str, can: frozenset[str], path: str, merged_by: str | None = None) -> Server:
    def version() -> str:
        builds.go_program("gorilla")
        debian = "golang-github-gorilla-websocket-dev"
        package = builds.tool_version("dpkg-query", "-W", "-f", "${Version}", debian)
        return f"{package} ({builds.tool_version('go', 'version').split()[2]})"

    def command() -> list[str]:
        return [str(builds.go_program("gorilla"))]

    return Server(name, title, can, command, version, broadcast=path, merged_by=merged_by)


def _bare(name: str, title: str, source: str, can: str) -> Server:
    def version() -> str:
        builds.c_program(source)
        return builds.tool_version("cc", "--version")

    return Server(name, title, frozenset({can}), lambda: [str(builds.c_program(source))], version)


def _node_version() -> str:
    builds.node_program()
    package = orjson.loads((FOLDER / "node/node_modules/ws/package.json").read_bytes())
    return f"{package['version']} (node {builds.tool_version('node', '--version')})"


def catalogue() -> dict[str, Server]:
    """Every server by name, in the order of the report."""
    asynchronous = [sys.executable, str(FOLDER / "fastws_async.py")]
    everyone: Iterable[Server] = (
        _ours(OURS, "fastws", _PYTHON | {"client"}, first_line="from fastws import serve"),
        Server(
            "fastws-async",
            "fastws, async for",
            frozenset({"echo", "client"}),
            lambda: asynchronous,
            _our_version,
        ),
        _ours("fastws-merge", "fastws, merge", frozenset({"broadcast"}), broadcast="/ws", merged_by="\n"),
        _ours("fastws-wsproto", "fastws on wsproto", _ALL, env={"FASTWS_ENGINE": "wsproto"}),
        _ours("fastws-interpreted", "fastws, interpreted", _ALL, env={"FASTWS_COMPILED": "0"}),
        _ours("fastws-asgi", "fastws, ASGI", _ALL, *ASGI),
        _ours("fastws-asgi-hub", "fastws, ASGI, Hub", frozenset({"broadcast"}), *ASGI, broadcast="/hub"),
        _workers(2),
        _ours("fastws-feed", "fastws, a feed", frozenset({"feed", "plain"}), *FEEDS),
        _script("picows", "picows", "picows", first_line="from picows import ws_create_server"),
        _script(
            "websockets", "websockets", "websockets", first_line="from websockets.asyncio.server import serve"
        ),
        _script("aiohttp", "aiohttp", "aiohttp", first_line="from aiohttp import web"),
        _script("tornado", "tornado", "tornado", first_line="from tornado.websocket import WebSocketHandler"),
        _script(
            "uvicorn-websockets", "uvicorn + websockets", "uvicorn", first_line="from uvicorn import run"
        ),
        _script("uvicorn-wsproto", "uvicorn + wsproto", "uvicorn", "--wsproto"),
        _script("uvicorn-fastws", "uvicorn + fastws", "uvicorn", "--fastws"),
        _script("socketify", "socketify (uWebSockets)", "socketify", first_line="from socketify import App"),
        Server("ws", "ws (node)", _ALL, builds.node_program, _node_version),
        _gorilla("gorilla", "gorilla (Go)", _ALL, "/broadcast"),
        _gorilla("gorilla-chat", "gorilla (Go), chat example", frozenset({"broadcast"}), "/chat", "\n"),
        _gorilla("gorilla-merge", "gorilla (Go), merge", frozenset({"broadcast"}), "/ws", "\n"),
        _bare("bare-echo", "bare C echo: the limit", "bare_echo.c", "echo"),
        _bare("bare-fanout", "bare C send(2): the limit", "bare_fanout.c", "broadcast"),
    )
    return {server.name: server for server in everyone}


#: Variants of ours that nobody asked about in particular are measured only when they are named.
VARIANTS = (
    "fastws-merge",
    "fastws-wsproto",
    "fastws-interpreted",
    "fastws-asgi-hub",
    "fastws-workers-2",
)
DEFAULT_SERVERS = tuple(name for name in catalogue() if name not in VARIANTS)
QUICK_SERVERS = (OURS, "picows", "websockets", "aiohttp", "socketify")


def extra(text: str) -> Server:
    """``NAME=COMMAND``: any server that takes ``PORT [CERTFILE KEYFILE]``. Raises ValueError."""
    name, equals, command = text.partition("=")
    words = shlex.split(command)
    if not name or not equals or not words:
        raise ValueError(f"{text!r} is not NAME=COMMAND")
    # Not with this checkout on its path: it may be another build of ours.
    env = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return Server(name, name, _ALL, lambda: words, lambda: "as given", env=env)


def record(server: Server) -> ServerRecord:
    """Look whether a server can be had, building it where that is needed."""
    try:
        return ServerRecord(server.name, server.title, version=server.version())
    except NotInstalled as reason:
        return ServerRecord(server.name, server.title, missing=str(reason))
    except Exception as error:  # a half-installed rival is a missing rival, not our failure
        return ServerRecord(server.name, server.title, missing=f"{type(error).__name__}: {error}")
