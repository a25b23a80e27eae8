"""The chat room, by clients that were not written here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from fastws.apps import chat
from tests.kit import until
from tests.kit.process import open_files, settled_files
from tests.live.foreign import Closed, Foreign, ForeignPeer, ending
from tests.live.raw import CLOSE, TEXT, close_frame, frame
from tests.live.servers import Servers, Site

pytestmark = [pytest.mark.live, pytest.mark.foreign]


# -- who says what to whom


async def hear(peer: ForeignPeer, count: int) -> list[str]:
    """Read until ``count`` lines were said."""
    lines: list[str] = []
    while len(lines) < count:
        message = await peer.receive()
        assert isinstance(message, str)
        lines += message.split("\n")
    return lines


def test_the_constants_of_the_chat() -> None:
    assert chat.LIMITS == {"max_message_size": 512, "send_queue": 256}
    times = chat.TIMEOUTS
    assert (times["write"], times["ping_interval"]) == (10, 54)
    assert times["ping_interval"] + times["ping_timeout"] == 60


SAYINGS: list[tuple[str | bytes, str]] = [
    ("hello", "hello"),
    (b"binary", "binary"),
    ("two\nlines\n\nand a gap", "two lines  and a gap"),
    (" \t\r\n ends \n\v\f ", "ends"),
    ("弹幕\n".encode(), "弹幕"),
    ("\n \n", ""),
    ("", ""),
    ("<b>&amp;</b>", "<b>&amp;</b>"),
]


async def test_what_is_said_is_trimmed_and_goes_out_as_text(client: Foreign, site: Site) -> None:
    speaker = await client.connect(site, "/ws")
    listener = await client.connect(site, "/ws")
    for said, heard in SAYINGS:
        await speaker.send(said)
        assert [await speaker.receive(), await listener.receive()] == [heard, heard]


async def test_binary_that_is_no_text_is_refused(client: Foreign, site: Site) -> None:
    speaker = await client.connect(site, "/ws")
    listener = await client.connect(site, "/ws")
    await speaker.send(b"caf\xe9")
    assert (await ending(speaker)).code == 1007
    await listener.send("next")
    assert await listener.receive() == "next"


async def test_512_bytes_pass_and_513_do_not(client: Foreign, site: Site) -> None:
    listener = await client.connect(site, "/ws")
    for fits, too_much in ((["é" * 256], ["é" * 256 + "x"]), (["x" * 500, "y" * 12], ["x" * 500, "y" * 13])):
        speaker = await client.connect(site, "/ws")
        await speaker.send_fragments(fits)
        assert [await speaker.receive(), await listener.receive()] == ["".join(fits)] * 2
        await speaker.send_fragments(too_much)
        assert (await ending(speaker)).code == 1009
    await listener.send("still here")
    assert await listener.receive() == "still here"


async def test_everybody_hears_everybody_in_one_order(client: Foreign, site: Site) -> None:
    peers = [await client.connect(site, "/ws") for _ in range(4)]

    async def speak(number: int, peer: ForeignPeer) -> None:
        for count in range(50):
            await peer.send(f"{number}: {count}")

    heard = asyncio.gather(*[hear(peer, 200) for peer in peers])
    await asyncio.gather(*[speak(number, peer) for number, peer in enumerate(peers)])
    first, *others = await heard
    assert all(each == first for each in others)
    for number in range(4):
        assert [line for line in first if line.startswith(f"{number}:")] == [
            f"{number}: {count}" for count in range(50)
        ]


async def test_what_waits_together_is_one_message(client: Foreign, site: Site) -> None:
    speaker = await client.connect(site, "/ws")
    listener = await client.connect(site, "/ws")
    speaker.write_raw(b"".join(frame(TEXT, f"line {number}".encode()) for number in range(5)))
    assert await listener.receive() == "line 0\nline 1\nline 2\nline 3\nline 4"
    assert await speaker.receive() == "line 0\nline 1\nline 2\nline 3\nline 4"
    for number in range(3):
        await speaker.send(f"alone {number}")
        assert await listener.receive() == f"alone {number}"


async def test_the_room_goes_on(client: Foreign, site: Site) -> None:
    stays = await client.connect(site, "/ws")
    for leave in ("close", "abort", "both"):
        leaves = await client.connect(site, "/ws")
        await leaves.send(f"going by {leave}")
        assert await stays.receive() == f"going by {leave}"
        if leave != "abort":
            leaves.write_raw(close_frame(1000))
        if leave != "close":
            leaves.abort()
        await ending(leaves)
        for line in ("one", "two"):
            await stays.send(line)
            assert await stays.receive() == line


# -- slow, silent and gone


@contextlib.asynccontextmanager
async def listening(peer: ForeignPeer) -> AsyncIterator[asyncio.Task[Closed]]:
    """Let the client read on: some answer pings only while they do. The task's result is the end."""
    task = asyncio.create_task(ending(peer))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def burst(start: int, count: int = 200) -> bytes:
    """Numbered chat messages of 500 bytes, as one write."""
    return b"".join(frame(TEXT, f"{start + index:08}".encode() * 62) for index in range(count))


async def test_who_does_not_read_is_evicted(fresh: Site, client: Foreign) -> None:
    slow = await client.connect(fresh, "/ws")
    speaker = await client.connect(fresh, "/ws")
    listener = await client.connect(fresh, "/ws")
    slow.pause()
    said = 0
    # Sockets take some megabytes before they refuse any; the listener sets the pace.
    while "1008" not in fresh.child.stdout() and said < 60_000:
        speaker.write_raw(burst(said))
        heard = await asyncio.gather(hear(listener, 200), hear(speaker, 200))
        numbers = [int(line[:8]) for line in heard[0]]
        assert numbers == list(range(said, said + 200))
        said += 200
    slow.resume()
    got: list[str] = []
    with pytest.raises(Closed) as closed:
        while True:
            got += await hear(slow, 1)
    assert (closed.value.code, bool(closed.value.reason)) == (1008, True)
    # What had left before is whole and in order; what waited was thrown away.
    assert [int(line[:8]) for line in got] == list(range(len(got)))
    assert len(got) <= said - 200
    await speaker.send("goes on")
    assert await listener.receive() == "goes on"


async def test_who_takes_nothing_is_gone_after_the_write_wait(client: Foreign, servers: Servers) -> None:
    """The speaker is alone in the room: the server stops reading from it, and evicts nobody."""
    site = servers.get(app="tests.live.apps:impatient")
    before = await settled_files(site.pid)
    speaker = await client.connect(site, "/ws")
    speaker.pause()
    speaker.write_raw(burst(0, 40_000))
    await until(lambda: open_files(site.pid) == before)
    speaker.resume()
    assert (await ending(speaker)).code == 1006


async def test_who_answers_pings_stays(client: Foreign, servers: Servers) -> None:
    site = servers.get(app="tests.live.apps:quick_pings")
    peer = await client.connect(site, "/ws")
    async with listening(peer) as ended:
        await asyncio.sleep(2)
        assert not ended.done()


# Not websockets, which answers every ping.
@pytest.mark.parametrize("client", ["aiohttp", "ws"], indirect=True)
async def test_who_does_not_answer_pings_is_gone(client: Foreign, servers: Servers) -> None:
    site = servers.get(app="tests.live.apps:quick_pings")
    peer = await client.connect(site, "/ws", pongs=False)
    assert (await ending(peer)).code == 1006
    assert 'closed 1006 "ping timeout" by server' in site.child.stdout()


async def test_which_closes_are_errors_in_the_log(fresh: Site, client: Foreign) -> None:
    for code in (1000, 1001):
        (await client.connect(fresh, "/ws")).write_raw(close_frame(code))
    (await client.connect(fresh, "/ws")).write_raw(frame(CLOSE))
    (await client.connect(fresh, "/ws")).abort()
    for code in (1000, 1001, 1005, 1006):
        await fresh.logged(f"closed {code}")
    assert "chat:" not in fresh.child.stderr()
    for data, said in (
        (close_frame(1011, b"my fault\n"), "closed with 1011 my fault\\n"),
        (frame(TEXT, b"x" * 513), "closed with 1009"),
    ):
        peer = await client.connect(fresh, "/ws")
        peer.write_raw(data)
        await ending(peer)
        await fresh.logged(said)
