"""The loops that tests run on."""

from __future__ import annotations

import asyncio

import pytest

__all__ = ["uvloop_or_skip"]


def uvloop_or_skip() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = pytest.importorskip("uvloop").new_event_loop()
    return loop
