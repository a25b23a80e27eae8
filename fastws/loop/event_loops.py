"""Which event loop a program of ours runs: uvloop's where that is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.util import find_spec

__all__ = ["loop_factory", "loop_name"]


def loop_name(choice: str = "auto") -> str:
    """Return ``uvloop`` or ``asyncio``. ``auto`` is uvloop where it is installed; it is not imported here."""
    if choice != "auto":
        return choice
    return "asyncio" if find_spec("uvloop") is None else "uvloop"


def loop_factory(choice: str = "auto") -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the loop. Raises ``ImportError`` where ``uvloop`` is asked for and cannot be had."""
    if loop_name(choice) == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError:
        if choice == "auto":
            return asyncio.new_event_loop
        raise
    return uvloop.new_event_loop
