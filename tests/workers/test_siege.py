"""``fastws serve --workers N`` while workers die, stop and are replaced: nothing may be lost.

Each wait is for an event; its limit only ends a test that hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

import fastws
from fastws.cli.dev_ca import ensure_authority, issue, subject_name
from tests.cli.helpers import Child, running
from tests.workers.crowd import (
    CLIENTS,
    access_lines,
    besieged,
    connected,
    labels,
    limited,
    ready,
    said,
    until,
    url_of,
)
from tests.workers.processes import gone, pids, wait_gone

pytestmark = [pytest.mark.live, pytest.mark.system, pytest.mark.timeout(180)]

#: Clients are told their worker, then hear each other.
ROOM = """
import os
import fastws
from fastws.apps.broadcast import Broadcast

class Room(Broadcast):
    __slots__ = ()
    def on_open(self, ws):
        ws.send_nowait(str(os.getpid()))
        super().on_open(ws)

routes = [fastws.Route("/broadcast", Room())]
"""


def test_a_kill_costs_the_clients_of_other_workers_no_message_and_no_connection(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(ROOM)
    count, messages = 60, 30

    async def siege(server: Child) -> None:
        url = url_of(server, "/broadcast")
        clients = await connected(url, count)
        victim = pids(server, 3)[0]
        kill_at = asyncio.Event()

        async def talk(number: int) -> None:
            """Say the next number when the one before has come back: no client is ever far behind."""
            client = clients[number]
            for word in range(messages):
                if word == messages // 2:
                    kill_at.set()
                await client.ws.send(f"{number} {word}")
                await client.wait(partial(client.has_heard, number, word))

        lost = {number for number, client in enumerate(clients) if client.worker == victim}
        kept = set(range(count)) - lost
        assert len({client.worker for client in clients}) == 3
        listening = [asyncio.create_task(client.listen()) for client in clients]
        talking = [asyncio.create_task(talk(number)) for number in range(count)]
        await kill_at.wait()
        os.kill(victim, signal.SIGKILL)
        await asyncio.gather(*(talking[number] for number in kept))
        for number in kept:
            client = clients[number]
            await client.wait(partial(client.has_heard_all, kept, messages))
        for number in lost:
            await asyncio.wait([listening[number]])
            assert clients[number].ws.close_code == 1006
            talking[number].cancel()
        for number in kept:
            client = clients[number]
            assert not listening[number].done() and client.ws.close_code is None
            for sender in kept:
                assert client.of(sender) == list(range(messages))
            for sender in lost:  # of a killed worker's clients: a beginning, and no gap in it
                heard = client.of(sender)
                assert heard == list(range(len(heard)))
        await until(lambda: len(ready(server)) == 4)
        replacement = ready(server)[3]
        later = await connected(url, count)
        assert replacement in {client.worker for client in later}
        assert victim not in {client.worker for client in later}
        for client in [*later, *(clients[number] for number in kept)]:
            await client.ws.close()
        await asyncio.wait(listening)
        await until(lambda: len(access_lines(server)) >= len(later) + len(kept))
        assert {code for _, code in access_lines(server)} == {"1000"}

    besieged(tmp_path, siege, "app:routes", "--port", 0, "--workers", 3)


def test_no_connect_fails_and_no_socket_breaks_in_three_reloads(tmp_path: Path) -> None:
    async def siege(server: Child) -> None:
        url = url_of(server, "/echo")
        held: list[fastws.WebSocket] = []
        done = asyncio.Event()
        failures: list[BaseException] = []
        codes: Counter[int | None] = Counter()
        connects = 0

        async def hold() -> None:
            ws = await fastws.connect(url)
            held.append(ws)
            await ws.wait_closed()
            codes[ws.close_code] += 1

        async def connect_on() -> None:
            nonlocal connects
            while not done.is_set():
                connects += 1
                try:
                    ws = await fastws.connect(url)
                except (OSError, fastws.FastWSError) as error:
                    failures.append(error)
                    continue
                # A worker that leaves may close it before, with 1012.
                with contextlib.suppress(fastws.ConnectionClosed):
                    await ws.send("x")
                    assert await ws.recv() == "x"
                await ws.close()
                codes[ws.close_code] += 1

        def more_than(count: int) -> bool:
            return connects > count

        holding = [asyncio.create_task(hold()) for _ in range(CLIENTS)]
        await until(lambda: len(held) == CLIENTS)
        connecting = [asyncio.create_task(connect_on()) for _ in range(4)]
        for reload in range(1, 4):
            before = connects
            await until(partial(more_than, before + 10))
            server.process.send_signal(signal.SIGHUP)
            await until(partial(said, server, "reload: done", reload))
        done.set()
        await asyncio.gather(*connecting, *holding)
        assert failures == []
        assert connects > 30
        assert set(codes) <= {1000, 1012}
        assert codes[1012] >= CLIENTS

    options = ["--port", 0, "--workers", 2, "--timeout-drain", 1]
    with running(tmp_path, "serve", *options) as server:
        first = pids(server, 2)
        limited(lambda: siege(server))
        for pid in first:
            wait_gone(pid)
        assert server.stop() == 0
    assert {code for _, code in access_lines(server)} <= {"1000", "1012"}
    assert "Traceback" not in server.stderr()


def test_the_supervisor_outlives_five_kills_and_all_workers_come_back(tmp_path: Path) -> None:
    async def siege(server: Child) -> None:
        for pid in pids(server, 3):
            os.kill(pid, signal.SIGKILL)
        for killed in (3, 4):
            await until(partial(said, server, "is ready", killed + 1))
            os.kill(ready(server)[killed], signal.SIGKILL)
        await until(lambda: len(ready(server)) == 8)
        assert server.process.poll() is None
        alive = [pid for pid in ready(server) if not gone(pid)]
        assert len(alive) == 3
        sockets = [await fastws.connect(url_of(server, "/echo")) for _ in range(CLIENTS)]
        for ws in sockets:
            await ws.close()
        await until(lambda: len(access_lines(server)) >= CLIENTS)
        assert {worker for worker, _ in access_lines(server)} == {labels(server)[pid] for pid in alive}

    with running(tmp_path, "serve", "--port", 0, "--workers", 3) as server:
        limited(lambda: siege(server))
        assert server.stop() == 0
    assert "workers crash again and again" in server.stderr()
    assert "Traceback" not in server.stderr()


def test_connections_are_shared_fairly_and_not_with_a_stopped_worker(tmp_path: Path) -> None:
    async def siege(server: Child) -> None:
        url = url_of(server, "/echo")

        async def open_all(count: int, at_once: int) -> list[fastws.WebSocket]:
            """Any connect that fails ends the test."""
            turns = asyncio.Semaphore(at_once)

            async def one() -> fastws.WebSocket:
                async with turns:
                    return await fastws.connect(url)

            return await asyncio.gather(*(one() for _ in range(count)))

        stopped = pids(server, 4)[1]
        sockets = await open_all(400, at_once=50)
        os.kill(stopped, signal.SIGSTOP)
        try:
            others = await open_all(400, at_once=50)
            for ws in others:  # the workers that run serve all of them
                await ws.send("x")
                assert await ws.recv() == "x"
        finally:
            os.kill(stopped, signal.SIGCONT)
        for ws in others:
            await ws.close()
        await until(lambda: len(access_lines(server)) >= 400)
        assert labels(server)[stopped] not in {worker for worker, _ in access_lines(server)}
        for ws in sockets:
            await ws.send("x")
            assert await ws.recv() == "x"
            await ws.close()
        await until(lambda: len(access_lines(server)) >= 800)
        shares = Counter(worker for worker, _ in access_lines(server)[400:])
        assert len(shares) == 4
        assert max(shares.values()) / min(shares.values()) <= 1.2, shares

    besieged(tmp_path, siege, "--port", 0, "--workers", 4)


def test_a_renewed_certificate_closes_nothing_and_the_next_handshakes_have_it(tmp_path: Path) -> None:
    authority = ensure_authority(tmp_path)

    def renew() -> bytes:
        issue(authority, tmp_path, [subject_name("127.0.0.1")], 1)
        text = (tmp_path / "server.pem").read_text()
        return ssl.PEM_cert_to_DER_cert(text[: text.index("-----END CERTIFICATE-----") + 25])

    async def siege(server: Child, first: bytes) -> None:
        address = server.address()
        host, port = address.removeprefix("https://").split(":")
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))

        async def seen() -> bytes:
            _, writer = await asyncio.open_connection(host, int(port), ssl=context)
            found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            assert isinstance(found, bytes)
            return found

        url = address.replace("https", "wss", 1) + "/echo"
        sockets = [await fastws.connect(url, ssl=context) for _ in range(50)]
        assert {await seen() for _ in range(20)} == {first}
        renewed = renew()
        await until(partial(said, server, "the certificates have been read again", 2))  # each worker has
        assert {await seen() for _ in range(20)} == {renewed}
        later = [await fastws.connect(url, ssl=context) for _ in range(4)]
        for ws in [*sockets, *later]:
            await ws.send("x")
            assert await ws.recv() == "x"
            await ws.close()
        await until(lambda: len(access_lines(server)) >= len(sockets) + len(later))
        assert {worker for worker, _ in access_lines(server)} == {"1", "2"}
        assert {code for _, code in access_lines(server)} == {"1000"}

    first = renew()
    tls = ["--ssl-certfile", tmp_path / "server.pem", "--ssl-keyfile", tmp_path / "server-key.pem"]
    with running(tmp_path, "serve", "--port", 0, "--workers", 2, *tls) as server:
        limited(lambda: siege(server, first))
        assert server.stop() == 0
    assert "Traceback" not in server.stderr()
