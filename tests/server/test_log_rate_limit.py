"""No cause may fill the log, and no line is dropped in silence."""

from __future__ import annotations

import io
import logging

from fastws.cli import logs
from fastws.cli.serve import serve
from fastws.server.log_rate_limit import LogRateLimit
from tests.kit.logging_kept import logging_kept

LINES_PER_PERIOD = 10


class Log:
    def __init__(self) -> None:
        self.now = 100.0
        self.out = io.StringIO()
        handler = logging.StreamHandler(self.out)
        handler.addFilter(LogRateLimit(clock=lambda: self.now))
        self.logger = logging.Logger("limited")
        self.logger.addHandler(handler)

    @property
    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()


def test_ten_lines_a_second_of_one_cause() -> None:
    log = Log()
    for number in range(1000):
        log.logger.error("client %d failed", number)
    assert log.lines == [f"client {number} failed" for number in range(LINES_PER_PERIOD)]


def test_another_cause_is_not_held_up() -> None:
    log = Log()
    for number in range(1000):
        log.logger.error("client %d failed", number)
    log.logger.error("the disk is full")
    assert log.lines[LINES_PER_PERIOD:] == ["the disk is full"]


def test_what_was_dropped_is_said_once() -> None:
    log = Log()
    for number in range(25):
        log.logger.error("client %d failed", number)
    log.now += 1.0
    log.logger.error("100 %% sure: %s", "the disk is full")
    log.logger.error("client %d failed", 25)
    assert log.lines[LINES_PER_PERIOD:] == [
        "100 % sure: the disk is full (dropped before this line: 15 lines like 'client ... failed')",
        "client 25 failed",
    ]


def test_who_is_below_it_loses_nothing() -> None:
    log = Log()
    for number in range(100):
        log.logger.error("client %d failed", number)
        log.now += 0.11
    assert len(log.lines) == 100


def test_what_was_asked_for_is_not_dropped() -> None:
    log = Log()
    for number in range(100):
        log.logger.debug("recv: %d", number)
    assert len(log.lines) == 100


def test_the_command_limits_its_errors() -> None:
    with logging_kept():
        logs.configure(serve.make_context("serve", []).params)
        errors = logging.getLogger("fastws").handlers[0]
        assert [type(one) for one in errors.filters] == [LogRateLimit]
        assert logging.getLogger("fastws.access").handlers[0].filters == []
