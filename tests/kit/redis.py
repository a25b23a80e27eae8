"""A Redis of our own, with a directory of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fastws import BrokerUnavailable, Hub
from tests.kit.programs import Program, need

__all__ = ["Redis", "need_redis", "refusal"]


def need_redis() -> None:
    """Skip where there is no redis-server; with TESTS_REQUIRE_REDIS=1, as CI has it, fail."""
    need("redis-server", "TESTS_REQUIRE_REDIS")


class Redis(Program):
    """One server.

    Args:
        folder: Where its data goes.
        options: As on its command line.
        port: Default: a free one.
        config: The configuration of a sentinel, which this shall be.
    """

    def __init__(
        self, folder: Path, *options: str, port: int | None = None, config: Path | None = None
    ) -> None:
        super().__init__(folder, port)
        self.config = config
        self.options = options

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        if self.config is not None:
            return ["redis-server", str(self.config), "--sentinel", "--port", str(self.port), *self.options]
        settings = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), "save": ""}
        command = ["redis-server", "--appendonly", "yes", "--repl-diskless-sync-delay", "0"]
        for name, value in settings.items():
            command += [f"--{name}", value]
        return [*command, *self.options]

    def is_up(self) -> bool:
        answer = self.cli("PING")
        return "PONG" in answer or "NOAUTH" in answer

    def cli(self, *arguments: str) -> str:
        """Return what redis-cli says."""
        command = ["redis-cli", "-p", str(self.port), "--no-auth-warning", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        return (done.stdout + done.stderr).strip()


async def refusal(url: str, timeout: float = 5.0) -> str:
    """Return what a hub says that cannot start, in one line."""
    from fastws.pubsub.brokers.redis_broker import RedisBroker

    hub = Hub(broker=RedisBroker(url))
    with pytest.raises(BrokerUnavailable) as failure:
        await hub.start(timeout)
    await hub.close()
    assert "\n" not in str(failure.value)
    return str(failure.value)
