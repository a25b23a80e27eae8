"""The watchdog over all tests; and loops: one moved by hand, and any of three whose network is in memory."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import settings

from fastws.loop.turn import Turn
from fastws.testing import ManualLoop, Network
from tests import watchdog
from tests.kit import Kernel
from tests.kit.loops import uvloop_or_skip
from tests.kit.ports import free_port

pytest_plugins = ["fastws.pytest_plugin", "tests.selection"]

Run = Callable[[Coroutine[Any, Any, Any]], Any]


# How long an example takes is the machine's affair.
settings.register_profile("fastws", deadline=None)
settings.load_profile("fastws")


def pytest_configure(config: pytest.Config) -> None:
    watchdog.install(config)
    # A shell lets what it starts in the background ignore Ctrl-C, and so would the programs of tests.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _log_levels() -> Iterator[None]:
    """No test leaves another level behind: other tests would find lines that they do not expect."""
    loggers = [logging.getLogger(name) for name in (None, "fastws", "fastws.access", "fastws.error")]
    before = [logger.level for logger in loggers]
    yield
    after = [logger.level for logger in loggers]
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
    assert after == before, "a level of a logger was left behind"


@pytest.fixture
def loop(fastws_loop: ManualLoop) -> ManualLoop:
    """A loop whose turns and clock a test moves; an error in a callback fails the test."""
    return fastws_loop


@pytest.fixture
def turn(loop: ManualLoop) -> Turn:
    """The turn that outboxes without connections share."""
    return Turn(loop.call_soon)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Stands in for the C module that writes past transports, for this test."""
    kernel = Kernel()
    kernel.patch(monkeypatch)
    return kernel


@pytest.fixture
def unused_tcp_port_factory() -> Callable[[], int]:
    """In place of pytest-asyncio's, whose ports a client of another test may take meanwhile."""
    return free_port


@pytest.fixture
def unused_tcp_port() -> int:
    return free_port()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a coroutine on a real loop, asyncio's or uvloop's, whose network is in memory."""
    loop = asyncio.new_event_loop() if request.param == "asyncio" else uvloop_or_skip()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    Network(loop).install()

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return loop.run_until_complete(asyncio.wait_for(coroutine, 20))

    yield run
    left = asyncio.all_tasks(loop)
    loop.close()
    assert not errors
    assert not left
