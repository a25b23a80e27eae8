"""What ``fastws serve`` runs when it is given no application: the tutorial's servers, and the gallery."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import fastws
from fastws.apps.broadcast import Broadcast
from fastws.apps.bullets import Bullets
from fastws.apps.chat import LIMITS, TIMEOUTS, Chat
from fastws.apps.echo import Echo
from fastws.apps.editor import Editor
from fastws.apps.quotes import Quotes
from fastws.apps.rooms import Rooms

__all__ = ["application", "routes"]

#: Comments a second of robots, so that a lone visitor sees some.
CROWD = 40


def application(static: Iterable[fastws.Static] = ()) -> fastws.Application:
    """Return the built-in application: :func:`routes`, and those of the gallery."""
    pages = fastws.Static("/", _folder())
    rooms, quotes, bullets = Rooms(pages), Quotes(pages), Bullets(pages, CROWD)
    editor = Editor(pages)
    return fastws.Application(
        [*routes(static), *rooms.routes, *quotes.routes, *bullets.routes, *editor.routes],
        background=[quotes.produce, bullets.perform],
    )


def routes(
    static: Iterable[fastws.Static] = (), *, chat_timeouts: Mapping[str, float] = TIMEOUTS
) -> list[fastws.Route | fastws.Static]:
    """Return the tutorial's routes; ``static`` adds folders or replaces what ``/static/`` serves."""
    pages = fastws.Static("/static", _folder())
    folders = list(static)
    if not any(folder.prefix == "/static/" for folder in folders):
        folders.append(pages)
    # The pages' style and scripts have a path of their own: "/static/" may hold other files.
    folders.append(fastws.Static.packaged("/assets"))
    echo = Echo()
    return [
        fastws.Route("/", http=pages.page("index.html")),
        fastws.Route("/chat", http=pages.page("chat.html")),
        fastws.Route("/wsecho", echo),
        fastws.Route("/echo", echo),
        fastws.Route("/ws", Chat(), limits=LIMITS, timeouts=chat_timeouts),
        fastws.Route("/broadcast", Broadcast()),
        fastws.Route("/healthz", http=_healthy),
        *folders,
    ]


def _folder() -> Path:
    """Return the folder of the pages: that of their scripts is in it."""
    return fastws.Static.packaged("/assets").directory.parent


def _healthy(request: fastws.Request) -> fastws.Response:
    if request.server.is_serving():
        return fastws.Response(200, "ok\n")
    return fastws.Response(503, "the server stops\n")
