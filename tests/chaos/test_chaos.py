"""The short form of ``python -m tests.chaos``: what is delivered, and not how fast."""

from __future__ import annotations

import pytest

from tests.chaos.siege import Plan, besiege


@pytest.mark.live
@pytest.mark.timeout(180)
def test_every_position_comes_once_or_is_told() -> None:
    plan = Plan(seconds=20.0)
    verdict = besiege(plan)
    assert not verdict.faults, (verdict.faults, verdict.log[-5000:])
    assert verdict.kills == plan.worker_kills and verdict.keeper_kills == plan.keeper_kills
    assert verdict.epochs == 1 + plan.keeper_kills
    assert verdict.told["epoch"] >= plan.clients * plan.keeper_kills
    assert verdict.cuts > plan.clients
    assert len(verdict.returns) > plan.clients
