"""Publishes from an asyncio program to a server that is another process."""

from __future__ import annotations

import asyncio
import contextlib
import ssl as ssl_module
from collections.abc import Iterable, Mapping
from typing import Any, Self

from fastws.config import UNSET, Unset
from fastws.publish.batches import Batch, batches
from fastws.publish.door import IDLE_SECONDS, MAX_IDLE, READ_BYTES, Door, pauses
from fastws.publish.exchange import Answer, BadAnswer, Exchange, Target
from fastws.pubsub.events import Published

__all__ = ["AsyncPublisher"]


class AsyncLine:
    """One connection. Raises ``OSError`` for what becomes of its socket, ``BadAnswer`` for what comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.exchange = Exchange()
        self.used_at = 0.0
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, target: Target, context: ssl_module.SSLContext | None) -> AsyncLine:
        """Connect."""
        if target.unix:
            return cls(*await asyncio.open_unix_connection(target.unix))
        return cls(*await asyncio.open_connection(target.host, target.port, ssl=context))

    async def ask(self, request: bytes) -> Answer:
        """Send a request, and wait for its answer."""
        self._writer.write(request)
        await self._writer.drain()
        while True:
            answer = self.exchange.receive(await self._reader.read(READ_BYTES))
            if answer is not None:
                self.used_at = asyncio.get_running_loop().time()
                return answer

    def is_fresh(self, now: float) -> bool:
        """Whether the server has not closed it, as far as can be seen."""
        return now - self.used_at <= IDLE_SECONDS and not (self._reader.at_eof() or self._writer.is_closing())

    def close(self) -> None:
        self._writer.close()

    async def wait_closed(self) -> None:
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class AsyncPublisher:
    """Publishes to a running server from another asyncio program; within the server use its :class:`Hub`.

    As :class:`fastws.Publisher`, whose arguments and errors it has. It belongs to one event loop, where any
    number of tasks may publish at the same time. A cancelled call may have published.

    Args:
        url: As for :class:`fastws.Publisher`, and so are ``token``, ``timeout`` and ``ssl``.

    Raises:
        ValueError: As :class:`fastws.Publisher`.
        TypeError: As :class:`fastws.Publisher`.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 5.0,
        ssl: ssl_module.SSLContext | None = None,
    ) -> None:
        self._door = Door(url, token, timeout, ssl)
        self._idle: list[AsyncLine] = []

    async def publish(
        self,
        topic: str,
        message: str | bytes | Unset = UNSET,
        *,
        json: Any = UNSET,
        key: str | None = None,
        remove: bool = False,
        once: str | None = None,
    ) -> Published | None:
        """Publish one message, and wait until the server has it.

        Args:
            topic: As for :meth:`fastws.Publisher.publish`, and so is all else.

        Returns:
            Where the message is, and whether it was published before; None of a topic without positions.

        Raises:
            PublishError: It was not published, or nobody knows; its ``code`` says which.
            TypeError: Both ``message`` and ``json`` were given, or none, or of another type.
        """
        item = {"topic": topic, "message": message, "json": json, "key": key, "remove": remove, "once": once}
        return (await self.publish_many([item]))[0]

    async def publish_many(self, items: Iterable[Mapping[str, Any]]) -> list[Published | None]:
        """Publish many messages in their order, up to a thousand in a request.

        Args:
            items: As for :meth:`fastws.Publisher.publish_many`.

        Returns:
            What :meth:`publish` returns, for each.

        Raises:
            PublishError: Some were not published; ``failed`` says which. What follows them was not sent.
            TypeError: One is no message. All before it are published.
        """
        results: list[Published | None] = []
        for batch in batches(items):
            await self._publish(batch)
            results += batch.results
        return results

    async def _publish(self, batch: Batch) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._door.timeout
        waits = pauses()
        while not await self._attempt(batch, deadline):
            wait = next(waits)
            if loop.time() + wait >= deadline:
                raise batch.gave_up()
            await asyncio.sleep(wait)

    async def _attempt(self, batch: Batch, deadline: float) -> bool:
        """Send what is open; return whether all is published. Raises :class:`PublishError`."""
        door = self._door
        line = self._take()
        if line is None:
            try:
                async with asyncio.timeout_at(deadline):
                    line = await AsyncLine.open(door.target, door.context)
            except OSError as error:
                door.unreachable(batch, error)
                return False
        try:
            async with asyncio.timeout_at(deadline):
                answer = await line.ask(door.request(line.exchange, batch))
        except (OSError, BadAnswer) as error:
            line.close()
            door.unanswered(batch, error)
            return False
        except BaseException:
            line.close()
            raise
        if line.exchange.is_reusable and len(self._idle) < MAX_IDLE:
            self._idle.append(line)
        else:
            line.close()
        return batch.answered(answer.status, answer.body)

    def _take(self) -> AsyncLine | None:
        """Return a connection that is open already; None where there is none."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            line = self._idle.pop()
            if line.is_fresh(now):
                return line
            line.close()
        return None

    async def aclose(self) -> None:
        """Close what is not in use. The next message opens a connection again."""
        idle, self._idle = self._idle, []
        for line in idle:
            line.close()
        for line in idle:
            await line.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
