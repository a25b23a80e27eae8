"""The short form of ``python -m tests.chaos --broker``: what is delivered, and not how fast."""

from __future__ import annotations

import pytest

from tests.chaos.nodes import NodesPlan, besiege_nodes
from tests.kit.nats import need_nats
from tests.kit.redis import need_redis


@pytest.mark.live
@pytest.mark.timeout(180)
@pytest.mark.parametrize("broker", ["redis", "nats"])
def test_what_a_broker_s_outages_cost_is_told(broker: str) -> None:
    if broker == "redis":
        need_redis()
    else:
        need_nats()
        pytest.importorskip("nats")
    plan = NodesPlan(broker=broker, seconds=10.0, clients=60, rate=100.0)
    verdict = besiege_nodes(plan)
    assert not verdict.faults, (verdict.faults, verdict.log[-5000:])
    assert verdict.kills == plan.worker_kills and len(verdict.outages) == 2
    assert verdict.epochs == 1 and verdict.cuts > plan.clients // 2
    assert verdict.missed == 0
    assert verdict.reported == verdict.missing
