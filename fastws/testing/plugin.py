"""The plugin that pytest finds by itself where fastws is installed: fixtures, none of them autouse.

It imports the rest of fastws only when a test uses one of them.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastws.testing import Clock, ManualLoop, live, pair

__all__ = ["fastws_clock", "fastws_loop", "fastws_pair", "fastws_server"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "fastws_timeout", "seconds that a wait in a fastws fixture may take (0: no limit)", default="5"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "fastws_timeout(seconds): how long a wait in a fastws fixture may take (0: no limit)"
    )


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Fail with the ``WaitTimeout`` for which a pair of a fixture has cancelled the test."""
    try:
        return (yield)
    except CancelledError as exc:
        from fastws.testing.watch import WaitTimeout

        cause = exc.args[0] if exc.args else None
        if isinstance(cause, WaitTimeout):
            raise cause from None
        raise


def _timeout(request: pytest.FixtureRequest) -> float | None:
    marker = request.node.get_closest_marker("fastws_timeout")
    seconds = float(marker.args[0] if marker is not None else request.config.getini("fastws_timeout"))
    return seconds or None


@pytest.fixture
def fastws_clock() -> Clock:
    """A :class:`fastws.testing.Clock`: the time of the test's pairs; ``await advance(seconds)`` moves it."""
    from fastws.testing import Clock

    return Clock()


@pytest.fixture
def fastws_pair(request: pytest.FixtureRequest) -> Callable[..., pair]:
    """:class:`fastws.testing.pair`, with the test's time limit, and its ``fastws_clock`` if it uses one."""
    from fastws.testing import pair

    options: dict[str, Any] = {"timeout": _timeout(request)}
    if "fastws_clock" in request.fixturenames:
        options["clock"] = request.getfixturevalue("fastws_clock")
    return partial(pair, **options)


@pytest.fixture
def fastws_server(request: pytest.FixtureRequest) -> Callable[..., live]:
    """:class:`fastws.testing.live`, with the test's time limit."""
    from fastws.testing import live

    return partial(live, timeout=_timeout(request))


@pytest.fixture
def fastws_loop() -> Iterator[ManualLoop]:
    """A :class:`fastws.testing.ManualLoop`, running; an error in a callback fails the test."""
    from fastws.testing import ManualLoop

    with ManualLoop() as loop:
        yield loop
