"""Nodes that share by NATS, one case of the table after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("nats")

from fastws.pubsub.brokers.nats import NatsBroker
from fastws.testing import BrokerSite, broker_conformance
from fastws.testing.conformance import Case
from tests.kit.nats import Nats, need_nats

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


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Nats]:
    need_nats()
    with Nats(tmp_path / "nats") as found:
        yield found


@pytest.mark.parametrize("case", broker_conformance(), ids=str)
async def test_conforms(case: Case, server: Nats) -> None:
    await case(NatsSite(server))
