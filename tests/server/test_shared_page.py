"""The page of integers that workers share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from fastws.server.shared_page import COUNTER_NAMES, ROW_BYTES, RowState, SharedPage

SECOND = 10**9


def test_a_row_is_that_of_one_process() -> None:
    page = SharedPage(2)
    row = page.row(1)
    assert (row.pid, row.state, row.connections) == (0, RowState.FREE, 0)
    row.begin(17, now_ns=5)
    assert (row.pid, row.state, row.heartbeat, row.started) == (17, RowState.STARTING, 5, 5)
    row.state = RowState.SERVING
    row.connections = 3
    row.beat(7)
    assert (row.heartbeat, row.started) == (7, 5)
    assert page.connections() == 3
    row.end()
    assert (row.pid, row.state, row.connections) == (0, RowState.ENDED, 0)


def test_counters_outlive_their_process_and_its_websockets_are_closed() -> None:
    page = SharedPage(2)
    for row in page.rows:
        row.counters[COUNTER_NAMES.index("websockets_opened")] = 5
        row.counters[COUNTER_NAMES.index("messages_sent")] = 2**40
    page.row(0).end()
    page.row(0).begin(18)
    sums = page.counters()
    assert (sums["websockets_opened"], sums["websockets_closed"], sums["messages_sent"]) == (10, 5, 2**41)
    assert list(page.row(0).as_dict()) == list(COUNTER_NAMES) == list(sums)


def test_who_has_fewest_of_those_at_work() -> None:
    page = SharedPage(5)
    now = 100 * SECOND
    assert page.fewest(now) is None
    rows = [
        (7, RowState.SERVING, now),
        (9, RowState.SERVING, now - SECOND),
        (1, RowState.SERVING, now - 3 * SECOND),
    ]
    rows += [(0, RowState.STARTING, now), (0, RowState.DRAINING, now)]
    for row, (connections, state, beat) in zip(page.rows, rows, strict=True):
        row.begin(1, state, beat)
        row.connections = connections
    assert page.fewest(now) == 7


CHILD = """
import os, sys, signal
from fastws.server.shared_page import SharedPage
row = SharedPage.attach(int(sys.argv[1])).row(1)
row.begin(os.getpid())
row.counters[4] += 12345
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_has_counted_stays() -> None:
    page = SharedPage.create(2)
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(page.fd)], pass_fds=[page.fd], timeout=30, check=False
        )
        assert done.returncode == -signal.SIGKILL
        assert page.counters()["messages_received"] == 12345
        assert page.row(1).pid
    finally:
        page.close()
    page.close()


@pytest.mark.parametrize("size", [0, 8, ROW_BYTES + 1])
def test_a_page_of_another_kind_is_refused(size: int) -> None:
    fd = os.memfd_create("other")
    try:
        os.ftruncate(fd, size)
        with pytest.raises(ValueError, match=f"no page of workers: {size} bytes"):
            SharedPage.attach(fd)
    finally:
        os.close(fd)
