"""Where the numbers of a scrape come from: one server, or the page and the board that workers share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from fastws.connection.counters import COUNTER_NAMES
from fastws.meters.board import Board
from fastws.server.server import Server
from fastws.server.shared_page import SharedPage

__all__ = ["OwnSource", "PageSource", "Source"]


class Source(Protocol):
    """What a scrape asks."""

    board: Board

    def own(self) -> dict[str, int]:
        """Return the counters of what has no route."""

    def connections(self) -> int:
        """Return the TCP connections that are open."""

    def workers(self) -> dict[str, int]:
        """Return how many processes serve, by their state."""

    def pids(self) -> list[int]:
        """Return the processes whose memory and files count."""


class OwnSource:
    """The server of a process that may still start: nothing is counted before.

    Args:
        server: returns it; None while there is none.
        board: what it measures to.
    """

    def __init__(self, server: Callable[[], Server | None], board: Board) -> None:
        self.board = board
        self._server = server

    def own(self) -> dict[str, int]:
        server = self._server()
        return dict.fromkeys(COUNTER_NAMES, 0) if server is None else server.own_counters.as_dict()

    def connections(self) -> int:
        server = self._server()
        return 0 if server is None else len(server.connections)

    def workers(self) -> dict[str, int]:
        server = self._server()
        return {"ready": int(server is not None and server.is_serving())}

    def pids(self) -> list[int]:
        return [os.getpid()]


class PageSource:
    """All workers of a server.

    Args:
        page: with the board.
        workers: how many there are, by their state.
        pids: all processes that run.
    """

    def __init__(
        self, page: SharedPage, workers: Callable[[], dict[str, int]], pids: Callable[[], list[int]]
    ) -> None:
        assert page.board is not None
        self.board = page.board
        self.own = page.own_totals
        self.connections = page.connections
        self.workers = workers
        self.pids = pids
