"""The page of integers that workers share."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from fastws.connection.counters import Counters, PlainCounters
from fastws.server.shared_page import ROW_BYTES, SharedPage

SECOND = 10**9


@pytest.fixture
def page() -> SharedPage:
    return SharedPage.create(5)


def test_a_row_is_that_of_one_process(page: SharedPage) -> None:
    row = page.row(1)
    assert (row.is_serving, row.heartbeat, row.connections, row.starting) == (False, 0, 0, 0)
    row.is_serving = True
    row.connections, row.starting, row.excess = 3, 2, 1
    row.beat(7)
    page.row(2).connections = 4
    assert (row.is_serving, row.heartbeat, page.connections()) == (True, 7, 7)
    assert page.connections_within_limit() == 6
    row.clear()
    assert (row.is_serving, row.heartbeat, row.connections, row.starting) == (False, 0, 0, 0)
    assert page.connections() == page.connections_within_limit() == 4


@pytest.mark.parametrize("kind", [Counters, PlainCounters])
def test_counters_outlive_their_worker_and_the_next_one_adds_to_them(page: SharedPage, kind: Any) -> None:
    first, other, second = kind(), kind(), kind()
    first.connections = 3  # before it shares them
    first.share(page.row(1).counters)
    other.share(page.row(4).counters)
    first.websockets_opened, first.websockets_closed, first.messages_received = 3, 1, 2**40
    other.messages_received = 5
    assert page.row(1).messages_received == 2**40
    page.row(1).clear()
    second.share(page.row(1).counters)
    assert set(second.as_dict().values()) == {0}
    second.row.messages_received += 2
    assert second.messages_received == 2
    totals = page.totals()
    assert list(totals) == list(second.as_dict())
    assert (totals["connections"], totals["messages_received"]) == (3, 2**40 + 7)
    # The system has closed what the first one left open.
    assert (totals["websockets_opened"], totals["websockets_closed"]) == (3, 3)


def test_who_has_fewest_of_those_at_work(page: SharedPage) -> None:
    now = 100 * SECOND
    assert page.fewest(now) == 0
    rows = [
        (7, True, now),
        (9, True, now - SECOND),
        (1, True, now - 3 * SECOND),  # it is stopped
        (2, False, now),
    ]
    for row, (connections, is_serving, beat) in zip(page.rows, rows, strict=False):
        row.connections, row.is_serving = connections, is_serving
        row.beat(beat)
    assert page.fewest(now) == 7


CHILD = """
import sys
from fastws.server.shared_page import SharedPage
row = SharedPage.attach(int(sys.argv[1])).row(1)
row.connections = 12345
"""


def test_another_process_writes_to_the_same_page(page: SharedPage) -> None:
    subprocess.run([sys.executable, "-c", CHILD, str(page.fd)], pass_fds=[page.fd], timeout=30, check=True)
    assert page.row(1).connections == 12345
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
