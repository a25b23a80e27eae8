"""Ends the process of the tests where one hangs in C, as uvloop's ``loop.close()`` may.

pytest-timeout's signal is handled by the interpreter, so it does nothing while a call into C does not
return. faulthandler's thread needs no interpreter: it writes all stacks and ends the process.
"""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Generator
from typing import Any

import pytest

__all__ = ["Watchdog", "install", "limit_of"]

#: Seconds beyond a test's own limit, so that where the interpreter still runs its answer comes first.
GRACE = 30.0


class Watchdog:
    """A plugin of pytest. ``stderr`` is the real one, which capturing does not reach."""

    def __init__(self, stderr: int) -> None:
        self._stderr = stderr

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        limit = limit_of(item)
        if limit <= 0:
            return (yield)
        faulthandler.dump_traceback_later(limit + GRACE, exit=True, file=self._stderr)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()


def limit_of(item: pytest.Item) -> float:
    """The limit that pytest-timeout has for a test; 0 is none."""
    marker = item.get_closest_marker("timeout")
    if marker is not None:
        return float(marker.args[0] if marker.args else marker.kwargs["timeout"])
    given = item.config.getoption("timeout")
    return float(item.config.getini("timeout") or 0 if given is None else given)


def install(config: pytest.Config) -> None:
    """Watch over each test, unless a debugger holds it."""
    if not config.getoption("usepdb"):
        config.pluginmanager.register(Watchdog(os.dup(2)), "fastws-watchdog")
