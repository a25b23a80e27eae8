"""What comes out of an application beside its errors: the end of the process, and cancellation."""

from __future__ import annotations

import asyncio

__all__ = ["end_loop", "is_cancelled", "is_collected"]


def is_cancelled(exc: BaseException) -> bool:
    """Return whether ``exc`` came because the running task was cancelled; else its application raised it.

    An application that awaits a task which somebody else has cancelled raises ``CancelledError`` too.
    """
    if not isinstance(exc, asyncio.CancelledError):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs
        return False
    return task is not None and task.cancelling() > 0


def is_collected(exc: BaseException) -> bool:
    """Return whether ``exc`` came because nobody runs the coroutine any more, as where its loop was closed.

    Python closes such a coroutine when it is collected, at whatever time that is: what the coroutine awaits
    first, and then itself. So the traceback has its frame alone. Where the application raises
    ``GeneratorExit`` a frame of the application is below.
    """
    if not isinstance(exc, GeneratorExit):
        return False
    trace = exc.__traceback__
    return trace is None or trace.tb_next is None


def end_loop(exc: BaseException) -> None:
    """Let the running loop end with ``exc``, a ``KeyboardInterrupt`` or ``SystemExit``.

    asyncio does so for what one of its callbacks raises, also where that is a callback of a transport. uvloop
    then closes only the connection, so there a callback of the loop raises, in its next turn.

    Raises:
        BaseException: ``exc``, on a loop of asyncio.
    """
    loop = asyncio.get_running_loop()
    if isinstance(loop, asyncio.BaseEventLoop):
        raise exc
    loop.call_soon(_throw, exc)


def _throw(exc: BaseException) -> None:
    raise exc
