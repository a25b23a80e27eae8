"""What ``fastws serve`` runs when it is given no application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fastws.apps.broadcast import Broadcast
from fastws.apps.chat import LIMITS, TIMEOUTS, Chat
from fastws.apps.echo import Echo
from fastws.apps.editor import editor
from fastws.protocol.http.messages import Request, Response
from fastws.web.routes import Route
from fastws.web.static_files import Static, packaged_static

__all__ = ["routes"]


def routes(
    static: Iterable[Static] = (), *, chat_timeouts: Mapping[str, float] = TIMEOUTS
) -> list[Route | Static]:
    """Return the built-in routes; ``static`` adds folders or replaces what ``/static/`` serves."""
    pages = packaged_static()
    folders = list(static)
    if not any(folder.prefix == "/static/" for folder in folders):
        folders.append(Static("/static", pages))
    # The pages' style and scripts have a path of their own: "/static/" may hold other files.
    folders.append(Static.packaged("/assets"))
    echo = Echo()
    return [
        Route("/", http=_page(pages / "index.html")),
        Route("/chat", http=_page(pages / "chat.html")),
        Route("/wsecho", echo),
        Route("/echo", echo),
        Route("/ws", Chat(), limits=LIMITS, timeouts=chat_timeouts),
        Route("/broadcast", Broadcast()),
        Route("/healthz", http=_healthy),
        *editor(pages),
        *folders,
    ]


def _page(file: Path) -> Any:
    body = file.read_bytes()
    headers = [("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff")]

    def page(request: Request) -> Response:
        return Response(200, body, headers, "text/html; charset=utf-8")

    return page


def _healthy(request: Request) -> Response:
    if request.server.is_serving():
        return Response(200, "ok\n")
    return Response(503, "the server stops\n")
