"""The page of integers that workers share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fastws.server.shared_page import ROW_BYTES, SharedPage

SECOND = 10**9


@pytest.fixture
def page() -> SharedPage:
    return SharedPage.create(5)


def test_a_row_is_that_of_one_process(page: SharedPage) -> None:
    row = page.row(1)
    assert (row.is_serving, row.heartbeat, row.connections, row.messages) == (False, 0, 0, 0)
    row.is_serving = True
    row.connections, row.messages = 3, 2**40
    row.beat(7)
    page.row(2).connections = 4
    assert (row.is_serving, row.heartbeat, row.messages, page.connections()) == (True, 7, 2**40, 7)
    row.clear()
    assert (row.is_serving, row.heartbeat, row.connections, row.messages) == (False, 0, 0, 0)
    assert page.connections() == 4


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
