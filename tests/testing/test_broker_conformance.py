"""One table of cases for all that lets hubs share."""

from __future__ import annotations

import pytest

from fastws import Hub
from fastws.testing import BrokerServer, BrokerSite, broker_conformance, memory_broker
from fastws.testing.conformance import Case


class OneProcess(BrokerSite):
    """One hub that shares nothing: all nodes are the same."""

    can_differ = False

    def __init__(self) -> None:
        super().__init__(lambda: "memory")

    async def open(self) -> list[Hub]:
        return [Hub(broker="memory")] * 2


class Workers(BrokerSite):
    """Hubs of several workers, on a bus with a keeper."""

    can_stop = can_lose = True

    def __init__(self) -> None:
        super().__init__(lambda: "memory")

    async def open(self) -> list[Hub]:
        return [Hub(broker="memory") for _ in range(self.nodes)]

    async def join(self) -> None:
        self._broker = await self._stack.enter_async_context(memory_broker(*self.hubs))

    async def stop(self) -> None:
        self._broker.stop()

    async def start(self) -> None:
        self._broker.start()

    async def lose(self) -> None:
        self._broker.forget()


class Server(BrokerSite):
    """Nodes at a broker in memory."""

    can_stop = can_lose = True

    def __init__(self) -> None:
        self.server = BrokerServer()
        super().__init__(self.server.broker)

    async def stop(self) -> None:
        self.server.stop()

    async def start(self) -> None:
        self.server.start()

    async def lose(self) -> None:
        self.server.lose()


@pytest.mark.parametrize("site", [OneProcess, Workers, Server])
@pytest.mark.parametrize("case", broker_conformance(), ids=str)
async def test_conforms(case: Case, site: type[BrokerSite]) -> None:
    made = site()  # type: ignore[call-arg]
    if reason := case.why_not(made):
        pytest.skip(reason)
    await case(made)
