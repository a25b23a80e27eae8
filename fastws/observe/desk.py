"""What the control socket answers: of one process, or of all workers by their supervisor."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fastws.logs import escape
from fastws.meters.board import Board
from fastws.observe.inspect import SORTS, answer
from fastws.server.server import Server
from fastws.workers.inquiry import Inquiry
from fastws.workers.watch import Watch

__all__ = ["Desk", "LoneDesk", "WorkersDesk"]

log = logging.getLogger("fastws.error")

#: What is to be done, and the name of what it is done to; the log has a line of each.
ORDERS = {"reload": "", "drain": "", "close": "id", "log_level": "level"}
#: Seconds that workers have to answer; those that hang are left out.
ANSWER_SECONDS = 3.0


class Desk:
    """Takes questions. What differs is whom it asks.

    Args:
        board: what all processes have counted.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._began = time.monotonic()

    async def answer(self, question: dict[str, Any]) -> Any:
        """Answer one question. Raises ``ValueError``, ``TypeError``, ``KeyError`` where it makes no sense."""
        ask = question.get("ask")
        if ask == "top":
            return await self._top(question)
        if ask in ORDERS:
            # Before it is obeyed: by its new level the log may leave the line out.
            value = escape(str(question.get(ORDERS[ask], "")))
            log.info("an order at the control socket: %s", f"{ask} {value}".replace("_", "-", 1).rstrip())
        if ask == "close":
            closed = await self._ask("close", id=str(question["id"]))
            if not closed:
                raise ValueError("there is no such connection any more")
            return f"closed {question['id']}"
        if ask == "log_level":
            self._set_own_level(str(question["level"]))
            await self._ask("log_level", level=str(question["level"]))
            return f"the log has the level {question['level']} now"
        if ask in ("reload", "drain"):
            self._signal(signal.SIGHUP if ask == "reload" else signal.SIGTERM)
            return "a reload begins" if ask == "reload" else "the server drains and ends"
        raise ValueError(f"there is no question {ask!r}")

    async def _top(self, question: dict[str, Any]) -> dict[str, Any]:
        limit = int(question.get("limit", 20))
        sort = str(question.get("sort", "queued"))
        if sort not in SORTS:
            raise ValueError(f"sort by one of {', '.join(SORTS)}")
        answers = await self._ask("inspect", limit=limit, sort=sort, match=str(question.get("match", "")))
        found = [answers[number] for number in sorted(answers)]
        clients = [client for each in found for client in each.pop("clients")]
        rank = "seconds" if sort == "open" else sort
        clients.sort(key=lambda client: client[rank] or 0.0, reverse=True)
        listeners: Counter[tuple[str, str]] = Counter()
        for each in found:
            for topic in each.pop("topics"):
                listeners[topic["hub"], topic["topic"]] += topic["listeners"]
        return {
            "time": time.time(),
            "seconds": time.monotonic() - self._began,
            "states": self._states(),
            "connections": sum(each["connections"] for each in found),
            "websockets": sum(each["websockets"] for each in found),
            "totals": self._totals(),
            "closes": self._closes(),
            "workers": found,
            "clients": clients[:limit],
            "topics": [
                {"hub": hub, "topic": topic, "listeners": number}
                for (hub, topic), number in listeners.most_common(limit)
            ],
        }

    def _closes(self) -> dict[str, int]:
        closes: Counter[str] = Counter()
        for _, code, initiator, number in self._board.closes():
            closes[f"{code} {initiator}"] += number
        return dict((+closes).most_common())

    async def _ask(self, ask: str, **values: Any) -> dict[int, Any]:
        raise NotImplementedError

    def _totals(self) -> dict[str, int]:
        raise NotImplementedError

    def _states(self) -> dict[str, int]:
        raise NotImplementedError

    def _signal(self, number: int) -> None:
        raise NotImplementedError

    def _set_own_level(self, level: str) -> None:
        answer(None, 0, "log_level", {"level": level})


class LoneDesk(Desk):
    """That of a process without a supervisor. It runs on the server's loop.

    Args:
        board: what the process has counted.
        server: returns its server; None while it starts.
    """

    def __init__(self, board: Board, server: Callable[[], Server | None]) -> None:
        super().__init__(board)
        self._server = server

    async def _ask(self, ask: str, **values: Any) -> dict[int, Any]:
        said = answer(self._server(), 1, ask, values)
        return {} if said is None else {1: said}

    def _totals(self) -> dict[str, int]:
        server = self._server()
        return {} if server is None else server.totals()

    def _states(self) -> dict[str, int]:
        server = self._server()
        return {"ready": int(server is not None and server.is_serving())}

    def _signal(self, number: int) -> None:
        os.kill(os.getpid(), number)


class WorkersDesk(Desk):
    """That of a supervisor. It runs in a thread of its own.

    Args:
        watch: knows the workers.
        inquiry: carries questions to them.
        wake: lets the supervisor act as on a signal.
    """

    def __init__(self, watch: Watch, inquiry: Inquiry, wake: Callable[[int], None]) -> None:
        assert watch.page.board is not None
        super().__init__(watch.page.board)
        self._watch = watch
        self._inquiry = inquiry
        self._wake = wake

    async def _ask(self, ask: str, **values: Any) -> dict[int, Any]:
        number, answers = self._inquiry.ask(ask, **values)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(answers), ANSWER_SECONDS)
        return self._inquiry.give_up(number)

    def _totals(self) -> dict[str, int]:
        return self._watch.page.totals()

    def _states(self) -> dict[str, int]:
        return self._watch.states()

    def _signal(self, number: int) -> None:
        self._wake(number)
