"""Where an ASGI application is mounted: what each of its requests and WebSockets has to know of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastws.asgi.scope import Application
    from fastws.protocol.http.messages import Request

__all__ = ["Mount"]


class Mount:
    """One application and its place; a subclass says what its server adds.

    ``Session`` and ``Exchange`` know this and not the route, which makes them.
    """

    __slots__ = ("app", "log", "root_path", "state")

    def __init__(
        self,
        app: Application,
        root_path: str = "",
        *,
        state: dict[str, Any] | None = None,
        log: logging.Logger | None = None,
    ) -> None:
        self.app = app
        #: Where a proxy has mounted the application, without a slash at the end.
        self.root_path = root_path
        #: What the application's lifespan has filled; each scope gets a copy.
        self.state: dict[str, Any] = {} if state is None else state
        #: Where a failure of the application is written.
        self.log = logging.getLogger("fastws.error") if log is None else log

    def extra_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the fields of every response that the server adds to the application's."""
        return []

    def websocket_accepted(self, request: Request) -> None:
        """The application has accepted a WebSocket."""

    def websocket_refused(self, request: Request, status: int) -> None:
        """A request to upgrade was answered with ``status`` instead of 101."""
