"""Nodes that share by Redis, one case of the table after the other."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from fastws.pubsub.brokers.redis_broker import RedisBroker
from fastws.testing import BrokerSite, broker_conformance
from fastws.testing.conformance import Case
from tests.kit.redis import Redis, need_redis

pytestmark = pytest.mark.system


class RedisSite(BrokerSite):
    can_stop = can_lose = True

    def __init__(self, redis: Redis) -> None:
        super().__init__(lambda: RedisBroker(redis.url))
        self.redis = redis

    async def stop(self) -> None:
        self.redis.stop()

    async def start(self) -> None:
        self.redis.start()

    async def lose(self) -> None:
        assert self.redis.cli("FLUSHALL") == "OK"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    need_redis()
    with Redis(tmp_path_factory.mktemp("redis") / secrets.token_hex(4)) as server:
        yield server


@pytest.mark.parametrize("case", broker_conformance(), ids=str)
async def test_conforms(case: Case, redis: Redis) -> None:
    redis.cli("FLUSHALL")
    await case(RedisSite(redis))
