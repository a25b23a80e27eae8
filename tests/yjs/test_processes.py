"""Processes share documents: one writes, all merge, and what was lost between them comes again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws.testing import Clock, pair
from fastws.yjs import Documents, FileStore, MemoryStore, Store
from fastws.yjs.line import CHANGE
from fastws.yjs.protocol import Entry, awareness_content
from tests.kit import until
from tests.kit.buses import Member, members
from tests.yjs.editors import Editor, structs


class Process:
    """One of several, with its documents."""

    def __init__(self, member: Member, store: Store) -> None:
        self.member = member
        self.documents = Documents(store, hub=member.hub)
        self.link: Any = None

    async def editor(self, client: int, document: str = "a") -> Editor:
        return Editor(await self.link.connect(f"/yjs/{document}"), client)

    @property
    def room(self) -> Any:
        return self.documents._open["a"].room


@asynccontextmanager
async def processes(stores: list[Store], clock: Clock | None = None) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        found = []
        for member, store in zip(await stack.enter_async_context(members(len(stores))), stores, strict=True):
            one = Process(member, store)
            route = fastws.Route("/yjs/{document}", one.documents)
            one.link = pair([route, fastws.Route("/none", Idle())], "/none", clock=clock)
            await stack.enter_async_context(one.link)
            found.append(one)
        yield found


class Idle(fastws.Handler):
    """For the first client of a pair, which nobody needs."""


def on_files(folder: Path, count: int = 2) -> list[Store]:
    return [FileStore(folder) for _ in range(count)]


async def test_editors_of_two_processes_converge(tmp_path: Path) -> None:
    async with processes(on_files(tmp_path)) as (one, other):
        ann, bob = await one.editor(1), await other.editor(2)
        await until(lambda: ann.is_synced and bob.is_synced)
        ann.text += "hello"
        await until(lambda: str(bob) == "hello")
        bob.text += " world " + "x" * 100
        await until(lambda: str(ann) == str(bob))
        # Who looks for the lock first has it.
        assert sorted(each.room.is_written_here for each in (one, other)) == [False, True]


async def test_who_opens_later_has_what_is_not_written_yet(tmp_path: Path) -> None:
    async with processes(on_files(tmp_path)) as (one, other):
        ann = await one.editor(1)
        await until(lambda: ann.is_synced)
        one.room._content._writer.add = lambda changes: None  # a disk that is slow
        ann.text += "not on the disk"
        ann.say("Ann")
        await until(lambda: one.room._awareness.present())
        bob = await other.editor(2)
        await until(lambda: str(bob) == "not on the disk" and bob.states == {1: "Ann"})


async def test_who_has_the_lock_leaves(tmp_path: Path) -> None:
    """Another one writes then, all of it: it may have what the first one had not written."""
    clock = Clock()
    async with processes(on_files(tmp_path), clock) as (one, other):
        ann, bob = await one.editor(1), await other.editor(2)
        await until(lambda: ann.is_synced and bob.is_synced)
        ann.text += "both"
        await until(lambda: str(bob) == "both")
        await ann.ws.close()
        await until(lambda: not one.documents.names)
        while not other.room.is_written_here:
            await clock.advance(0.5)
        bob.text += " of us"
        await bob.ws.close()
        await until(lambda: not other.documents.names)
        late = await one.editor(3)
        await until(lambda: str(late) == "both of us")


async def test_awareness_travels(tmp_path: Path) -> None:
    async with processes(on_files(tmp_path)) as (one, other):
        ann, bob = await one.editor(1), await other.editor(2)
        ann.say("Ann")
        bob.say("Bob")
        await until(lambda: ann.states == bob.states == {1: "Ann", 2: "Bob"})
        await bob.ws.close()
        await until(lambda: ann.states == {1: "Ann"})


async def test_messages_between_processes_that_are_lost_come_again(tmp_path: Path) -> None:
    async with processes(on_files(tmp_path)) as (one, other):
        ann, bob = await one.editor(1), await other.editor(2)
        await until(lambda: ann.is_synced and bob.is_synced)
        heard = other.room._content.apply
        other.room._content.apply = lambda update, sender: None  # what comes is lost
        ann.text += "lost"
        await until(lambda: one.room._content.state() != b"\x00")
        bob.ask()
        await until(lambda: bob.told == 0 and bob.silences)
        other.room._content.apply = heard
        assert str(bob) == ""
        other.member.hub._receive_gap("\0document/a", 1, "bus")
        await until(lambda: str(bob) == "lost")


async def test_a_process_that_says_too_much_at_once(tmp_path: Path) -> None:
    async with processes(on_files(tmp_path)) as (one, other):
        ann, bob = await one.editor(1), await other.editor(2)
        await until(lambda: ann.is_synced and bob.is_synced)
        await other.room.line._member._sink._close(1008, "too slow")
        ann.text += "said later"
        await until(lambda: str(bob) == "said later")


async def test_nonsense_of_another_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with processes(on_files(tmp_path)) as (one, other):
        ann, bob = await one.editor(1), await other.editor(2)
        await until(lambda: ann.is_synced and bob.is_synced)
        for content in (b"\x1b", b"\xff" * 100):
            one.room.line.say(CHANGE, content)
        one.room.line.say(b"a", b"\x05")
        await until(lambda: caplog.text.count("another process says what is none") == 3)
        ann.text += "still here"
        await until(lambda: str(bob) == "still here")


async def test_stores_that_are_not_shared() -> None:
    """Each process has documents of its own in memory: they ask each other for what they have."""
    async with processes([MemoryStore(), MemoryStore(), MemoryStore()]) as (one, other, third):
        ann = await one.editor(1)
        ann.text += "kept by one"
        await until(lambda: ann.is_synced)
        await ann.ws.close()
        await until(lambda: not one.documents.names)
        # One has it in its store only; the third has heard of it never.
        cid = await third.editor(3, "b")
        await until(lambda: cid.is_synced)
        bob = await other.editor(2)
        await until(lambda: str(bob) == "kept by one")
        assert bob.is_synced
        dan = await third.editor(4)
        await until(lambda: str(dan) == "kept by one")
        dan.text += "!"
        await until(lambda: str(bob) == "kept by one!")


async def test_two_processes_open_at_the_same_time() -> None:
    """Neither waits for the other one's answer before it answers itself."""
    clock = Clock()
    async with processes([MemoryStore(), MemoryStore()], clock) as (one, other):
        ann, bob = await one.editor(1), await other.editor(2)
        await until(lambda: ann.is_synced and bob.is_synced)


async def test_large_changes_travel_in_pieces(tmp_path: Path) -> None:
    async with processes(on_files(tmp_path)) as (one, other):
        ann, bob = await one.editor(1), await other.editor(2)
        await until(lambda: ann.is_synced and bob.is_synced)
        ann.doc.apply_update(structs(7, 300, b"\x04\x01x"))  # not by this editor: it says nothing
        ann.ws.send_nowait(b"\x00\x02" + _with_length(structs(7, 300, b"\x04\x01x")))
        await until(lambda: str(bob) == "x" * 300)


def _with_length(content: bytes) -> bytes:
    from fastws.yjs.protocol import write_number

    return write_number(len(content)) + content


async def test_who_was_at_a_process_that_died(tmp_path: Path) -> None:
    """Nobody says that its clients have gone: after 30 s they have."""
    clock = Clock()
    async with processes(on_files(tmp_path), clock) as (one, other):
        ann = await one.editor(1)
        bob = await other.editor(2)
        await until(lambda: ann.is_synced and bob.is_synced)
        other.room.line.say(b"a", awareness_content([Entry(9, 1, b'"ghost"')]))
        await until(lambda: 9 in one.room._awareness._entries)
        await clock.advance(0.2)
        assert ann.states == {9: "ghost"}
        await clock.advance(61)
        assert ann.states == {}
