"""What strangers send: nothing of it ends the process, and the document stays what it was."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from fastws.yjs.content import Content
from fastws.yjs.document import Document
from fastws.yjs.protocol import STEP_1, UPDATE, Entry, awareness_message, sync_message
from tests.kit import until
from tests.yjs.editors import Editor, site, structs
from tests.yjs.test_updates import everything


async def test_what_has_crashed_pycrdt() -> None:
    """In this order these four ended the process, as long as pycrdt kept what began behind what it knew."""
    messages = (Path(__file__).parent / "crash.txt").read_text(encoding="ascii").split()
    link = site()
    async with link as ws:
        ann = Editor(ws, 1)
        ann.text += "here"
        for message in messages:
            bad = await link.connect("/yjs/a")
            await bad.send(bytes.fromhex(message))
            await bad.send(b"\x09")
            await bad.wait_closed()
            assert bad.close_code == 4400
        bob = Editor(await link.connect("/yjs/a"), 2)
        await until(lambda: "here" in str(bob))


def mutated(message: bytes, chance: random.Random) -> bytes:
    """A message with one to three bytes changed, taken out or put in."""
    data = bytearray(message)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(2, len(data))
        what = chance.random()
        if what < 0.6:
            data[at] = chance.choice([0, 1, 2, 127, 128, 255, chance.randrange(256)])
        elif what < 0.8:
            del data[at]
        else:
            data.insert(at, chance.randrange(256))
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
async def test_random_updates(seed: int) -> None:
    chance = random.Random(seed)
    updates = [everything().get_update(), structs(7, 60, b"\x04\x01x"), structs(3, 20, b"\x05\x011")]
    told: list[bytes] = []
    content = Content(1_000_000, lambda change, sender: told.append(change))
    for _ in range(400):
        try:
            for _ in content.steps(mutated(chance.choice(updates), chance), None):
                pass
        except ValueError:
            continue
    # What others were told makes the same document.
    other = Document()
    for change in told:
        other.apply(change)
    assert len(other.state()) == len(content.state())


async def test_random_messages() -> None:
    chance = random.Random(1)
    messages = [
        sync_message(UPDATE, structs(7, 20, b"\x04\x01x")),
        sync_message(STEP_1, everything().get_state()),
        awareness_message([Entry(1, 2, b'{"a":1}'), Entry(2, 3, None)]),
    ]
    link = site()
    async with link as ws:
        ann = Editor(ws, 1)
        for _ in range(60):
            bad: Any = await link.connect("/yjs/a")
            await bad.send(mutated(chance.choice(messages), chance))
            await bad.close()
        ann.text += "still here"
        bob = Editor(await link.connect("/yjs/a"), 2)
        await until(lambda: "still here" in str(bob))
