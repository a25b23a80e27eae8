"""What the tests of outboxes need."""

from __future__ import annotations

import pytest

from fastws.loop.turn import Turn
from tests.kit import ManualLoop
from tests.kit.outboxes import Peer


@pytest.fixture
def peer(loop: ManualLoop, turn: Turn) -> Peer:
    return Peer(loop, turn)
