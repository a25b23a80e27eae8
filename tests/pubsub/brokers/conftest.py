"""A NATS server for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.nats import Nats, need_nats


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Nats]:
    need_nats()
    with Nats(tmp_path / "nats") as found:
        yield found
