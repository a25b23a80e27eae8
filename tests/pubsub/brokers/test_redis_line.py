"""Commands as they are written to Redis."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("redis")

from redis.asyncio.connection import Connection

from fastws.pubsub.brokers.redis_calls import packed


@pytest.mark.parametrize(
    "arguments",
    [
        ("PING",),
        ("PUBLISH", "fastws:{default/a}:p", b"\0\r\n$5\r\n"),
        ("EVALSHA", "a" * 40, 1, "k", "", 0, -1, 2**53, b"", "\u00e9\U0001f600", "1", 1),
    ],
)
def test_commands_are_packed_as_redis_py_does(arguments: tuple[Any, ...]) -> None:
    assert packed(*arguments) == b"".join(Connection().pack_commands([arguments]))


def test_what_is_no_utf8_is_no_argument() -> None:
    with pytest.raises(UnicodeEncodeError):
        packed("SET", "\ud800")
