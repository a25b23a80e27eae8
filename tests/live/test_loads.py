"""What the server must bear: everybody at once, somebody who does not read, and the end of it all.

The servers here run without the tracer of coverage, and the figures hold on two shared cores.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
import pytest_asyncio

from tests.cli.helpers import environment
from tests.kit.process import MIB, sampled_rss
from tests.live.crowd import Crowd, Member
from tests.live.raw import BINARY, CLOSE, TEXT, Peer, close_frame, frame
from tests.live.servers import Servers, Site, child_environment

pytestmark = pytest.mark.live

CROWD = 400
#: Loops, and how many seconds clients have after a signal: the built-in ones, and fewer.
LOOPS = {"uvloop": 10.0, "asyncio": 3.0}


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    name: str = request.param
    return name


@pytest.fixture
def site(loop: str, servers: Servers) -> Iterator[Site]:
    with servers.start(f"--timeout-graceful-shutdown={LOOPS[loop]}", loop=loop, traced=False) as site:
        yield site


@pytest_asyncio.fixture
async def crowd(site: Site) -> AsyncIterator[Crowd]:
    crowd = Crowd(site)
    yield crowd
    await crowd.leave()


# -- everybody at once --------------------------------------------------------------------------


async def test_400_speak_at_the_same_moment_and_all_hear_all(site: Site, crowd: Crowd) -> None:
    members = await crowd.join("/broadcast", CROWD)
    size = CROWD * (2 + 64)
    for turn in range(8):
        said = [f"round {turn} client {number} ".ljust(64, ".").encode() for number in range(CROWD)]
        for member, payload in zip(members, said, strict=True):
            member.transport.write(frame(BINARY, payload))
        async with asyncio.timeout(10):
            heard = await asyncio.gather(*[member.take(size) for member in members])
        expected = {b"\x82\x40" + payload for payload in said}
        for data in heard:
            assert {data[start : start + 66] for start in range(0, size, 66)} == expected
    assert not any(member.ended.done() for member in members)
    assert "1008" not in site.log()


# -- somebody who does not read -----------------------------------------------------------------

MESSAGES = 100_000
#: Messages of the speaker that are not heard yet by everybody who listens: about half of what the
#: sockets hold, so that nobody but who does not read is slow.
AHEAD = 8_000


def line(number: int) -> bytes:
    """A chat message of 256 bytes."""
    return f"{number:08}".encode() * 32


class Listener:
    """Compares what a member hears with what was said, however it was merged."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.heard = 0

    def listen(self) -> list[int]:
        """Take what has come; return the codes of close frames."""
        codes = []
        for each in self.member.take_frames():
            if each.opcode == CLOSE:
                codes.append(each.code)
                continue
            assert each.opcode == TEXT
            count = (len(each.payload) + 1) // 257
            assert each.payload == b"\n".join(map(line, range(self.heard, self.heard + count)))
            self.heard += count
        return codes


async def flood(speaker: Member, listeners: list[Listener], progress: Callable[[], None]) -> None:
    """Say all messages; the slowest of those who listen sets the pace."""
    said = heard = 0
    while heard < MESSAGES:
        if said < MESSAGES and said - heard < AHEAD:
            speaker.transport.write(b"".join(frame(TEXT, line(number)) for number in range(said, said + 200)))
            said += 200
        await asyncio.sleep(0)
        assert [code for listener in listeners for code in listener.listen()] == []
        heard = min(listener.heard for listener in listeners)
        progress()


@pytest.mark.slow
async def test_a_chat_client_that_stops_reading_is_evicted_and_nobody_else_notices(
    site: Site, crowd: Crowd
) -> None:
    listeners = [Listener(member) for member in await crowd.join("/ws", 5)]
    (slow,) = await crowd.join("/ws", 1)
    slow.transport.pause_reading()
    is_evicted = False

    def look() -> None:
        """The slow one reads on as soon as it is evicted."""
        nonlocal is_evicted
        if not is_evicted and 'closed 1008 "too slow"' in site.child.stdout():
            is_evicted = True
            slow.transport.resume_reading()

    with sampled_rss(site.pid) as watched:
        async with asyncio.timeout(50):
            await flood(listeners[0].member, listeners, look)
    # Who takes nothing after the eviction is cut, which tests/live/test_chat.py looks at.
    assert is_evicted
    assert max(watched.samples, default=0) - watched.rss_before < 20 * MIB
    assert watched.rss_grown < 20 * MIB

    async with asyncio.timeout(5):
        await slow.ended
    listener = Listener(slow)
    assert listener.listen() == [1008]
    assert 0 < listener.heard < MESSAGES


# -- the end of it all --------------------------------------------------------------------------


@pytest.fixture
def deaf(site: Site) -> Iterator[None]:
    """5 clients that have asked for more than they will ever read."""
    message = frame(BINARY, bytes(512 * 1024))
    with ExitStack() as peers:
        for _ in range(5):
            peer = peers.enter_context(Peer(site.port)).upgrade("/echo")
            peer.sock.settimeout(0.2)
            with suppress(TimeoutError):
                while True:
                    peer.sock.sendall(message)
        yield


async def full_house(crowd: Crowd) -> list[Member]:
    """195 clients that read."""
    places = {"/broadcast": 150, "/ws": 30, "/echo": 15}
    return [member for path, count in places.items() for member in await crowd.join(path, count)]


def answer(member: Member) -> None:
    """Do a client's part of the close: the server's frame is answered, then TCP ends."""
    member.transport.write(close_frame(1001))


@pytest.mark.slow
async def test_sigterm_closes_200_clients_of_whom_5_do_not_read(
    site: Site, crowd: Crowd, deaf: None, loop: str
) -> None:
    members = await full_house(crowd)
    # What was said before is still heard.
    for number in range(10):
        members[0].transport.write(frame(TEXT, f"last words {number}".encode()))
    await members[0].take(10 * 14)
    site.child.process.send_signal(signal.SIGTERM)
    words = b"".join(b"\x81\x0clast words %d" % number for number in range(10))
    goodbye = b"\x88\x0c\x03\xe9going away"
    async with asyncio.timeout(20):
        for number, member in enumerate(members):
            if 0 < number < 150:
                assert await member.take(len(words)) == words
            assert await member.take(len(goodbye)) == goodbye
            answer(member)
        await asyncio.gather(*[member.ended for member in members])
    with pytest.raises(OSError):
        Peer(site.port)
    assert await asyncio.to_thread(site.child.process.wait, 30) == 0


async def test_a_second_signal_does_not_wait_for_them(site: Site, crowd: Crowd, deaf: None) -> None:
    await full_house(crowd)
    site.child.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.3)
    site.child.process.send_signal(signal.SIGINT)
    # A graceful end would be 0.
    assert await asyncio.to_thread(site.child.process.wait, 30) == 128 + signal.SIGINT


# -- a log that nobody reads --------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_log_that_nobody_reads_stops_nobody(stream: str) -> None:
    """A pipe holds 64 KiB; a server that waits for its reader would stand still."""
    source, sink = os.pipe()
    args = [sys.executable, "-m", "fastws", "serve", "--port", "0", "--log-level", "debug"]
    with child_environment(traced=False):
        process = subprocess.Popen(
            args,
            stdout=sink if stream == "stdout" else subprocess.DEVNULL,
            stderr=sink if stream == "stderr" else subprocess.PIPE,
            env=environment(),
        )
    os.close(sink)
    try:
        begin = source if process.stderr is None else process.stderr.fileno()
        port = int(os.read(begin, 4096).split()[2].rpartition(b":")[2])
        with Peer(port).upgrade("/echo") as echo, Peer(port) as plain:
            # A server that waited for the reader would stand still for ever.
            for number in range(1500):
                echo.send(frame(TEXT, f"{number} ".encode() * 20))
                assert echo.frame().payload.startswith(str(number).encode())
                plain.send(b"GET /nowhere/%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 100))
                assert plain.response()[0].startswith(b"HTTP/1.1 404 ")
            # Somebody reads at last, and is told what is missing.
            assert len(os.read(source, 1 << 20)) > 32 * 1024
            echo.send(frame(TEXT, b"heard"))
            plain.send(b"GET /heard HTTP/1.1\r\nHost: x\r\n\r\n")
            plain.response()
            rest = os.read(source, 1 << 20)
            assert b" lines of the log could not be written\n" in rest and b"heard" in rest
        process.terminate()
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()
        os.close(source)
        if process.stderr is not None:
            process.stderr.close()
