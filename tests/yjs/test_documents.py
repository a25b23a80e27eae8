"""Editors share documents: what they type, who they are, who may, and within which limits."""

from __future__ import annotations

from typing import Any

import pytest

import fastws
from fastws.testing import Clock
from fastws.yjs import DocumentLimits, Documents, MemoryStore
from fastws.yjs.document import EMPTY_UPDATE
from fastws.yjs.protocol import STEP_1, STEP_2, UPDATE, Entry, awareness_message, sync_message
from tests.kit import until
from tests.yjs.editors import Editor, site, slow_clock, structs


async def test_two_editors_converge() -> None:
    link = site()
    async with link as ws:
        ann, bob = Editor(ws, 1), Editor(await link.connect("/yjs/a"), 2)
        ann.text += "hello"
        await until(lambda: str(bob) == "hello")
        bob.text.insert(5, " world")
        ann.text.insert(0, "> ")
        await until(lambda: str(ann) == str(bob) == "> hello world")
        assert (ann.is_synced, bob.is_synced) == (True, True)


async def test_one_document_is_not_the_other() -> None:
    link = site()
    async with link as ws:
        ann, bob = Editor(ws, 1), Editor(await link.connect("/yjs/b"), 2)
        ann.text += "mine"
        late = Editor(await link.connect("/yjs/a"), 3)
        await until(lambda: str(late) == "mine")
        assert str(bob) == ""


async def test_who_was_offline_brings_what_it_has() -> None:
    link = site()
    async with link as ws:
        ann, bob = Editor(ws, 1), Editor(await link.connect("/yjs/a"), 2)
        bob.text += "before "
        await until(lambda: str(ann) == "before ")
        await bob.ws.close()
        ann.text += "meanwhile"
        with bob.doc.transaction():
            bob.ws = await link.connect("/yjs/a")
        again = Editor(await link.connect("/yjs/a"), 3)
        again.doc.apply_update(bob.doc.get_update())
        again.text.insert(0, "offline ")
        await until(lambda: str(ann) == str(again) == "offline before meanwhile")


async def test_the_sender_is_not_told() -> None:
    link = site()
    async with link as ws:
        ann, bob = Editor(ws, 1), Editor(await link.connect("/yjs/a"), 2)
        await until(lambda: ann.updates and bob.updates)  # the answers to their first questions
        ann.text += "x"
        await until(lambda: bob.updates == 2)
        assert ann.updates == 1


async def test_a_document_leaves_memory_and_is_kept() -> None:
    documents = Documents(MemoryStore())
    link = site(documents)
    async with link as ws:
        ann = Editor(ws, 1)
        ann.text += "kept"
        await until(lambda: ann.is_synced)
        assert documents.names == ["a"]
        await ann.ws.close()
        await until(lambda: documents.names == [])
        bob = Editor(await link.connect("/yjs/a"), 2)
        await until(lambda: str(bob) == "kept")


async def test_who_is_here() -> None:
    link = site()
    async with link as ws:
        ann, bob = Editor(ws, 1), Editor(await link.connect("/yjs/a"), 2)
        ann.say({"name": "Ann"})
        bob.say({"name": "Bob"})
        everybody = {1: {"name": "Ann"}, 2: {"name": "Bob"}}
        await until(lambda: ann.states == bob.states == everybody)
        late = Editor(await link.connect("/yjs/a"), 3)
        await until(lambda: late.states == everybody)
        late.states.clear()
        late.ask()
        await until(lambda: late.states == everybody)
        await bob.ws.close()
        await until(lambda: ann.states == late.states == {1: {"name": "Ann"}})
        back = Editor(await link.connect("/yjs/a"), 2)
        back.ws.send_nowait(awareness_message([Entry(2, 1, b'"again"')]))
        await until(lambda: back.told)  # that it was gone


async def test_moves_are_conflated() -> None:
    """Of 20 a second from each, everybody is told ten messages a second with the last of all."""
    clock = Clock()
    link = site(clock=clock)
    async with link as ws:
        editors = [Editor(ws, 1)] + [Editor(await link.connect("/yjs/a"), 2 + n) for n in range(9)]
        await until(lambda: all(each.is_synced for each in editors))
        for step in range(40):
            for each in editors:
                each.say(step)
            await clock.advance(0.05)
        await clock.advance(0.15)
        for each in editors:
            assert each.states == {client: 39 for client in range(1, 11)}
            assert 18 <= each.told <= 22


async def test_who_does_not_read_is_told_the_last_of_each() -> None:
    clock = Clock()
    link = site(clock=clock)
    async with link as ws:
        ann, slow = Editor(ws, 1), Editor(await link.connect("/yjs/a"), 2)
        gone = Editor(await link.connect("/yjs/a"), 3)
        gone.say("gone")
        await until(lambda: slow.states == {3: "gone"})
        client, _ = link.ends(1)
        client.stall()
        for step in range(60):
            ann.say({"step": step, "padding": "x" * 3000})
            await clock.advance(0.1)
            if step == 50:
                await gone.ws.close()
        told = slow.told
        client.read()
        await until(lambda: slow.states.get(1, {}).get("step") == 59)
        assert list(slow.states) == [1]
        assert slow.told < told + 10
        ann.say("on")
        await clock.advance(0.2)
        assert slow.states == {1: "on"}
        assert not slow.ws.closed


async def test_nobody_is_silent_for_long() -> None:
    """y-websocket connects again after 30 s without a message, and does not see pings."""
    clock = Clock()
    async with site(clock=clock) as ws:
        ann = Editor(ws, 1)
        await until(lambda: ann.is_synced)
        await clock.advance(121)
        assert ann.silences == 6
        assert not ws.closed


BAD: dict[str, str | bytes] = {
    "text": "hello",
    "empty": b"",
    "a kind that is none": b"\x09",
    "a step that is none": sync_message(3, b""),
    "cut short": b"\x00\x02\x05ab",
    "something behind": sync_message(STEP_1, b"\x00") + b"!",
    "no update": sync_message(UPDATE, b"\x1b"),
    "an answer behind what is known": sync_message(STEP_2, structs(9, 2, b"\x04\x01x", clock=7)),
    "a state vector of many": sync_message(STEP_1, bytes.fromhex("fe80ff3c")),
    "no large update": sync_message(UPDATE, b"\x01" * 100),
    "no state vector": sync_message(STEP_1, b"\x05\x01"),
    "awareness that is none": b"\x01\x02\x01\x01",
    "awareness of no JSON": awareness_message([Entry(1, 1, b"{")]),
}


@pytest.mark.parametrize("what", BAD)
async def test_who_breaks_the_protocol_is_closed_for_good(what: str) -> None:
    link = site()
    async with link as ws:
        ann = Editor(ws, 1)
        ann.text += "unharmed"
        bad = await link.connect("/yjs/a")
        bad.send_nowait(BAD[what])
        await bad.wait_closed()
        assert bad.close_code == 4400
        assert bad.close_reason
        bob = Editor(await link.connect("/yjs/a"), 2)
        await until(lambda: str(bob) == "unharmed")
        bob.text.insert(0, "still ")
        await until(lambda: str(ann) == str(bob) == "still unharmed")


async def test_who_comes_back_and_goes_on_is_asked_for_what_was_lost() -> None:
    """A worker was killed that knew more: what is said before the answer begins behind what is known."""
    early = sync_message(UPDATE, structs(9, 2, b"\x04\x01x", clock=7))
    link = site()
    async with link as ws:
        asked = await ws.recv()
        ws.send_nowait(early)
        ws.send_nowait(sync_message(STEP_2, EMPTY_UPDATE))
        ws.send_nowait(early)
        ws.send_nowait(early)
        ws.send_nowait(sync_message(STEP_1, b"\x00"))
        assert await ws.recv() == asked  # once, though it was early twice
        assert await ws.recv() == sync_message(STEP_2, EMPTY_UPDATE)
        assert not ws.closed


#: Below this text of client 5 these cannot be: a map in the middle of a word.
HELLO = "01010500040101740568656c6c6f00"
FAILS = {
    "parent": "010205082701016d01620008000500047c3f8000007701787e75027c3f8000007c4000000000",
    "parent that waits": "010a050004010174016881050001840501036c6c6fc10501050202c40505050201592801016d01"
    "61017c3f8000002701016d01620008000508047c3f8000007701787e75027c3f8000007c40000000050001620474727565c6050605020162046e756c6c"
    "01050201010501",
}


@pytest.mark.parametrize("what", FAILS)
async def test_what_pycrdt_fails_at_harms_nobody(what: str) -> None:
    link = site()
    async with link as ws:
        ann, bad = Editor(ws, 1), await link.connect("/yjs/a")
        ann.text += "unharmed"
        bad.send_nowait(sync_message(UPDATE, bytes.fromhex(HELLO)))
        bad.send_nowait(sync_message(STEP_2, bytes.fromhex(FAILS[what])))
        await bad.wait_closed()
        assert bad.close_code == 4400
        bob = Editor(await link.connect("/yjs/a"), 2)
        await until(lambda: str(bob) == "unharmed")
        bob.text.insert(0, "still ")
        await until(lambda: str(ann) == "still unharmed")


class TestWhoMay:
    @staticmethod
    def may(request: fastws.Request, document: str) -> Any:
        return {"read": "read", "write": True, "neither": False, "nonsense": "write"}[request.query]

    async def test_read(self) -> None:
        documents = Documents(MemoryStore(), authorize=self.may)
        link = site(documents, "/yjs/a?write")
        async with link as ws:
            ann, bob = Editor(ws, 1), Editor(await link.connect("/yjs/a?read"), 2)
            ann.text += "look"
            await until(lambda: str(bob) == "look")
            bob.say("here")
            await until(lambda: ann.states == {2: "here"})
            bob.ws.send_nowait(sync_message(STEP_2, structs(9, 1, b"\x04\x01x")))
            bob.text += "!"
            assert await bob.closed() == (4403, "this client may only read")
            assert str(ann) == "look"

    @pytest.mark.parametrize("answer", ["neither", "nonsense"])
    async def test_not(self, answer: str) -> None:
        async with site(Documents(MemoryStore(), authorize=self.may), f"/yjs/a?{answer}") as ws:
            await ws.wait_closed()
            assert ws.close_code == 4403

    async def test_a_hook_that_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        async def broken(request: fastws.Request, document: str) -> bool:
            raise OSError("no database")

        async with site(Documents(MemoryStore(), authorize=broken)) as ws:
            await ws.wait_closed()
            assert ws.close_code == 4500
        assert "no database" in caplog.text

    async def test_a_hook_that_says_why(self) -> None:
        def paid(request: fastws.Request, document: str) -> bool:
            raise fastws.FeedError("forbidden", "not paid")

        async with site(Documents(MemoryStore(), authorize=paid)) as ws:
            await ws.wait_closed()
            assert (ws.close_code, ws.close_reason) == (4403, "not paid")


class TestLimits:
    async def test_documents(self) -> None:
        link = site(Documents(MemoryStore(), limits={"max_open": 1}))
        async with link as ws:
            other = await link.connect("/yjs/b")
            await other.wait_closed()
            assert other.close_code == 4503
            assert not ws.closed

    async def test_documents_of_one_address(self) -> None:
        documents = Documents(MemoryStore(), limits={"max_open_by_address": 2})
        link = site(documents)
        async with link as ws:
            await ws.recv()
            second, same = await link.connect("/yjs/b"), await link.connect("/yjs/b")
            await same.recv()
            third = await link.connect("/yjs/c")
            await third.wait_closed()
            assert (third.close_code, third.close_reason) == (
                4503,
                "too many documents are open at your address",
            )
            await second.close()
            fourth = await link.connect("/yjs/c")
            await fourth.wait_closed()
            assert fourth.close_code == 4503
            await same.close()
            await until(lambda: documents.names == ["a"])
            await (await link.connect("/yjs/c")).recv()
        await until(lambda: not documents._addresses)

    async def test_who_has_no_address_is_not_counted(self) -> None:
        documents = Documents(MemoryStore(), limits={"max_open_by_address": 1})
        documents._arrive(None, "a")
        documents._arrive(None, "b")
        documents._depart(None, "a")
        assert documents._addresses == {}

    async def test_clients(self) -> None:
        link = site(Documents(MemoryStore(), limits={"max_clients": 1}))
        async with link as ws:
            await ws.recv()
            other = await link.connect("/yjs/a")
            await other.wait_closed()
            assert other.close_code == 4503
            assert not ws.closed

    async def test_bytes(self) -> None:
        link = site(Documents(MemoryStore(), limits=DocumentLimits(max_document=1000)))
        async with link as ws:
            ann = Editor(ws, 1)
            for _ in range(30):  # as one update it is small
                ann.text += "x" * 20
                del ann.text[0:20]
            await until(lambda: ann.is_synced)
            ann.text += "y" * 600
            bob = Editor(await link.connect("/yjs/a"), 2)
            await until(lambda: "y" * 600 in str(bob))
            bob.text += "z" * 600
            assert (await bob.closed())[0] == 4413
            assert not ws.closed

    async def test_what_is_known_already_does_not_count(self) -> None:
        link = site(Documents(MemoryStore(), limits=DocumentLimits(max_document=1000)))
        async with link as ws:
            ann = Editor(ws, 1)
            ann.text += "y" * 700
            await until(lambda: ann.is_synced)
            for _ in range(3):
                ws.send_nowait(sync_message(STEP_2, ann.doc.get_update()))
            ann.text += "!"
            bob = Editor(await link.connect("/yjs/a"), 2)
            await until(lambda: str(bob).endswith("!"))

    async def test_what_waits(self) -> None:
        """Structs behind one that never comes are in no update: they would be kept for nothing."""
        async with site(Documents(MemoryStore(), limits=DocumentLimits(max_document=10_000))) as ws:
            for client in range(10, 40):
                # In the text behind a letter of client 8.
                one = b"\x01\x01" + bytes((client,)) + b"\x00\x84\x08\x05\x01x\x00"
                ws.send_nowait(sync_message(UPDATE, one))
            await ws.wait_closed()
            assert (ws.close_code, ws.close_reason) == (4413, "too much stands behind what did not come")

    async def test_a_message(self) -> None:
        async with site(Documents(MemoryStore(), limits=DocumentLimits(max_document=1000))) as ws:
            ws.send_nowait(bytes(2000))
            await ws.wait_closed()
            assert ws.close_code == 1009

    @pytest.mark.parametrize("name", ["x" * 201, "%C2%85"])
    async def test_names(self, name: str) -> None:
        async with site(path=f"/yjs/{name}") as ws:
            await ws.wait_closed()
            assert ws.close_code == 4400

    async def test_time(self) -> None:
        """Who takes a second of CPU is not read for four."""
        clock = Clock()
        documents = Documents(MemoryStore())
        ticks = slow_clock()
        documents._clock = lambda: next(ticks)
        link = site(documents, clock=clock)
        async with link as ws:
            ann = Editor(ws, 1)
            await clock.advance(20)
            before = ann.updates
            for _ in range(4):
                ws.send_nowait(sync_message(STEP_1, b"\x00"))
            await clock.advance(3)
            assert ann.updates == before + 1
            await clock.advance(30)
            assert ann.updates == before + 4


async def test_no_document_in_the_path(caplog: pytest.LogCaptureFixture) -> None:
    from fastws.testing import pair

    async with pair(Documents(MemoryStore())) as ws:
        await ws.wait_closed()
        assert ws.close_code == 4500
    assert "{document}" in caplog.text


async def test_without_pycrdt(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pycrdt", None)
    async with site() as ws:
        await ws.wait_closed()
        assert ws.close_code == 4500
    assert "pip install 'fastws-server[yjs]'" in caplog.text


def test_what_documents_take() -> None:
    store: Any = MemoryStore()
    wrong: Any = 1
    with pytest.raises(TypeError, match=r"fastws\.yjs\.Store"):
        Documents(wrong)
    with pytest.raises(TypeError, match=r"fastws\.Hub"):
        Documents(store, hub=wrong)
    with pytest.raises(TypeError, match="authorize="):
        Documents(store, authorize=lambda request: True)  # type: ignore[misc, arg-type]
    with pytest.raises(TypeError, match="max_open"):
        Documents(store, limits={"max_open": wrong * 1.5})
    with pytest.raises(ValueError, match="cpu_percent"):
        Documents(store, limits=DocumentLimits(cpu_percent=101))
