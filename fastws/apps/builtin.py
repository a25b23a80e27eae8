"""What ``fastws serve`` runs when it is given no application: the tutorial's servers, and the gallery."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastws.apps.broadcast import Broadcast
from fastws.apps.bullets import Bullets
from fastws.apps.chat import LIMITS, TIMEOUTS, Chat
from fastws.apps.echo import Echo
from fastws.apps.editor import Editor
from fastws.apps.quotes import Quotes
from fastws.apps.rooms import Rooms
from fastws.protocol.http.messages import Request, Response
from fastws.server.application import Application
from fastws.web.routes import Route
from fastws.web.static_files import Static, packaged_static

__all__ = ["application", "routes"]

#: Comments a second of robots, so that a lone visitor sees some.
CROWD = 40


def application(static: Iterable[Static] = ()) -> Application:
    """Return the built-in application: :func:`routes`, and those of the gallery."""
    pages = Static("/", packaged_static())
    rooms, quotes, bullets = Rooms(pages), Quotes(pages), Bullets(pages, CROWD)
    editor = Editor(pages)
    return Application(
        [*routes(static), *rooms.routes, *quotes.routes, *bullets.routes, *editor.routes],
        background=[quotes.produce, bullets.perform],
    )


def routes(
    static: Iterable[Static] = (), *, chat_timeouts: Mapping[str, float] = TIMEOUTS
) -> list[Route | Static]:
    """Return the tutorial's routes; ``static`` adds folders or replaces what ``/static/`` serves."""
    pages = Static("/static", packaged_static())
    folders = list(static)
    if not any(folder.prefix == "/static/" for folder in folders):
        folders.append(pages)
    # The pages' style and scripts have a path of their own: "/static/" may hold other files.
    folders.append(Static.packaged("/assets"))
    echo = Echo()
    return [
        Route("/", http=pages.page("index.html")),
        Route("/chat", http=pages.page("chat.html")),
        Route("/wsecho", echo),
        Route("/echo", echo),
        Route("/ws", Chat(), limits=LIMITS, timeouts=chat_timeouts),
        Route("/broadcast", Broadcast()),
        Route("/healthz", http=_healthy),
        *folders,
    ]


def _healthy(request: Request) -> Response:
    if request.server.is_serving():
        return Response(200, "ok\n")
    return Response(503, "the server stops\n")
