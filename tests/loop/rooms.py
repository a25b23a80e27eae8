"""A coroutine that takes messages from an inbox, as that of a handler does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastws.connection.inbox import Inbox
from fastws.loop.inline_task import create_task
from fastws.loop.wakeups import Wakeups
from tests.conftest import Run

Body = Callable[["Room"], Coroutine[Any, Any, Any]]


class Room:
    """An inbox, and the task that reads from it, which waits for a message to begin with."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.wakeups = Wakeups(self.loop)
        self.inbox = Inbox(1000, lambda: None, lambda: None, self.wakeups)
        self.seen: list[Any] = []

    async def start(self, body: Body) -> asyncio.Task[Any]:
        self.task = create_task(body(self))
        await asyncio.sleep(0)
        return self.task

    def poll(self, *messages: str) -> None:
        """What one poll of the sockets does. As there, no task runs meanwhile."""

        def poll() -> None:
            self.wakeups.begin()
            for message in messages:
                self.inbox.put(message)
            assert self.wakeups.end() is None

        _outside(self.loop, poll)


def _outside(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    """Call as the loop would, though a task runs."""
    task = asyncio.current_task(loop)
    assert task is not None
    asyncio.tasks._leave_task(loop, task)
    try:
        function()
    finally:
        asyncio.tasks._enter_task(loop, task)


def room_of(run: Run, body: Body, then: Callable[[Room], Awaitable[None]]) -> Room:
    async def scenario() -> Room:
        room = Room()
        await room.start(body)
        await then(room)
        if not room.task.done():
            room.task.cancel()
            await asyncio.wait([room.task])
        return room

    room: Room = run(scenario())
    return room


async def collect(room: Room) -> None:
    while True:
        room.seen.append(await room.inbox.get())


async def _nothing(room: Room) -> None:
    pass
