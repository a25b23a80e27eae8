"""Tickets with several workers: each opens one connection, whichever of them it comes to."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import fastws
from tests.cli.helpers import Child, get
from tests.workers.crowd import besieged, url_of
from tests.workers.processes import pids
from tests.workers.test_histories import keepers

pytestmark = [pytest.mark.live, pytest.mark.system]

APP = """
import os
import fastws

tickets = fastws.Tickets("a secret of more than thirty-two bytes")


class Greeter(fastws.Handler):
    def on_open(self, ws):
        ws.send_nowait(str(os.getpid()))


routes = [
    fastws.Route("/ticket", http=lambda request: fastws.Response(200, tickets.issue("ann"))),
    fastws.Route("/", Greeter(), authorize=tickets),
]
"""


async def opened(url: str) -> Any:
    """The worker that has let the client in, or the status of the refusal."""
    try:
        async with fastws.connect(url) as ws:
            return await ws.recv()
    except fastws.HandshakeRefused as refused:
        return refused.response.status


def test_each_ticket_opens_one_connection_of_all_workers(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)

    async def siege(child: Child) -> None:
        await asyncio.to_thread(pids, child, 2)
        address = child.address()

        async def ticket() -> str:
            return (await asyncio.to_thread(get, address, "/ticket"))[2].decode()

        workers = set()
        for _ in range(20):
            url = url_of(child, f"/?ticket={await ticket()}")
            answers = await asyncio.gather(*(opened(url) for _ in range(6)))
            assert answers.count(401) == 5, answers
            workers.update(answer for answer in answers if answer != 401)
        assert len(workers) == 2
        before = [await ticket() for _ in range(5)]
        assert await opened(url_of(child, f"/?ticket={before[0]}")) != 401
        os.kill(keepers(child)[0], signal.SIGKILL)
        while len(keepers(child)) < 2:
            await asyncio.sleep(0.02)
        # What was used is not known any more: each worker finds that out with the first that comes to it.
        answers = [await opened(url_of(child, f"/?ticket={each}")) for each in before]
        assert set(answers) <= {401, 503}
        while await opened(url_of(child, f"/?ticket={await ticket()}")) in (401, 503):
            await asyncio.sleep(0.02)

    besieged(tmp_path, siege, "app:routes", "--app-dir", tmp_path, "--port", 0, "--workers", 2)
