"""Editors as stock ones behave, with documents of pycrdt, for tests of ``fastws.yjs``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pycrdt

import fastws
from fastws.testing import pair
from fastws.yjs import Documents, MemoryStore
from fastws.yjs.protocol import (
    AWARENESS,
    QUERY_AWARENESS,
    STEP_1,
    STEP_2,
    SYNC,
    UPDATE,
    Entry,
    awareness_message,
    read_awareness,
    read_bytes,
    read_number,
    sync_message,
    write_number,
)

__all__ = ["Editor", "number", "site", "slow_clock", "structs"]


def site(documents: Documents | None = None, path: str = "/yjs/a", **options: Any) -> pair:
    """A server of documents in memory, and a client of document ``a``."""
    route = fastws.Route("/yjs/{document}", documents or Documents(MemoryStore()))
    return pair([route], path, **options)


class Editor:
    """One page with a document: it says and answers what y-websocket does."""

    def __init__(self, ws: Any, client: int = 1) -> None:
        self.ws = ws
        self.client = client
        self.doc: Any = pycrdt.Doc(client_id=client)
        self.text: Any = self.doc.get("text", type=pycrdt.Text)
        #: What the server says of clients, as y-websocket would hold it, and how often.
        self.states: dict[int, Any] = {}
        self.told = 0
        self.clock = 0
        self.is_synced = False
        self.silences = 0
        self.updates = 0
        self._is_remote = False
        self._subscription = self.doc.observe(self._changed)
        ws.send_nowait(sync_message(STEP_1, self.doc.get_state()))
        self.task = asyncio.get_running_loop().create_task(self._run())

    def __str__(self) -> str:
        return str(self.text)

    def say(self, state: object) -> None:
        """Tell who one is."""
        self.clock += 1
        text = None if state is None else json.dumps(state).encode()
        self.ws.send_nowait(awareness_message([Entry(self.client, self.clock, text)]))

    def ask(self) -> None:
        self.ws.send_nowait(write_number(QUERY_AWARENESS))

    async def closed(self) -> tuple[int | None, str | None]:
        await self.ws.wait_closed()
        return self.ws.close_code, self.ws.close_reason

    def _changed(self, event: Any) -> None:
        if not self._is_remote:
            self.ws.send_nowait(sync_message(UPDATE, event.update))

    async def _run(self) -> None:
        async for message in self.ws:
            kind, at = read_number(message, 0)
            if kind == SYNC:
                step, at = read_number(message, at)
                content, _ = read_bytes(message, at)
                self._sync(step, content)
            elif kind == AWARENESS:
                content, _ = read_bytes(message, at)
                self._take(read_awareness(content, 1_000))

    def _sync(self, step: int, content: bytes) -> None:
        if step == STEP_1:
            self.ws.send_nowait(sync_message(STEP_2, self.doc.get_update(content)))
            return
        self.updates += 1
        self._is_remote = True
        self.doc.apply_update(content)
        self._is_remote = False
        self.is_synced |= step == STEP_2

    def _take(self, entries: list[Entry]) -> None:
        self.told += bool(entries)
        self.silences += not entries
        for client, _, state in entries:
            if state is None:
                self.states.pop(client, None)
            else:
                self.states[client] = json.loads(state)


def number(value: int) -> bytes:
    return write_number(value)


def structs(client: int, count: int, body: bytes, *, clock: int = 0) -> bytes:
    """An update of so many structs, each behind the one before, in the text ``text``.

    Args:
        body: The first byte of a struct, which says what it holds, and its content.
    """
    parts = [number(1), number(count), number(client), number(clock)]
    first, content = body[:1], body[1:]
    for index in range(clock, clock + count):
        if index:
            parts += bytes((first[0] | 0x80,)), number(client), number(index - 1), content
        else:
            parts += first, number(1), number(4), b"text", content
    return b"".join((*parts, number(0)))


def slow_clock() -> Iterator[float]:
    """Each step takes a second."""
    now = 0.0
    while True:
        yield now
        now += 1.0
