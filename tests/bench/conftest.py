"""A run made up of round numbers: nothing here was measured."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.model import Run, Sample, ServerRecord

MACHINE = {
    "cpu": "Imaginary 3000",
    "cores": "2",
    "memory": "4 GiB",
    "system": "An OS",
    "kernel": "6.0",
    "python": "CPython 3.11.0",
    "fastws": "1.0 (abc)",
    "engine": "c",
    "hot path": "compiled",
    "uvloop": "0.22",
    "h11": "0.16",
    "wsproto": "1.3",
    "pinning": "server on core 0, generator on core 1",
}
RATES = {"fastws": 200_000.0, "picows": 100_000.0, "websockets": 50_000.0}


@pytest.fixture
def make_run() -> Callable[..., Run]:
    def make(rounds: int = 9, speed: float = 1.0, cells: tuple[str, ...] = ("echo-16", "fanout-16")) -> Run:
        servers = [ServerRecord(name, name, version="1.0") for name in RATES]
        servers.append(ServerRecord("ws", "ws (node)", missing="node is not installed"))
        samples = [
            # A round is slow or fast for everybody: up to 40 % between rounds, nothing within them.
            Sample(cell, name, number, {"rate": speed * rate * (1 + number % 3 / 5), "cpu_us": 1e6 / rate})
            for number in range(rounds)
            for cell in cells
            for name, rate in RATES.items()
        ]
        return Run(
            "2026-01-02 03:04+00:00",
            rounds,
            MACHINE,
            idle="Idle.",
            idle_ok=True,
            servers=servers,
            cells=list(cells),
            samples=samples,
        )

    return make
