"""The board of integers by name that workers share."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from fastws.connection.counters import COUNTER_NAMES, UNCOUNTED, Counters
from fastws.meters.board import MAX_LABEL, ROW_INTEGERS, Board, Kind, Series
from fastws.meters.histogram import BOUNDS, HISTOGRAM_INTEGERS, Histogram
from fastws.meters.meters import Meters, begin_measuring, end_measuring, measuring


def found(board: Board) -> dict[tuple[str, ...], list[int]]:
    return {(series.name, *series.labels): board.sums(series) for series in board.series()}


def test_sums_are_those_of_all_rows_and_outlive_their_workers() -> None:
    board = Board.create(3)
    first, second = Meters(board, 0), Meters(board, 2)
    for meters, number in ((first, 2), (second, 5)):
        meters.count("http", "200", by=number)
        meters.set(number, "up")
        meters.pings.observe(0.002 * number)
    assert found(board)["http", "200"] == [7] and found(board)["up",] == [7]
    assert found(board)["ping",][-1] == 14_000_000
    board.clear(0)
    assert found(board)["http", "200"] == [7] and found(board)["up",] == [5]
    # The next worker of the row adds to what stands there.
    Meters(board, 0).count("http", "200")
    assert found(board)["http", "200"] == [8]
    board.close()
    board.close()


def test_a_worker_that_dies_has_lost_its_websockets_and_their_queues() -> None:
    board = Board.create(2)
    meters = Meters(board, 1)
    counters = meters.route_counters("/a", UNCOUNTED)
    assert meters.route_counters("/a", UNCOUNTED) is counters
    topics = meters.topic_counters("rooms/*")
    counters.websockets_opened, counters.websockets_closed, counters.queue_bytes = 5, 2, 1000
    counters.messages_sent = topics.messages_sent = 9
    meters.topic_counters("/a").websockets_opened = 7
    assert counters.peer_closed(1000) and counters.peer_closed(1000)
    assert board.counters()["messages_sent"] == 9, "what topics count is counted by routes"
    assert board.counters(0)["messages_sent"] == 0 and board.counters(1)["messages_sent"] == 9
    board.clear(1)
    totals = board.counters()
    assert (totals["websockets_opened"], totals["websockets_closed"], totals["queue_bytes"]) == (5, 5, 0)
    for _ in range(2):
        assert list(board.closes()) == [("/a", "1000", "client", 2), ("/a", "1006", "none", 3)]
        board.clear(1)


def test_a_client_can_make_no_names_of_its_own() -> None:
    board = Board.private()
    meters = Meters(board)
    counters = meters.route_counters("/x" * 300, UNCOUNTED)
    for code in range(900, 5100):
        counters.peer_closed(code)
    assert counters.server_closed(1012) and not counters.server_closed(4401)
    meters.server_closed(counters, 4401)
    meters.server_closed(UNCOUNTED, 1000)
    own = Counters()
    meters.count_closes(own, "")
    assert own.peer_closed(1006)
    closes = {(code, initiator): number for of, code, initiator, number in board.closes() if of}
    assert {of for of, *_ in board.closes() if of} == {("/x" * 300)[:MAX_LABEL]}
    by_client = {(str(code), "none" if code == 1006 else "client"): 1 for code in range(1000, 1016)}
    free = {("3xxx", "client"): 1000, ("4xxx", "client"): 1000}
    assert closes == {**by_client, **free, ("1012", "server"): 1, ("4401", "server"): 1}
    others = [("", "1000", "server", 1), ("", "1006", "none", 1)]
    assert sorted(each for each in board.closes() if not each[0]) == others


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (101, None),
        (404, "not_found"),
        (403, "forbidden"),
        (418, "refused"),
        (500, "failed"),
        (503, "unavailable"),
    ],
)
def test_what_a_handshake_comes_to(status: int, result: str | None) -> None:
    board = Board.private()
    meters = Meters(board)
    meters.answered(status, upgrade=result is not None)
    meters.recovered("resumed")
    names = found(board)
    assert names["http", str(status)] == [1] and names["recovery", "resumed"] == [1]
    assert [name[1] for name in names if name[0] == "handshake"] == ([result] if result else [])


CHILD = """
import sys
from fastws.meters.board import Board
from fastws.meters.meters import Meters
board = Board.attach(int(sys.argv[1]))
meters = Meters(board, 1)
meters.count("close", "/b", "1000", "client", by=3)
meters.count("close", "/a", "1000", "client", by=4)
"""


def test_names_that_another_process_adds_are_the_same_for_all() -> None:
    board = Board.create(2)
    meters = Meters(board, 0)
    meters.count("close", "/a", "1000", "client")
    subprocess.run([sys.executable, "-c", CHILD, str(board.fd)], pass_fds=[board.fd], timeout=30, check=True)
    meters.count("close", "/b", "1000", "client")
    assert found(board)["close", "/a", "1000", "client"] == [5]
    assert found(board)["close", "/b", "1000", "client"] == [4]
    (series,) = [each for each in board.series() if each.labels[:1] == ("/b",)]
    assert (board.of_row(0, series), board.of_row(1, series)) == ([1], [3])


def test_two_threads_may_read_names_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board.create(1)
    other = Board.attach(os.dup(board.fd))
    for number in range(3):
        other.add(Kind.COUNTER, "n", str(number))

    def meanwhile(*args: object) -> Series:
        monkeypatch.undo()
        board.series()
        return Series(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("fastws.meters.board.Series", meanwhile)
    board.series()
    other.add(Kind.COUNTER, "n", "3")
    assert [series.labels for series in board.series()] == [("0",), ("1",), ("2",), ("3",)]
    board.close()
    other.close()


@pytest.mark.parametrize("size", [0, 8, 64 * 1024 + 64, Board.size_of(1) + 8, Board.size_of(2)])
def test_a_board_of_another_kind_is_refused(size: int) -> None:
    fd = os.memfd_create("other")
    try:
        os.ftruncate(fd, size)
        with pytest.raises(ValueError, match=f"no board of meters: {size} bytes"):
            Board.attach(fd)
    finally:
        os.close(fd)


def test_what_has_no_room_is_not_counted_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    board = Board.private()
    meters = Meters(board)
    with caplog.at_level(logging.WARNING, "fastws.error"):
        for number in range(ROW_INTEGERS):
            meters.count("code", str(number))
            meters.set(1, "gauge", str(number))
    assert len(caplog.records) == 1 and "no room" in caplog.text
    assert meters.route_counters("/late", UNCOUNTED) is UNCOUNTED
    assert meters.topic_counters("late") is UNCOUNTED
    Histogram(board.row(0), board.add(Kind.HISTOGRAM, "late")).observe(1.0)
    with pytest.raises(IndexError, match="no row 1"):
        board.row(1)


def test_buckets_have_what_is_at_most_their_bound() -> None:
    row = memoryview(bytearray(8 * (HISTOGRAM_INTEGERS + 3))).cast("q")
    histogram = Histogram(row, 3)
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] + 1e-9, BOUNDS[-1], BOUNDS[-1] + 1):
        histogram.observe(seconds)
    numbers = list(row[3:])
    assert numbers[:2] == [2, 1] and numbers[len(BOUNDS) - 1 : len(BOUNDS) + 1] == [1, 1]
    assert numbers[-1] == pytest.approx(sum((BOUNDS[0] * 2, BOUNDS[-1] * 2, 1)) * 1e9, abs=10)


def test_measuring_begins_once() -> None:
    assert measuring() is None
    try:
        meters = begin_measuring()
        assert begin_measuring(Board.private()) is meters is measuring()
    finally:
        end_measuring()
    assert measuring() is None
    assert len(COUNTER_NAMES) == 14 and Series(Kind.COUNTER, "a", (), 0).place == 0


def test_a_system_without_memory_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create", raising=False)
    board = Board.create(1)
    Meters(board).count("http", "200")
    other = Board.attach(os.dup(board.fd))
    assert found(other)["http", "200"] == [1]
    for each in (board, other):
        each.close()
