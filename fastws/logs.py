"""The loggers, and the lines of the access log: one per HTTP response and one per closed WebSocket.

What a peer sent is escaped, so that no peer can forge a line.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import partial
from traceback import TracebackException
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote_plus

__all__ = [
    "access",
    "conceal",
    "current_request",
    "error",
    "escape",
    "exception_text",
    "http_line",
    "peer_text",
    "request_var",
    "secret_parameters",
    "user_text",
    "websocket_line",
]

error = logging.getLogger("fastws.error")
access = logging.getLogger("fastws.access")

#: See :func:`current_request`.
request_var: ContextVar[Any] = ContextVar("fastws.request", default=None)

#: Characters of a user's name that a line has.
MAX_USER = 128

#: Query parameters whose values must not be logged; ``token_auth`` adds those that it reads.
secret_parameters = {"access_token", "token"}
_PARAMETER = re.compile(r"(?<=[?&])([^=&]*)=[^&]*")


def current_request() -> Any:
    """Return the :class:`fastws.Request` for which the code that runs was called, or None.

    There is one in a handler that is a coroutine, in an ``async def on_open``, in an ``authorize=`` and in
    an ``http=``, and in the tasks and threads (``asyncio.to_thread``) that those begin, as in any context.
    Callbacks such as ``on_message`` have none, and know it as ``ws.request``.
    """
    return request_var.get()


def conceal(target: str) -> str:
    """Return a request target in which ``***`` replaces the values of the secret parameters."""
    return _PARAMETER.sub(_concealed, target) if "?" in target else target


def _concealed(parameter: re.Match[str]) -> str:
    name = parameter[1]
    return f"{name}=***" if unquote_plus(name) in secret_parameters else parameter[0]


def escape(text: str) -> str:
    """Return printable ASCII: escapes replace all other characters, backslashes and quotes."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return text.encode("unicode_escape").decode("ascii").replace('"', '\\"')


def exception_text(error: BaseException) -> str:
    """Return a traceback in which no text of an exception controls a terminal or begins a line of the log."""
    formatted = TracebackException.from_exception(error)
    waiting: list[TracebackException] = [formatted]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        # ``format`` calls it; a SyntaxError has a filename, and no request makes one.
        if not hasattr(each, "filename"):
            each.format_exception_only = partial(_lines_of_one, each.format_exception_only)  # type: ignore[assignment, method-assign]
        waiting += [other for other in (each.__cause__, each.__context__) if other is not None]
        waiting += getattr(each, "exceptions", None) or ()  # of a group
    return "".join(formatted.format()).rstrip("\n")


def _lines_of_one(format_only: Callable[..., Iterable[str]], **options: Any) -> list[str]:
    """Return the lines of one exception, with its notes: all but the first are indented."""
    lines = "".join(format_only(**options)).rstrip("\n").split("\n")
    return ["\n    ".join(map(_printable, lines)) + "\n"]


def _printable(text: str) -> str:
    """Return text in which escapes replace what is not printable; letters of all languages stay."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def peer_text(peer: Any) -> str:
    """Return an address as ``host:port``, ``[v6]:port``, ``host`` or ``unix``; ``-``: not known."""
    if peer is None:
        return "-"  # TCP had ended before the address was asked for
    if isinstance(peer, (tuple, list)) and len(peer) >= 2:
        host = f"[{peer[0]}]" if ":" in str(peer[0]) else peer[0]
        # A proxy's header often names no port: 0 stands for it.
        return escape(f"{host}:{peer[1]}" if peer[1] else str(host))
    return escape(str(peer)) if peer else "unix"


def http_line(
    peer: Any, method: str, target: str, version: str, status: int, size: int, seconds: float
) -> str:
    """Return the line of an HTTP response. ``size`` is that of its body in bytes."""
    return (
        f'{peer_text(peer)} "{escape(method)} {escape(conceal(target))} HTTP/{version}" {status} '
        f"{size} bytes {seconds * 1000:.1f} ms"
    )


def websocket_line(
    peer: Any,
    path: str,
    code: int,
    reason: str,
    seconds: float,
    received: tuple[int, int],
    sent: tuple[int, int],
    *,
    by_peer: bool,
    notes: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """Return the line of a closed WebSocket. ``received`` and ``sent`` are (messages, bytes on the wire).

    ``notes`` stand at its end, those that are not 0 or empty.
    """
    who = "peer" if by_peer else "server"
    words = f' "{escape(reason)}"' if reason else ""
    return (
        f'{peer_text(peer)} "WS {escape(path)}" closed {code}{words} by {who} after {seconds:.1f} s, '
        f"in {received[0]} messages {received[1]} bytes, out {sent[0]} messages {sent[1]} bytes"
        + "".join(f", {name} {escape(str(value))}" for name, value in notes.items() if value)
    )


def user_text(user: object) -> str:
    """Return how logs call a user: by its ``id`` where it has one. Empty for None."""
    return "" if user is None else str(getattr(user, "id", user))[:MAX_USER]
