"""``KeyboardInterrupt`` and ``SystemExit`` out of a callback of the application: they end the loop."""

from __future__ import annotations

import asyncio

__all__ = ["end_loop"]


def end_loop(exc: BaseException) -> None:
    """Let the running loop end with ``exc``, as asyncio does for what one of its callbacks raises.

    asyncio's own loop ends when a transport's callback raises. uvloop then closes only the connection, so
    there a callback of the loop raises, in its next turn.

    Raises:
        BaseException: ``exc``, on a loop of asyncio.
    """
    loop = asyncio.get_running_loop()
    if isinstance(loop, asyncio.BaseEventLoop):
        raise exc
    loop.call_soon(_throw, exc)


def _throw(exc: BaseException) -> None:
    raise exc
