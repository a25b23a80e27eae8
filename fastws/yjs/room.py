"""One open document: its clients, what they say, and what other processes say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

from fastws.pubsub.hub import Hub
from fastws.yjs.awareness import MAX_ENTRIES, Awareness
from fastws.yjs.client import Client
from fastws.yjs.content import Content
from fastws.yjs.document import EMPTY_UPDATE, BrokenDocument, EarlyUpdate
from fastws.yjs.limits import DocumentLimits
from fastws.yjs.line import ANSWER, ASK, AWARE, CHANGE, Line
from fastws.yjs.protocol import (
    AWARENESS,
    KEEP_ALIVE,
    QUERY_AWARENESS,
    STEP_1,
    STEP_2,
    SYNC,
    UPDATE,
    BadMessage,
    awareness_content,
    awareness_message,
    read_awareness,
    read_bytes,
    read_number,
    sync_message,
    write_number,
)
from fastws.yjs.stores import Store

__all__ = ["AWARENESS_SECONDS", "KEEP_ALIVE_SECONDS", "Room"]

log = logging.getLogger("fastws.error")

#: Seconds over which awareness is conflated.
AWARENESS_SECONDS = 0.1
#: Seconds between two messages that say nothing.
KEEP_ALIVE_SECONDS = 20.0
#: Seconds that other processes have to say what they have of a document that opens.
ANSWER_SECONDS = 2.0


class Room:
    """A document, from its opening to its end.

    Args:
        name: The document's name.
        limits: How large it may be.
        hub: Where this process's clients listen: it shares nothing.
        shared: The hub by which processes tell each other.
        topic: The topic of the document there.
    """

    def __init__(self, name: str, limits: DocumentLimits, hub: Hub, shared: Hub, topic: str) -> None:
        self.name = name
        self._hub = hub
        self.line = Line(shared, topic, self)
        self._loop = asyncio.get_running_loop()
        self._content = Content(limits.max_document, self._tell)
        self._awareness = Awareness(limits.max_awareness)
        #: Where clients hear of each other, but for those whose sockets refuse bytes: they are told
        #: everything when they take them again.
        self._here = f"\0{name}"
        self._behind: set[Client] = set()
        #: Clients that are here.
        self.clients: dict[Client, None] = {}
        self._awareness_timer: asyncio.TimerHandle | None = None
        self._awareness_sent = self._loop.time() - AWARENESS_SECONDS
        self._keep_alive: asyncio.TimerHandle | None = None
        #: How many answers of other processes are awaited, and who waits for them.
        self._expected = 0
        self._answered: asyncio.Future[None] = self._loop.create_future()
        #: Done when what is kept has been read.
        self.loaded: asyncio.Future[None] = self._loop.create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, store: Store) -> None:
        """Read the document.

        Raises:
            StoreError: It cannot be read.
        """
        self.line.open()
        try:
            await self._content.load(store, self.name)
        except BaseException:
            self.line.close()
            self.loaded.cancel()
            raise
        self.loaded.set_result(None)
        self._keep_alive = self._loop.call_later(KEEP_ALIVE_SECONDS, self._say_nothing)

    async def gather(self, ask: Callable[[bytes], None], answers: int) -> None:
        """Ask other processes for what is not kept yet, and wait for so many of them."""
        self._expected = answers
        ask(self._content.state())
        if answers:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._answered, ANSWER_SECONDS)

    @property
    def is_written_here(self) -> bool:
        """True where this process has the document's lock."""
        return self._content.is_written_here

    async def close(self) -> None:
        """Store what is not stored yet, and let go of the document."""
        for timer in (self._awareness_timer, self._keep_alive):
            if timer is not None:
                timer.cancel()
        self._tell_awareness()
        self.line.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._content.close()

    # -- clients --------------------------------------------------------------------------------

    def join(self, client: Client) -> None:
        """A client has come: ask it for what it has, and tell it who is here."""
        self.clients[client] = None
        self._hub.subscribe(client.subscriber, self.name)
        self._hub.subscribe(client.subscriber, self._here)
        if client.may_write:
            client.is_asked = True
            client.say(sync_message(STEP_1, self._content.state()))
        if present := self._awareness.present():
            client.say(awareness_message(present))

    def leave(self, client: Client) -> None:
        """It has gone."""
        self.clients.pop(client, None)
        self._awareness.leave(client, self._loop.time())
        self._tell_awareness_soon()

    def receive(self, client: Client, message: str | bytes) -> Iterator[bytes | None]:
        """Take a message of a client in steps, each of which is short; yield between them, and the answer.

        Raises:
            BadMessage: It is none.
            BadUpdate: It has an update that is none.
            TooLarge: The document would become too large.
            PermissionError: The client may not write.
            BrokenDocument: The document is lost in memory.
        """
        if isinstance(message, str):
            raise BadMessage("a message is binary")
        kind, at = read_number(message, 0)
        step = None
        content = b""
        if kind == SYNC:
            step, at = read_number(message, at)
        if kind in (SYNC, AWARENESS):
            content, at = read_bytes(message, at)
        if at != len(message):
            raise BadMessage("a message has bytes behind its end")
        if kind == SYNC:
            yield from self._sync(client, step, content)
        elif kind == AWARENESS:
            told = self._awareness.receive(client, content, self._loop.time())
            self._tell_awareness_soon()
            if told:
                yield awareness_message(told)
        elif kind == QUERY_AWARENESS:
            yield awareness_message(self._awareness.present())
        else:
            raise BadMessage(f"a message of kind {kind}")

    def _sync(self, client: Client, step: int | None, content: bytes) -> Iterator[bytes | None]:
        if step == STEP_1:
            yield sync_message(STEP_2, self._content.update_since(content))
        elif step not in (STEP_2, UPDATE):
            raise BadMessage(f"a sync message of kind {step}")
        elif client.may_write:
            if step == STEP_2:
                client.is_asked = False
            try:
                yield from self._content.steps(content, client)
            except EarlyUpdate:
                # A client that comes back goes on at once, and what it had said before may be lost with
                # another process. Its answer to what the document lacks has both.
                if step == STEP_2:
                    raise
                if not client.is_asked:
                    client.is_asked = True
                    yield sync_message(STEP_1, self._content.state())
        elif step == UPDATE:
            raise PermissionError("this client may only read")

    def _tell(self, change: bytes, sender: Client | None) -> None:
        """Tell the others here of a change, and other processes where it was made here."""
        exclude = None if sender is None else sender.subscriber
        self._hub.publish(self.name, sync_message(UPDATE, change), exclude=exclude)
        if sender is not None:
            self.line.say(CHANGE, change)

    # -- awareness ------------------------------------------------------------------------------

    def _tell_awareness_soon(self) -> None:
        if self._awareness_timer is None and self._awareness.has_changes:
            pause = self._awareness_sent + AWARENESS_SECONDS - self._loop.time()
            self._awareness_timer = self._loop.call_later(max(0.0, pause), self._tell_awareness)

    def _tell_awareness(self) -> None:
        """Tell everybody what has changed since the last time."""
        self._awareness_timer = None
        changed, said_here = self._awareness.take()
        if not changed:
            return
        self._awareness_sent = self._loop.time()
        for client in self.clients:
            if client.is_congested and client not in self._behind:
                self._behind.add(client)
                self._hub.unsubscribe(client.subscriber, self._here)
                self._work(self._catch_up(client))
        self._hub.publish(self._here, awareness_message(changed))
        if said_here:
            self.line.say(AWARE, awareness_content(said_here))

    async def _catch_up(self, client: Client) -> None:
        await client.subscriber.unblocked()
        self._behind.discard(client)
        if client in self.clients:
            self._hub.subscribe(client.subscriber, self._here)
            client.say(awareness_message(self._awareness.everything()))

    def _say_nothing(self) -> None:
        self._keep_alive = self._loop.call_later(KEEP_ALIVE_SECONDS, self._say_nothing)
        self._hub.publish(self.name, KEEP_ALIVE)
        self._awareness.expire(self._loop.time())
        self._tell_awareness_soon()

    # -- other processes ------------------------------------------------------------------------

    def heard(self, kind: bytes, content: bytes) -> None:
        """Take what another process says."""
        try:
            if kind == CHANGE and self._content.is_small(content):
                self._content.apply(content, None)
            elif kind == CHANGE:
                self._work(self._content.apply_slowly(content))
            elif kind == AWARE:
                self._awareness.merge(read_awareness(content, MAX_ENTRIES), self._loop.time())
                self._tell_awareness_soon()
            elif kind == ASK:
                self.answer(content)
            elif kind == ANSWER:
                self._work(self._take_answer(content))
        except (ValueError, BrokenDocument) as error:
            self._complain(error)

    def missed(self) -> None:
        """Messages of other processes did not come: ask for all that is missing."""
        self.line.say(ASK, self._content.state())

    def answer(self, state: bytes) -> None:
        """Tell another process what it lacks, and who is here. Raises ``BadUpdate``."""
        mine = self._content.state()
        self.line.say(ANSWER, write_number(len(mine)) + mine + self._content.update_since(state))
        if said_here := self._awareness.said_here():
            self.line.say(AWARE, awareness_content(said_here))

    async def _take_answer(self, content: bytes) -> None:
        if content:
            state, at = read_bytes(content, 0)
            await self._content.apply_slowly(content[at:])
            missing = self._content.update_since(state)
            if missing != EMPTY_UPDATE:
                self.line.say(CHANGE, missing)
        self._expected -= 1
        if self._expected <= 0 and not self._answered.done():
            self._answered.set_result(None)

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._complain(error)

    def _complain(self, error: BaseException) -> None:
        if isinstance(error, EarlyUpdate):  # what stands before it was lost, or is under way
            self.missed()
            return
        if isinstance(error, BrokenDocument):
            self.fail()
        log.error("document %r: another process says what is none: %s", self.name, error)

    def fail(self) -> None:
        """The document is lost in memory: all clients come back, and it is read anew."""
        for client in list(self.clients):
            client.subscriber.close_nowait(4500, "the document is read anew")
