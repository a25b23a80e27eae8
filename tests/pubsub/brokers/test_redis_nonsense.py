"""What is there is no Redis, or none for us: it never ends, stops in the middle, or is too old."""

from __future__ import annotations

import asyncio
import gc

import pytest

pytest.importorskip("redis")

from redis.exceptions import InvalidResponse

from fastws.pubsub.brokers import redis_places
from fastws.pubsub.brokers.redis_bounds import has_head
from tests.kit.redis import refusal
from tests.kit.talkers import says, talking

NONSENSE = {
    "a line without an end": (b"+", b"a" * 65536),
    "an error without an end": (b"-ERR ", b"a" * 65536),
    "a text without an end": (b"$9000000000000\r\n", b"a" * 65536),
    "a list without an end": (b"*2000000000\r\n", b"+a\r\n" * 16384),
    "a list without an end, whose head is cut": (b"*20000", b"00000\r\n"),
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
    # A list for as many parts as are announced is searched by the collector of garbage, for seconds.
    assert all(len(each) < 10**7 for each in gc.get_objects() if type(each) is list)


@pytest.mark.parametrize("mark", [b"*", b"%", b"~", b">"])
def test_the_number_of_parts_is_known_before_they_are_read(mark: bytes) -> None:
    most = mark + b"100\r\n"
    assert has_head(most, 100) and has_head(mark + b"-1\r\n", 100) and has_head(b"+OK\r\n", 100)
    for end in range(1, len(most) - 1):
        assert not has_head(most[:end], 100)
    for head in (mark + b"101\r\n", mark + b"0" * 40):
        with pytest.raises(InvalidResponse, match="more than 100 parts"):
            has_head(head, 100)


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


SENTINELS = {
    b"HTTP/1.1 400 Bad Request\r\n\r\n": "what is there does not speak Redis's protocol",
    b"*1\r\n+a\r\n": "what is there does not speak Redis's protocol",
    b"*1\r\n*2\r\n+a\r\n+b\r\n": "what is there does not speak Redis's protocol",
    b"+OK\r\n": "what is there does not speak Redis's protocol",
    b"*0\r\n": "it knows no master of that name",
    b"": "no answer",
}


@pytest.mark.parametrize("answer", SENTINELS)
async def test_a_sentinel_that_is_none(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    if not answer:
        monkeypatch.setattr(redis_places, "ANSWER_SECONDS", 0.2)
    greeting = b"+OK\r\n" * 2 if answer[:1] in (b"*", b"+") else b""  # what redis-py says of itself
    async with talking(says(greeting + answer)) as port:
        text = await refusal(f"redis+sentinel://127.0.0.1:{port}/main")
    assert text.endswith(f"/main: No master found for 'main': 127.0.0.1:{port}: {SENTINELS[answer]}")


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
