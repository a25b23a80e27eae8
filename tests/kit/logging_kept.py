"""The loggers that the command line sets up, as they were before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["logging_kept"]

NAMES = ("fastws", "asyncio", "fastws.access")


@contextmanager
def logging_kept() -> Iterator[None]:
    """Undo at the end what ``fastws`` has done to the loggers of this process."""
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(one, list(one.handlers), one.level, one.propagate, one.disabled) for one in loggers]
    try:
        yield
    finally:
        for logger, handlers, level, propagate, disabled in before:
            logger.handlers[:], logger.propagate, logger.disabled = handlers, propagate, disabled
            logger.setLevel(level)
