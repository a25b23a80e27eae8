"""What is there is no Redis: it never ends, or stops in the middle."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("redis")

from fastws import BrokerUnavailable, Hub
from fastws.pubsub.brokers.redis_broker import RedisBroker


async def refusal(url: str, timeout: float = 5.0) -> str:
    """What a hub says that cannot start: one line."""
    hub = Hub(broker=RedisBroker(url))
    with pytest.raises(BrokerUnavailable) as failure:
        await hub.start(timeout)
    await hub.close()
    assert "\n" not in str(failure.value)
    return str(failure.value)


NONSENSE = {
    "a line without an end": (b"+", b"a" * 65536),
    "an error without an end": (b"-ERR ", b"a" * 65536),
    "a text without an end": (b"$9000000000000\r\n", b"a" * 65536),
    "a list without an end": (b"*2000000000\r\n", b"+a\r\n" * 16384),
    "a list in a list": (b"*9\r\n" * 4000, b"*9\r\n" * 16384),
}


@pytest.mark.parametrize("what", NONSENSE)
async def test_an_answer_that_never_ends(what: str) -> None:
    """It is let go after an eighth of a mebibyte; the rest was in the sockets."""
    begin, more = NONSENSE[what]
    taken = 0

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        try:
            await reader.read(1)
            writer.write(begin)
            while True:
                writer.write(more)
                await writer.drain()
                taken += len(more)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert "does not speak Redis's protocol" in await refusal(f"redis://127.0.0.1:{port}")
    assert taken < 16 * 1024 * 1024
    server.close()


@pytest.mark.parametrize("answer", [b"$100\r\nabc", b"*2\r\n+a\r\n", b"+OK", b"$"])
async def test_half_an_answer(answer: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert "no answer within 0.2 s" in await refusal(f"redis://127.0.0.1:{port}", 0.2)
    server.close()
