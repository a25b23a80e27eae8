"""How much memory an answer of Redis may take: what is there may be no Redis, and never come to an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hiredis
from redis.asyncio.connection import DefaultParser
from redis.exceptions import InvalidResponse

__all__ = [
    "ANSWER_BYTES",
    "KEPT_BYTES",
    "MESSAGE_BYTES",
    "NOT_ENOUGH",
    "SLOTS_BYTES",
    "BoundedParser",
    "BoundedReader",
    "allow",
]

MIB = 1024 * 1024
#: Bytes of one answer while the connection is made, and of those to most commands.
ANSWER_BYTES = MIB // 8
#: Of who has which slots of a cluster; of what a topic keeps; and of one message of a channel: a node
#: publishes at most 32 MiB.
SLOTS_BYTES = 4 * MIB
KEPT_BYTES = 512 * MIB
MESSAGE_BYTES = 33 * MIB
#: What begins with these has parts, whose number comes first and ends within so many bytes.
AGGREGATES = (b"*", b"%", b"~", b">")
MAX_HEAD_BYTES = 32
#: In place of an answer that has not come to its end.
NOT_ENOUGH = object()


class BoundedParser(DefaultParser):  # type: ignore[misc, valid-type]
    """Reads answers as redis-py does, until one is larger than :func:`allow` says."""

    most = ANSWER_BYTES
    taken = 0

    def on_connect(self, connection: Any) -> None:
        """Begin a connection."""
        super().on_connect(connection)
        self._stream: Any = Counted(self._stream, self)

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the next answer. Raises :class:`redis.exceptions.InvalidResponse` for one too large."""
        self.taken = 0
        return await super().read_response(*args, **options)

    def take(self, size: int) -> None:
        """Count bytes of the answer that is read now."""
        self.taken += size
        if self.taken > self.most:
            raise InvalidResponse(f"an answer of more than {self.most} bytes")


class Counted:
    """What a parser reads from."""

    def __init__(self, stream: Any, parser: BoundedParser) -> None:
        self._stream = stream
        self._parser = parser

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def read(self, size: int) -> Any:
        """Return some bytes; of the first ones enough to know how many parts the answer has."""
        data = await self._stream.read(size)
        if not self._parser.taken and not self._parser._reader.has_data():
            while not has_head(data, self._parser.most):
                more = await self._stream.read(size)
                if not more:
                    break
                data += more
        self._parser.take(len(data))
        return data

    async def readline(self) -> Any:
        """Return a line, which asyncio bounds."""
        data = await self._stream.readline()
        self._parser.take(len(data))
        return data

    async def readexactly(self, size: int) -> Any:
        """Return so many bytes. Where they are too many none are waited for."""
        self._parser.take(size)
        return await self._stream.readexactly(size)


def has_head(data: bytes, most: int) -> bool:
    """True when ``data``, where an answer begins, says how many parts it has, or it has none.

    The parser makes a list for as many parts as are announced, before any of them comes: one for two
    milliards kept the collector of garbage busy for seconds.

    Raises:
        InvalidResponse: There are more than ``most``.
    """
    if data[:1] not in AGGREGATES:
        return True
    count, end, _ = data[1:MAX_HEAD_BYTES].partition(b"\r\n")
    if not end and len(data) < MAX_HEAD_BYTES:
        return False
    if not end or (count.isdigit() and int(count) > most):
        raise InvalidResponse(f"an answer of more than {most} parts")
    return True


def allow(connection: Any, most: int) -> None:
    """Let each answer of a connection that :class:`BoundedParser` reads have at most so many bytes."""
    connection._parser.most = most


class BoundedReader:
    """Finds the answers in what a connection says, while each has at most :attr:`most` bytes.

    Args:
        parse_error: What makes an exception of an error.
    """

    def __init__(self, parse_error: Callable[[str], Exception]) -> None:
        self.most = ANSWER_BYTES
        self._taken = 0
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=parse_error, notEnoughData=NOT_ENOUGH
        )

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._reader.feed(data)
        self._taken += len(data)

    def next(self) -> Any:
        """Return the next answer, or ``NOT_ENOUGH``. Raises :class:`redis.exceptions.InvalidResponse`."""
        answer = self._reader.gets()
        if answer is not NOT_ENOUGH:
            self._taken = 0
        elif self._taken > self.most:
            raise InvalidResponse(f"an answer of more than {self.most} bytes")
        return answer
