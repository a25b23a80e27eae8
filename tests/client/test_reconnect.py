"""``async for ws in connect(...)``: when it tries again, how long it waits, and when it stops."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

import fastws
from fastws.client.reconnect import retry_after
from fastws.errors import ConnectionClosed, HandshakeInterrupted
from fastws.protocol.http.messages import Response
from tests.client.loops import both_loops
from tests.client.peers import answer, answering, echo, listening
from tests.kit import until

QUICK = fastws.Backoff(0.001, limit=0.01)


def refused(status: int, **headers: str) -> fastws.HandshakeRefused:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return fastws.HandshakeRefused(Response(status, headers=fields))


@pytest.mark.parametrize(
    ("exc", "verdict"),
    [
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (PermissionError(), False),
        (refused(503), True),
        (refused(429), True),
        (refused(401), False),
        (refused(302), False),
        (fastws.ProxyError("gone"), True),
        (fastws.ProxyError("who?", Response(407)), False),
        (fastws.ProxyError("busy", Response(502)), True),
        (ssl.SSLCertVerificationError(), False),
        (ssl.SSLEOFError(), True),
        (HandshakeInterrupted("cut"), True),
        (fastws.HandshakeError("no WebSocket"), False),
        (fastws.InvalidURL("none"), False),
        (ConnectionClosed(1008), True),
        (ValueError(), False),
    ],
    ids=repr,
)
def test_what_is_worth_another_try(exc: Exception, verdict: bool) -> None:
    assert fastws.is_retryable(exc) is verdict


class TestBackoff:
    def test_the_bound_grows_to_its_limit(self) -> None:
        backoff = fastws.Backoff(1, 2, 10)
        assert [backoff.bound(n) for n in range(6)] == [1, 2, 4, 8, 10, 10]
        assert fastws.Backoff(1, 1, 1).bound(10**9) == 1
        assert fastws.Backoff(0).bound(10**9) == 0

    def test_delays_lie_anywhere_below_the_bound(self) -> None:
        delays = [fastws.Backoff(1).delay(3) for _ in range(200)]
        assert max(delays) <= 8
        assert max(delays) - min(delays) > 4

    def test_a_server_may_ask_for_more_up_to_the_limit(self) -> None:
        assert 5 <= fastws.Backoff(1, limit=60).delay(0, 5.0) <= 6
        assert fastws.Backoff(1, limit=60).delay(0, 3600.0) <= 61

    @pytest.mark.parametrize("fields", [(-1,), (1, 0.5), (5, 2, 1), (1, 2, 3, -1)])
    def test_what_is_no_back_off(self, fields: tuple[float, ...]) -> None:
        with pytest.raises(ValueError):
            fastws.Backoff(*fields)


def test_retry_after() -> None:
    assert retry_after(refused(503, Retry_After="7")) == 7
    for exc in (refused(503), refused(503, Retry_After="Fri, 31 Dec 1999 23:59:59 GMT"), OSError()):
        assert retry_after(exc) == 0


@pytest.mark.live
@both_loops
async def test_it_connects_again_when_the_server_has_closed() -> None:
    async def once(ws: fastws.WebSocket) -> None:
        await ws.send("hello")

    seen = []
    async with fastws.serve(once, "127.0.0.1") as server:
        async for ws in fastws.connect(f"ws://127.0.0.1:{server.port}/", backoff=QUICK):
            async for message in ws:
                seen.append(message)
            if len(seen) == 3:
                break
        assert seen == ["hello"] * 3


@pytest.mark.live
@both_loops
async def test_what_the_body_leaves_open_is_closed() -> None:
    sockets = []
    async with fastws.serve(echo, "127.0.0.1") as server:
        async for ws in fastws.connect(f"ws://127.0.0.1:{server.port}/", backoff=QUICK):
            assert all(other.close_code == 1000 for other in sockets)
            sockets.append(ws)
            if len(sockets) == 2:
                break
        await until(lambda: not server.connections)
        assert [ws.close_code for ws in sockets] == [1000, 1000]


@pytest.mark.live
@both_loops
async def test_it_waits_for_a_server_that_starts_late(unused_tcp_port_factory: Any) -> None:
    port = unused_tcp_port_factory()
    tries: list[Exception] = []

    def retry(exc: Exception) -> bool:
        tries.append(exc)
        return fastws.is_retryable(exc)

    async def start() -> fastws.Server:
        await until(lambda: len(tries) == 3)
        return await fastws.serve(echo, "127.0.0.1", port)

    starting = asyncio.ensure_future(start())
    async for ws in fastws.connect(f"ws://127.0.0.1:{port}/", retry=retry, backoff=QUICK):
        await ws.send("hello")
        assert await ws.recv() == "hello"
        break
    assert all(isinstance(exc, OSError) for exc in tries)
    await (await starting).shutdown()


@pytest.mark.live
@both_loops
async def test_it_stops_at_what_stays_as_it_is() -> None:
    heads: list[str] = []
    talk = answering(answer(503), answer(502), answer(401), heads=heads)
    async with listening(talk) as port:
        with pytest.raises(fastws.HandshakeRefused, match="401"):
            async for _ in fastws.connect(f"ws://127.0.0.1:{port}/", backoff=QUICK):
                raise AssertionError
    assert len(heads) == 3


@pytest.mark.live
@pytest.mark.parametrize("code", [1000, 4001])
@both_loops
async def test_the_hook_decides_about_closes(code: int) -> None:
    async def close(ws: fastws.WebSocket) -> None:
        await ws.close(code, "enough")

    rounds = 0
    async with fastws.serve(close, "127.0.0.1") as server:
        client = fastws.connect(f"ws://127.0.0.1:{server.port}/", retry=lambda exc: False)
        try:
            async for ws in client:
                rounds += 1
                await ws.wait_closed()
        except fastws.ConnectionClosedError as closed:
            assert closed.code == 4001
        else:
            assert code == 1000
    assert rounds == 1


@pytest.mark.live
@both_loops
async def test_the_waits_start_over_after_a_long_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def once(ws: fastws.WebSocket) -> None:
        await ws.close()

    failures: list[int] = []

    def delay(self: fastws.Backoff, count: int, asked: float = 0.0) -> float:
        failures.append(count)
        return 0.0

    monkeypatch.setattr(fastws.Backoff, "delay", delay)
    async with fastws.serve(once, "127.0.0.1") as server:
        url = f"ws://127.0.0.1:{server.port}/"
        for reset, expected in ((3600.0, [0, 1, 2]), (0.0, [0, 0, 0])):
            failures.clear()
            async for ws in fastws.connect(url, backoff=fastws.Backoff(reset=reset)):
                if len(failures) == 3:
                    break
                await ws.wait_closed()
            assert failures == expected
