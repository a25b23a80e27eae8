"""What this process measures, where somebody has asked for it: :func:`measuring` is None elsewhere."""

from __future__ import annotations

from fastws.connection.counters import CLOSES, COUNTER_NAMES, UNCOUNTED, Counters
from fastws.meters.board import Board, Kind
from fastws.meters.histogram import Histogram

__all__ = ["Meters", "begin_measuring", "end_measuring", "measuring"]

#: What a handshake comes to, by the status of the response.
RESULTS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "not_found",
    408: "timeout",
    421: "wrong_host",
    426: "bad_request",
    429: "limited",
    503: "unavailable",
}


class Meters:
    """Writes to the row of this process.

    Args:
        board: where the names are.
        index: which row is ours.
    """

    def __init__(self, board: Board, index: int = 0) -> None:
        self.board = board
        self.index = index
        self._row = board.row(index)
        self._places: dict[tuple[str, ...], int | None] = {}
        #: The route of each of our counters.
        self._routes: dict[Counters, str] = {}
        self._counters: dict[tuple[str, ...], Counters] = {}
        self.pings = self._histogram("ping")
        self.publishes = self._histogram("publish")
        self.deliveries = self._histogram("delivery")
        self.loop_lag = self._histogram("loop_lag")
        self.bus_lag = self._histogram("bus_lag")

    def _histogram(self, name: str) -> Histogram:
        return Histogram(self._row, self.board.add(Kind.HISTOGRAM, name))

    def count(self, *name: str, by: int = 1) -> None:
        """Count what seldom happens: a name and its labels."""
        if name not in self._places:
            self._places[name] = self.board.add(Kind.COUNTER, *name)
        place = self._places[name]
        if place is not None:
            self._row[place] += by

    def set(self, value: int, *name: str) -> None:
        """Say what is so now."""
        if name not in self._places:
            self._places[name] = self.board.add(Kind.GAUGE, *name)
        place = self._places[name]
        if place is not None:
            self._row[place] = value

    # -- servers --------------------------------------------------------------------------------

    def route_counters(self, route: str, instead: Counters) -> Counters:
        """Return where the WebSockets of a route count; ``instead``, where there is no room for one more."""
        found = self._shared_counters("route", route)
        if found is None:
            return instead
        self.count_closes(found, route)
        return found

    def count_closes(self, counters: Counters, route: str) -> None:
        """Count the closes of a route's WebSockets with its counters."""
        place = self.board.add(Kind.CLOSES, "closes", route)
        if place is not None:
            self._routes[counters] = route
            counters.count_closes(self._row[place : place + len(CLOSES)])

    def topic_counters(self, topics: str) -> Counters:
        """Return where the topics of a class count; "" is for those of none."""
        return self._shared_counters("topics", topics) or UNCOUNTED

    def _shared_counters(self, *name: str) -> Counters | None:
        found = self._counters.get(name)
        if found is None:
            place = self.board.add(Kind.COUNTERS, *name)
            if place is None:
                return None
            self._counters[name] = found = Counters()
            found.share(self._row[place : place + len(COUNTER_NAMES)])
        return found

    def server_closed(self, counters: Counters, code: int) -> None:
        """Count a WebSocket that the server has closed with a code of the application's own."""
        self.count("close", self._routes.get(counters, ""), str(code), "server")

    def answered(self, status: int, *, upgrade: bool) -> None:
        """Count a response; with ``upgrade`` that to a handshake, which it refuses."""
        self.count("http", str(status))
        if upgrade:
            result = RESULTS.get(status) or ("failed" if status >= 500 else "refused")
            self.count("handshake", result)

    # -- topics ---------------------------------------------------------------------------------

    def recovered(self, result: str) -> None:
        """Count a client that came back to a topic, and how that went."""
        self.count("recovery", result)


_current: Meters | None = None


def measuring() -> Meters | None:
    """Return what this process measures with; None: nobody has asked for it."""
    return _current


def begin_measuring(board: Board | None = None, index: int = 0) -> Meters:
    """Measure from now on: to a row of ``board``, or of one that is this process's own. Twice is once."""
    global _current
    if _current is None:
        _current = Meters(board or Board.private(), index)
    return _current


def end_measuring() -> None:
    """Measure no more what begins from now on; for tests."""
    global _current
    _current = None
