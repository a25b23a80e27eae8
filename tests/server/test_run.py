"""Until a signal: in a running loop, and as a program of its own."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from fastws import (
    Server,
)
from fastws.server.run import serve_until_signal
from fastws.server.settings import settings_from
from tests.kit import ManualLoop, Recorder
from tests.server.served import QUIET, opened


class TestRun:
    def start(self, loop: ManualLoop, app: Any, *addresses: dict[str, Any], **options: Any) -> Any:
        self.servers: list[Server] = []
        settings = settings_from(**QUIET)
        return loop.create_task(
            serve_until_signal(app, addresses, settings, started=self.servers.append, **options)
        )

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_stops_it(self, loop: ManualLoop, number: int) -> None:
        task = self.start(loop, Recorder(), {"port": 8000}, {"port": 8001})
        loop.settle()
        client = opened(loop, self.servers[0])
        loop.raise_signal(number)
        loop.settle()
        assert client.frames()[-1].close_code == 1001
        client.close(1001)
        loop.settle()
        assert task.result() == 0
        assert asyncio.all_tasks(loop) == set()

    def test_within_its_grace(self, loop: ManualLoop) -> None:
        task = self.start(loop, Recorder(), {"port": 8000}, grace=2.0)
        loop.settle()
        client = opened(loop, self.servers[0])
        loop.raise_signal(signal.SIGTERM)
        loop.advance(2.0)
        assert task.result() == 0
        assert client.transport.aborted

    def test_without_a_grace(self, loop: ManualLoop) -> None:
        task = self.start(loop, Recorder(), {"port": 8000}, grace=None)
        loop.settle()
        client = opened(loop, self.servers[0])
        loop.raise_signal(signal.SIGTERM)
        loop.advance(4.9)
        assert not task.done()
        client.transport.lose()
        loop.settle()
        assert task.result() == 0

    def test_a_second_signal_ends_at_once(self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        def leave(code: int) -> None:
            raise SystemExit(code)

        monkeypatch.setattr("fastws.server.run.os._exit", leave)
        self.start(loop, Recorder(), {"port": 8000})
        loop.settle()
        opened(loop, self.servers[0])
        loop.raise_signal(signal.SIGTERM)
        loop.settle()
        loop.raise_signal(signal.SIGINT)
        with pytest.raises(SystemExit) as caught:
            loop.turn()
        assert caught.value.code == 128 + signal.SIGINT

    def test_an_address_that_cannot_be_had(self, loop: ManualLoop) -> None:
        task = self.start(loop, Recorder(), {"port": 8000}, {"port": 8000})
        loop.settle()
        assert isinstance(task.exception(), OSError)
        assert self.servers == []
        assert loop.network.listeners == {}
