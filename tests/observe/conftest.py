"""Nothing is measured behind a test that has begun to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fastws.meters.meters import end_measuring


@pytest.fixture(autouse=True)
def _measuring_ends() -> Iterator[None]:
    yield
    end_measuring()
