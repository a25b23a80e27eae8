"""Nodes that share by NATS, one case of the table after the other."""

from __future__ import annotations

import pytest

pytest.importorskip("nats")

from fastws.pubsub.brokers.nats import NatsBroker
from fastws.testing import BrokerSite, broker_conformance
from fastws.testing.conformance import Case
from tests.kit.nats import Nats

pytestmark = [pytest.mark.live, pytest.mark.system]


class NatsSite(BrokerSite):
    can_stop = can_lose = True

    def __init__(self, server: Nats) -> None:
        super().__init__(lambda: NatsBroker(server.url))
        self.server = server

    async def stop(self) -> None:
        self.server.stop()

    async def start(self) -> None:
        self.server.start()

    async def lose(self) -> None:
        self.server.stop()
        self.server.lose()
        self.server.start()


@pytest.mark.parametrize("case", broker_conformance(), ids=str)
async def test_conforms(case: Case, server: Nats) -> None:
    await case(NatsSite(server))
