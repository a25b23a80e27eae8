"""What is there is no Redis, or none for us: it never ends, stops in the middle, or is too old."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("redis")

from tests.kit.redis import refusal
from tests.kit.talkers import says, talking

NONSENSE = {
    "a line without an end": (b"+", b"a" * 65536),
    "an error without an end": (b"-ERR ", b"a" * 65536),
    "a text without an end": (b"$9000000000000\r\n", b"a" * 65536),
    # hiredis makes room for as many as are announced, and to free two thousand million takes seconds.
    "a list without an end": (b"*10000000\r\n", b"+a\r\n" * 16384),
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

    async with talking(speak) as port:
        assert "does not speak Redis's protocol" in await refusal(f"redis://127.0.0.1:{port}")
    assert taken < 16 * 1024 * 1024


@pytest.mark.parametrize("answer", [b"$100\r\nabc", b"*2\r\n+a\r\n", b"+OK", b"$"])
async def test_half_an_answer(answer: bytes) -> None:
    async with talking(says(answer)) as port:
        assert "no answer within 0.2 s" in await refusal(f"redis://127.0.0.1:{port}", 0.2)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"*-7\r\n$$"])
async def test_another_language(answer: bytes) -> None:
    async with talking(says(answer)) as port:
        assert "does not speak Redis's protocol" in await refusal(f"redis://127.0.0.1:{port}")


async def test_silence() -> None:
    async with talking(says(b"")) as port:
        assert (await refusal(f"redis://127.0.0.1:{port}", 0.3)).endswith("no answer within 0.3 s")


INFOS = {
    b"redis_version:3.2.1": "Redis 3.2.1 is too old: 5.0 is needed",
    b"redis_version:7.0.0\r\nrole:slave": "it is a replica, which may not be written to",
    b"redis_version:7.0.0\r\nloading:1": "it is still loading its data",
    b"redis_version:7.0.0\r\nrole:master\r\ncluster_enabled:1": "a node of a cluster",
}


@pytest.mark.parametrize("info", INFOS)
async def test_a_server_that_will_not_do(info: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line == b"SETINFO\r\n":
                writer.write(b"+OK\r\n")
            elif line == b"INFO\r\n":
                writer.write(b"$%d\r\n%b\r\n" % (len(info), info))
        writer.close()

    async with talking(speak) as port:
        assert INFOS[info] in await refusal(f"redis://127.0.0.1:{port}")
