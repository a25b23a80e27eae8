"""The helper that runs many rows in one test."""

from __future__ import annotations

import pytest

from tests.rows import all_rows


def test_all_rows_run_and_each_that_fails_is_named() -> None:
    seen = []
    with pytest.raises(pytest.fail.Exception) as failed, all_rows() as row:
        for number in range(4):
            with row("c", "server", f"cut at {number}"):
                seen.append(number)
                assert number % 2 == 0, "odd"
    assert seen == [0, 1, 2, 3]
    first, *rows = str(failed.value).splitlines()
    assert first == "2 of 4 rows failed:"
    assert [line for line in rows if line.startswith("[")] == [
        "[c, server, cut at 1] AssertionError: odd",
        "[c, server, cut at 3] AssertionError: odd",
    ]


def test_rows_that_hold_are_no_failure() -> None:
    with all_rows() as row, row("only"):
        pass


def test_of_very_many_failures_the_first_are_shown() -> None:
    with (
        pytest.raises(pytest.fail.Exception, match=r"(?s)30 of 30 .*\[19\].*\.\.\. and 10 more$"),
        all_rows() as row,
    ):
        for number in range(30):
            with row(number):
                raise ValueError
