"""What becomes of documents whose store fails, and of clients that come and go at the wrong moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastws.testing import Clock
from fastws.yjs import Documents, MemoryStore, Store, StoredDocument, StoreError
from fastws.yjs.document import BrokenDocument
from fastws.yjs.protocol import STEP_1, UPDATE, sync_message
from tests.kit import until
from tests.yjs.editors import Editor, site, slow_clock, structs


class Broken(Store, StoredDocument):
    """A store that fails where a test says so."""

    def __init__(self, fails: str) -> None:
        self.fails = fails
        self.kept: list[bytes] = []
        self.closed = 0

    def fail(self, where: str) -> None:
        if where == self.fails:
            raise StoreError(f"no {where}")

    async def open(self, name: str) -> StoredDocument:
        self.fail("open")
        return self

    async def lock(self) -> bool:
        self.fail("lock")
        return True

    async def load(self) -> list[bytes]:
        self.fail("load")
        return [b"nonsense"] if self.fails == "document" else self.kept

    async def append(self, updates: Any) -> None:
        self.fail("append")
        self.kept += updates

    async def replace(self, snapshot: bytes) -> None:
        self.fail("replace")
        self.kept = [snapshot]

    async def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("where", ["open", "lock", "load", "document"])
async def test_a_store_that_cannot_open(where: str, caplog: pytest.LogCaptureFixture) -> None:
    store = Broken(where)
    documents = Documents(store)
    link = site(documents)
    async with link as ws:
        other = await link.connect("/yjs/a")
        for each in (ws, other):
            await each.wait_closed()
            assert (each.close_code, each.close_reason) == (4500, "the document cannot be opened")
        assert documents.names == []
        assert store.closed == (0 if where == "open" else 2)
        store.fails = ""
        ann = Editor(await link.connect("/yjs/a"), 1)
        await until(lambda: ann.is_synced)
    assert "'a' cannot be opened" in caplog.text


async def test_a_store_that_cannot_write(caplog: pytest.LogCaptureFixture) -> None:
    """What was typed is written when it can be."""
    clock = Clock()
    store = Broken("append")
    async with site(Documents(store), clock=clock) as ws:
        ann = Editor(ws, 1)
        ann.text += "one"
        await clock.advance(1)
        ann.text += " two"
        await clock.advance(5)
        assert store.kept == []
        store.fails = ""
        await clock.advance(31)
        assert len(store.kept) >= 2
    assert "no append; tried again" in caplog.text


async def test_a_store_that_cannot_write_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    store = Broken("append")
    documents = Documents(store)
    async with site(documents) as ws:
        ann = Editor(ws, 1)
        ann.text += "one"
        await until(lambda: ann.is_synced)
        await ws.close()
        await until(lambda: not documents.names)
    assert "1 changes are lost" in caplog.text
    assert store.closed == 1


async def test_many_changes_become_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastws.yjs.writer.LOG_UPDATES", 10)
    store = Broken("")
    async with site(Documents(store)) as ws:
        ann = Editor(ws, 1)
        for _ in range(30):
            ann.text += "x"
            await asyncio.sleep(0)
        await until(lambda: ann.is_synced and store.kept)
        await until(lambda: b"x" * 20 in store.kept[0])
        assert len(store.kept) <= 11


async def test_a_long_log_is_shortened_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastws.yjs.writer.CLOSED_LOG_UPDATES", 2)
    store = Broken("")
    documents = Documents(store)
    async with site(documents) as ws:
        ann = Editor(ws, 1)
        for _ in range(5):
            ann.text += "x"
            await until(lambda: str(ann))
        await until(lambda: len(store.kept) == 5)
        await ws.close()
        await until(lambda: not documents.names)
    assert len(store.kept) == 1


def room_of(documents: Documents) -> Any:
    return documents._open["a"].room


async def test_a_document_that_is_lost_in_memory_is_read_anew(caplog: pytest.LogCaptureFixture) -> None:
    documents = Documents(MemoryStore())
    link = site(documents)
    async with link as ws:
        ann, bob = Editor(ws, 1), Editor(await link.connect("/yjs/a"), 2)
        ann.text += "stored"
        await until(lambda: str(bob) == "stored")
        await asyncio.sleep(0)
        room = room_of(documents)

        def broken(update: bytes) -> list[bytes]:
            raise BrokenDocument("as after a panic")

        room._content._document = Wrapped(room._content._document, apply=broken)
        ann.text += "!"
        assert await ann.closed() == (4500, "the document is read anew")
        assert await bob.closed() == (4500, "the document is read anew")
        await until(lambda: not documents.names)
        again = Editor(await link.connect("/yjs/a"), 3)
        await until(lambda: str(again) == "stored")
    assert "as after a panic" in caplog.text


class Wrapped:
    """An object of which something is different."""

    def __init__(self, inner: Any, **different: Any) -> None:
        self._inner = inner
        self.__dict__.update(different)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_a_client_that_is_told_too_much_is_closed() -> None:
    documents = Documents(MemoryStore())
    link = site(documents)
    async with link as ws:
        await ws.recv()
        link.client_end.stall()
        (client,) = room_of(documents).clients
        for _ in range(600):
            client.say(bytes(10_000))
            await asyncio.sleep(0)
            if client.subscriber.closed:
                break
        assert client.subscriber.close_code == 1008


async def test_a_large_document_is_read_in_pieces() -> None:
    store = Broken("")
    store.kept = [structs(7, 3000, b"\x05\x03123"), structs(8, 1, b"\x04\x01x")]
    documents = Documents(store)
    documents_clock = slow_clock()
    async with site(documents) as ws:
        ann = Editor(ws, 1)
        await until(lambda: ann.is_synced)
        content = room_of(documents)._content
        content._clock = lambda: next(documents_clock)
        ws.send_nowait(sync_message(UPDATE, structs(9, 1000, b"\x05\x03123")))
        bob_state = ann.doc.get_state()
        await until(lambda: content.state() != bob_state)
        ws.send_nowait(sync_message(STEP_1, b"\x00"))
        await until(lambda: ann.updates >= 2)
        assert len(content.state()) > len(bob_state)


async def test_who_goes_while_the_document_is_read() -> None:
    store = Broken("")
    reading = asyncio.Event()

    async def slow() -> list[bytes]:
        await reading.wait()
        return []

    store.load = slow  # type: ignore[method-assign]
    documents = Documents(store)
    link = site(documents)
    async with link as ws:
        await until(lambda: documents.names)
        task = asyncio.create_task(documents._enter("a"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        reading.set()
        ann = Editor(ws, 1)
        await until(lambda: ann.is_synced)


async def test_who_comes_while_the_document_is_closed() -> None:
    store = Broken("")
    closing = asyncio.Event()

    async def slow() -> None:
        await closing.wait()

    store.close = slow  # type: ignore[method-assign]
    documents = Documents(store)
    link = site(documents)
    async with link as ws:
        ann = Editor(ws, 1)
        ann.text += "x"
        await until(lambda: ann.is_synced and store.kept)
        await ws.close()
        await until(lambda: documents._open["a"].closing is not None)
        bob = Editor(await link.connect("/yjs/a"), 2)
        await asyncio.sleep(0.01)
        assert not bob.is_synced
        closing.set()
        await until(lambda: str(bob) == "x")


async def test_a_store_with_a_mistake(caplog: pytest.LogCaptureFixture) -> None:
    """An error that is none of a store's is logged, and the document goes on."""
    store = Broken("")

    async def mistake(updates: Any) -> None:
        raise KeyError("mine")

    store.append = mistake  # type: ignore[method-assign]
    async with site(Documents(store)) as ws:
        ann = Editor(ws, 1)
        ann.text += "x"
        await until(lambda: "a document cannot be written" in caplog.text)
        del store.append
        ann.text += "y"
        await until(lambda: len(store.kept) == 2)
