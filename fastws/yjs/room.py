"""One open document: its clients, what they say, and what other processes say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from fastws.pubsub.hub import Hub
from fastws.yjs.awareness import Awareness
from fastws.yjs.client import Client
from fastws.yjs.document import EMPTY_UPDATE, Document
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
from fastws.yjs.writer import Writer

__all__ = ["Room", "TooLarge"]

log = logging.getLogger("fastws.error")

#: Seconds over which awareness is conflated.
AWARENESS_SECONDS = 0.1
#: Seconds between two messages that say nothing.
KEEP_ALIVE_SECONDS = 20.0
#: Seconds that other processes have to say what they have of a document that opens.
ANSWER_SECONDS = 2.0
#: Entries of one awareness message of another process.
MAX_TOLD = 10_000


class TooLarge(ValueError):
    """The document would become larger than it may be."""


class Room:
    """A document, from its opening to its end.

    Args:
        name: The document's name.
        store: Where it is kept.
        limits: How large it may be.
        hub: Where this process's clients listen: it shares nothing.
        shared: The hub by which processes tell each other.
        topic: The topic of the document there.
    """

    def __init__(
        self, name: str, store: Store, limits: DocumentLimits, hub: Hub, shared: Hub, topic: str
    ) -> None:
        self.name = name
        self._store = store
        self._limits = limits
        self._hub = hub
        self.line = Line(shared, topic, self)
        self._loop = asyncio.get_running_loop()
        self._document = Document()
        self._writer: Writer | None = None
        self._awareness = Awareness(limits.max_awareness)
        #: Clients that are here.
        self.clients: dict[Client, None] = {}
        self._awareness_timer: asyncio.TimerHandle | None = None
        self._awareness_sent = -AWARENESS_SECONDS
        self._keep_alive: asyncio.TimerHandle | None = None
        #: How many answers of other processes are awaited, and who waits for them.
        self._expected = 0
        self._answered: asyncio.Future[None] | None = None
        #: Done when what is kept has been read.
        self.loaded: asyncio.Future[None] = self._loop.create_future()

    async def open(self) -> None:
        """Read the document.

        Raises:
            StoreError: It cannot be read.
        """
        self.line.open()
        try:
            await self._load()
        except BaseException:
            self.line.close()
            self.loaded.cancel()
            raise
        self.loaded.set_result(None)

    async def _load(self) -> None:
        stored = await self._store.open(self.name)
        self._writer = Writer(stored, self._document.snapshot)
        try:
            for update in await self._writer.open():
                self._document.apply(update)
        except BaseException:
            await stored.close()
            raise
        self._document.snapshot()

    async def gather(self, ask: Callable[[bytes], None], answers: int) -> None:
        """Ask other processes for what is not kept yet, and wait for so many of them."""
        self._expected = answers
        ask(self._document.state())
        if answers:
            self._answered = self._loop.create_future()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._answered, ANSWER_SECONDS)
            self._answered = None

    def start(self) -> None:
        """Clients may come."""
        assert self._writer is not None
        self._writer.want_lock()
        self._keep_alive = self._loop.call_later(KEEP_ALIVE_SECONDS, self._say_nothing)

    @property
    def is_written_here(self) -> bool:
        """True where this process has the document's lock."""
        return self._writer is not None and self._writer.has_lock

    async def close(self) -> None:
        """Store what is not stored yet, and let go of the document."""
        for timer in (self._awareness_timer, self._keep_alive):
            if timer is not None:
                timer.cancel()
        self._awareness_timer = self._keep_alive = None
        self._tell_awareness()
        self.line.close()
        try:
            if self._writer is not None:
                await self._writer.close()
        finally:
            self._document.close()

    # -- clients --------------------------------------------------------------------------------

    def join(self, client: Client) -> None:
        """A client has come: ask it for what it has, and tell it who is here."""
        self.clients[client] = None
        self._hub.subscribe(client.subscriber, self.name)
        if client.may_write:
            client.say(sync_message(STEP_1, self._document.state()))
        if present := self._awareness.present():
            client.say(awareness_message(present))

    def leave(self, client: Client) -> None:
        """It has gone."""
        self.clients.pop(client, None)
        self._awareness.leave(client, self._loop.time())
        self._tell_awareness_soon()

    def receive(self, client: Client, message: str | bytes) -> bytes | None:
        """Take a message of a client; return the answer.

        Raises:
            BadMessage: It is none.
            BadUpdate: It has an update that is none.
            TooLarge: The document would become too large.
            PermissionError: The client may not write.
        """
        if isinstance(message, str):
            raise BadMessage("a message is binary")
        kind, at = read_number(message, 0)
        if kind == SYNC:
            step, at = read_number(message, at)
            content, at = read_bytes(message, at)
            answer = self._sync(client, step, content)
        elif kind == AWARENESS:
            content, at = read_bytes(message, at)
            told = self._awareness.receive(client, content, self._loop.time())
            self._tell_awareness_soon()
            answer = awareness_message(told) if told else None
        elif kind == QUERY_AWARENESS:
            answer = awareness_message(self._awareness.present())
        else:
            raise BadMessage(f"a message of kind {kind}")
        if at != len(message):
            raise BadMessage("a message has bytes behind its end")
        return answer

    def _sync(self, client: Client, step: int, content: bytes) -> bytes | None:
        if step == STEP_1:
            return sync_message(STEP_2, self._document.update_since(content))
        if step not in (STEP_2, UPDATE):
            raise BadMessage(f"a sync message of kind {step}")
        if client.may_write:
            self._check_size(content)
            for change in self._apply(content, client):
                self.line.say(CHANGE, change)
        elif step == UPDATE:
            raise PermissionError("this client may only read")
        return None

    def _check_size(self, update: bytes) -> None:
        document, most = self._document, self._limits.max_document
        if document.size + len(update) <= most:
            return
        document.snapshot()
        if document.size + len(document.news_of(update)) > most:
            raise TooLarge(f"the document would have more than {most} bytes")

    def _apply(self, update: bytes, sender: Client | None) -> list[bytes]:
        """Apply an update, and tell the clients here what it has changed; return that."""
        assert self._writer is not None
        changes = self._document.apply(update)
        for change in changes:
            exclude = None if sender is None else sender.subscriber
            self._hub.publish(self.name, sync_message(UPDATE, change), exclude=exclude)
        self._writer.add(changes)
        return changes

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
        self._hub.publish(self.name, awareness_message(changed))
        if said_here:
            self.line.say(AWARE, awareness_content(said_here))

    def _say_nothing(self) -> None:
        self._keep_alive = self._loop.call_later(KEEP_ALIVE_SECONDS, self._say_nothing)
        self._hub.publish(self.name, KEEP_ALIVE)
        self._awareness.expire(self._loop.time())
        self._tell_awareness_soon()

    # -- other processes ------------------------------------------------------------------------

    def heard(self, kind: bytes, content: bytes) -> None:
        """Take what another process says."""
        try:
            if kind == CHANGE:
                self._apply(content, None)
            elif kind == AWARE:
                self._awareness.merge(read_awareness(content, MAX_TOLD), self._loop.time())
                self._tell_awareness_soon()
            elif kind == ASK:
                self.answer(content)
            elif kind == ANSWER:
                self._take_answer(content)
        except ValueError as error:
            log.error("document %r: another process says nonsense: %s", self.name, error)

    def missed(self) -> None:
        """Messages of other processes did not come: ask for all that is missing."""
        self.line.say(ASK, self._document.state())

    def answer(self, state: bytes) -> None:
        """Tell another process what it lacks, and who is here."""
        mine = self._document.state()
        update = self._document.update_since(state)
        self.line.say(ANSWER, write_number(len(mine)) + mine + update)
        if said_here := self._awareness.said_here():
            self.line.say(AWARE, awareness_content(said_here))

    def _take_answer(self, content: bytes) -> None:
        if content:
            state, at = read_bytes(content, 0)
            self._apply(content[at:], None)
            missing = self._document.update_since(state)
            if missing != EMPTY_UPDATE:
                self.line.say(CHANGE, missing)
        self._expected -= 1
        if self._answered is not None and not self._answered.done() and self._expected <= 0:
            self._answered.set_result(None)
