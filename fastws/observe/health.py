"""Whether a server lives and is ready: what an orchestrator asks, whatever application is served."""

from __future__ import annotations

from collections.abc import Callable

from fastws.meters.board import Board
from fastws.protocol.http.messages import Request, Response

__all__ = ["Health", "broker_is_up"]

#: Says why not, in some words; None: there is nothing.
Check = Callable[[], str | None]


class Health:
    """The answers of ``/livez`` and ``/readyz``: 200, or 503 with the reasons.

    Args:
        lives: why the process is to be ended and started again.
        ready: why clients are better sent elsewhere.
    """

    def __init__(self, lives: list[Check], ready: list[Check]) -> None:
        self._lives = lives
        self._ready = ready

    def livez(self, request: Request) -> Response:
        """Answer whether the process works."""
        return answer(self._lives, "ok")

    def readyz(self, request: Request) -> Response:
        """Answer whether it takes clients: not while it starts or drains, or a broker it needs is away."""
        return answer([*self._lives, *self._ready], "ready")


def broker_is_up(board: Board) -> str | None:
    """Return why the broker cannot be used; None where it can."""
    found = [board.sums(series)[0] for series in board.series() if series.name == "broker_up"]
    return None if found and all(found) else "the broker is away"


def answer(checks: list[Check], well: str) -> Response:
    reasons = [why for check in checks if (why := check()) is not None]
    headers = [("Cache-Control", "no-store")]
    if reasons:
        return Response(503, f"not ready: {'; '.join(reasons)}\n", headers)
    return Response(200, f"{well}\n", headers)
