"""A test with many rows inside: all are run, and a failure names each row that failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import pytest

__all__ = ["Row", "all_rows"]

#: Of more rows than that only the number is said.
MAX_SHOWN = 20


class Row(Protocol):
    def __call__(self, *names: object) -> AbstractContextManager[None]: ...


@contextmanager
def all_rows() -> Iterator[Row]:
    """``with all_rows() as row:``, then ``with row("c", "server"):`` around each row; fail at the end."""
    failures: list[str] = []
    count = 0

    @contextmanager
    def row(*names: object) -> Iterator[None]:
        nonlocal count
        count += 1
        try:
            yield
        except Exception as error:
            failures.append(f"[{', '.join(map(str, names))}] {type(error).__name__}: {error}")

    yield row
    if failures:
        more = [f"... and {len(failures) - MAX_SHOWN} more"] if len(failures) > MAX_SHOWN else []
        told = "\n".join([*failures[:MAX_SHOWN], *more])
        pytest.fail(f"{len(failures)} of {count} rows failed:\n{told}", pytrace=False)
