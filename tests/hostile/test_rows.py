"""Every row of the table against real servers, on each engine; see ``table.py`` and ``harness.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.harness import LONG, Row, Stages, TooSlow
from tests.hostile.static import make_folder
from tests.hostile.table import ROWS
from tests.live.servers import ENGINES, Servers, needs_engine

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(600 if LONG else 60),
    *([pytest.mark.hostile_long] if LONG else []),
]

#: A bound that is missed on a busy machine is tried again.
TRIES = 5


@pytest.fixture(scope="module", params=ENGINES)
def stages(
    request: pytest.FixtureRequest, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stages]:
    needs_engine(request.param)
    folder = tmp_path_factory.mktemp("static")
    make_folder(folder)
    stages = Stages(servers, request.param, folder)
    yield stages
    stages.close()


CASES = [
    pytest.param(row, seed, id=row.id if len(row.seeds) == 1 else f"{row.id}-{seed}")
    for row in ROWS
    for seed in row.seeds
]


@pytest.mark.parametrize(("row", "seed"), CASES)
def test_row(row: Row, seed: int, stages: Stages) -> None:
    stage = stages.get(row.stage)
    for tries in range(TRIES):
        try:
            stage.run(row, seed)
            return
        except TooSlow:
            if tries == TRIES - 1:
                raise


EXPECTED = [
    *[f"W{number}" for number in range(1, 22)],
    "W2b",
    *[f"H{number}" for number in range(1, 12)],
    *[f"S{number}" for number in range(1, 5)],
    *[f"T{number}" for number in range(1, 5)],
    "P1",
    "P2",
]


def test_the_table_is_whole() -> None:
    assert sorted(row.id for row in ROWS) == sorted(EXPECTED)
    for row in ROWS:
        assert row.name and row.advisories and row.send and row.expect and row.attacks
