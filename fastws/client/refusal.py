"""How long a client waits for the body of a refusal, whose status it knows already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["MAX_BODY_TIME", "RefusalTimer"]

#: Seconds. The status decides, and the body only explains it: RFC 9112, section 6.3, lets a body last until
#: the server closes, which may be never.
MAX_BODY_TIME = 1.0


class RefusalTimer:
    """Calls back once, when a refusal is told with what has come of its body.

    Args:
        deadline: When the whole attempt must have ended, on the loop's clock; None for no limit. The body
            gets half of what is left, so that the status is told and not the timeout.
    """

    __slots__ = ("_deadline", "_handle")

    def __init__(self, deadline: float | None) -> None:
        self._deadline = deadline
        self._handle: asyncio.TimerHandle | None = None

    def start(self, callback: Callable[[], None]) -> None:
        """Begin to wait; does nothing when that has begun."""
        if self._handle is not None:
            return
        loop = asyncio.get_running_loop()
        wait = MAX_BODY_TIME
        if self._deadline is not None:
            wait = min(wait, max(0.0, self._deadline - loop.time()) / 2)
        self._handle = loop.call_later(wait, callback)

    def cancel(self) -> None:
        """Wait no more: the whole refusal has come, or the attempt is over."""
        if self._handle is not None:
            self._handle.cancel()
