"""Bounds of CPU time that hold on a machine which others share."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from tests.selection import must_be_alone

__all__ = ["within_cpu"]

Result = TypeVar("Result")
TRIES = 5


def within_cpu(seconds: float, work: Callable[[], Result]) -> Result:
    """What ``work`` returns; fail if this thread needs ``seconds`` of CPU for it each of five times.

    A neighbour's load makes some tries slow, too much work makes all of them so. The bound is at least ten
    times what the work needs. What is traced for coverage may take four times as long.
    """
    must_be_alone()
    if sys.gettrace() is not None:
        seconds *= 4
    least = float("inf")
    for _ in range(TRIES):
        began = time.thread_time()
        result = work()
        least = min(least, time.thread_time() - began)
        if least < seconds:
            return result
    raise AssertionError(
        f"took {least:.3f} s of CPU at least, of {TRIES} times; must be less than {seconds} s"
    )
