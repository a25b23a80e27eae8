"""What the tests of topics with a history share."""

from __future__ import annotations

import pytest

from fastws.pubsub.hub import Hub


@pytest.fixture
def hub() -> Hub:
    made = Hub()
    made.topic("t", history=5)
    return made
