"""Other users, other versions, forks: each has one line in the log, or nothing to do with the bus."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import fastws
from fastws.errors import BrokerUnavailable
from fastws.pubsub.bus.group import Group
from fastws.pubsub.bus.records import MAGIC, MAX_RECORD_BYTES, Kind, encode_record, hello
from tests.cli.helpers import environment
from tests.kit import until
from tests.kit.buses import Member

NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may be somebody else")

MEMBER = """
import asyncio, concurrent.futures.thread, os, sys, logging
logging.basicConfig(format="%(message)s")
import fastws

fastws.Hub
if len(sys.argv) > 2:  # only now: another user may not be allowed to read Python itself
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))

async def main():
    hub = fastws.Hub("h", broker="bus:" + sys.argv[1])
    try:
        await hub.start(5)
    except fastws.BrokerUnavailable as error:
        print("refused:", error, flush=True)
        return
    print("joined", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    print("total", await hub.total("t"), flush=True)
    await hub.close()

asyncio.run(main())
"""


@contextmanager
def member(path: Path, user: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """A member in a process of its own, of another user if need be; a line to its stdin ends it."""
    process = subprocess.Popen(
        [sys.executable, "-c", MEMBER, str(path), *([] if user is None else [str(user)])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )
    try:
        yield process
    finally:
        try:
            process.communicate("\n", timeout=30)
        finally:
            process.kill()
            process.wait()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach, as those of pytest are not."""
    with TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@root_only
def test_another_user_is_refused_whichever_of_both_connects(
    public: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = public / "bus"

    async def from_outside() -> None:
        with pytest.raises(BrokerUnavailable, match=f"belongs to user {NOBODY}, not to 0"):
            await Group(str(path)).start(5)
        [address] = path.glob("*.sock")
        with socket.socket(socket.AF_UNIX) as sock:  # root may connect wherever it likes
            sock.settimeout(0)
            await asyncio.get_running_loop().sock_connect(sock, str(address))
            assert await asyncio.get_running_loop().sock_recv(sock, 100) == b""

    with member(path, NOBODY) as theirs:
        assert line(theirs) == "joined"
        asyncio.run(from_outside())
        assert line(theirs).endswith(f"process {os.getpid()} of user 0 is refused")
    path = public / "ours"

    async def from_inside() -> None:
        """A listener of somebody else stands in our directory."""
        path.mkdir(mode=0o700)
        address = path / f"{7:016x}.sock"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(address))
            os.seteuid(NOBODY)
            sock.listen()  # the kernel keeps who that was
            os.seteuid(0)
            group = Group(str(path))
            await group.start(5)
            assert not group.bus.peers
            await group.close()

    asyncio.run(from_inside())
    assert f"of user {NOBODY} is refused" in caplog.text


@root_only
def test_a_path_that_belongs_to_somebody_else(public: Path) -> None:
    path = public / "bus"
    path.mkdir(mode=0o700)
    with member(path, NOBODY) as theirs:
        assert line(theirs) == f"refused: bus:{path} belongs to user 0, not to {NOBODY}"


def test_two_processes_of_one_user(tmp_path: Path) -> None:
    path = tmp_path / "bus"

    async def main() -> None:
        async with fastws.Hub("h", broker=f"bus:{path}") as hub:
            assert await hub.total("t") == 0

    with member(path) as other:
        assert line(other) == "joined"
        asyncio.run(main())


BAD = {
    "rubbish": (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", "the first record is no hello"),
    "version": (encode_record(Kind.HELLO, 1, MAGIC, 0, 1), "it speaks version 1 of the bus, this process"),
    "size": (
        hello(9) + (MAX_RECORD_BYTES + 1).to_bytes(4, "little") + bytes(20),
        "a record of 67108865 bytes",
    ),
    "torn": (hello(9) + encode_record(Kind.RUN, 0, b"h\0t", 1, 1, b"\x81\x01x")[:-1], "within a record"),
    "frames": (hello(9) + encode_record(Kind.RUN, 0, b"h\0t", 1, 1, b"\x81\x09x"), "within a message"),
    "huge frame": (hello(9) + encode_record(Kind.RUN, 0, b"h\0t", 1, 1, b"\x81\x7f" + b"\xff" * 8), "within"),
    "not as many": (hello(9) + encode_record(Kind.RUN, 0, b"h\0t", 2, 1, b"\x81\x01x"), "2 messages with 1"),
    "numbers": (
        hello(9) + encode_record(Kind.STATE, 0, b"h\0t", 0, 5) + encode_record(Kind.STATE, 0, b"h\0t", 0, 4),
        "its numbers went back from 5 to 4",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_member_that_sends_what_is_no_record_is_one_line_and_the_others_go_on(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent, words = BAD[name]
    path = tmp_path / "bus"
    one, two = Group(str(path)), Group(str(path))
    first, second = Member(one.bus, "h"), Member(two.bus, "h")
    await one.start(5)
    await two.start(5)
    listener, ours = second.listener("t"), first.listener("t")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path / f"{one.bus.identity:016x}.sock"))
        await until(lambda: len(one.bus.peers) == 2)
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        await until(lambda: len(one.bus.peers) == 1)
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(lines) == 1 and words in lines[0] and "is dropped" in lines[0]
    first.hub.publish("t", "on")
    await until(lambda: listener.take() == ["on"])
    assert ours.take() == ["on"]
    for group in (one, two):
        await group.close()


async def test_what_came_before_a_bad_record_is_delivered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    group = Group(str(tmp_path / "bus"))
    member = Member(group.bus, "h")
    listener = member.listener("t")
    await group.start(5)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(tmp_path / "bus" / f"{group.bus.identity:016x}.sock"))
        sock.sendall(hello(9) + encode_record(Kind.RUN, 0, b"h\0t", 1, 1, b"\x81\x01x") + bytes(30))
        await until(lambda: listener.take() == ["x"])
        await until(lambda: not group.bus.peers)
    assert "is dropped" in caplog.text
    await group.close()


async def test_one_that_is_connected_already_is_not_heard_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    group = Group(str(tmp_path / "bus"))
    await group.start(5)
    address = str(tmp_path / "bus" / f"{group.bus.identity:016x}.sock")
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as again:
        for each in (sock, again):
            each.connect(address)
            each.sendall(hello(9))
        await until(lambda: "connected already" in caplog.text)
        assert len(group.bus.peers) == 1
    await group.close()


def open_sockets() -> set[str]:
    """Return the numbers of the kernel for the sockets of this process."""
    names = set()
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            names.add(os.readlink(f"/proc/self/fd/{fd}"))
    return {name for name in names if name.startswith("socket:")}


def test_a_fork_shares_no_socket_with_its_parent(tmp_path: Path) -> None:
    """A hub that has joined, a fork, and both publish: each message is heard once."""
    path = tmp_path / "bus"
    hub = fastws.Hub("h", broker=f"bus:{path}")
    other = Group(str(path))
    heard: list[str] = []

    def child(pipe: int) -> None:
        os.write(pipe, b"%d\n" % len(open_sockets() & joined))

        async def speak() -> None:
            async with hub:
                hub.publish("t", "child")

        asyncio.run(speak())

    async def main() -> None:
        member = Member(other.bus, "h")
        listener = member.listener("t")
        await other.start(5)
        await hub.start()
        hub.publish("t", "before")  # in the turn of the fork: the parent's to send
        joined.update(open_sockets())
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            signal.alarm(30)
            try:
                asyncio._set_running_loop(None)
                child(writing)
                code = 0
            finally:
                os._exit(code)
        await until(lambda: heard.extend(listener.take()) or "child" in heard)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        hub.publish("t", "after")
        await until(lambda: heard.extend(listener.take()) or "after" in heard)
        assert os.waitstatus_to_exitcode(status) == 0
        # Not the hub's listener, and not its socket to the other member, which is none of the registry.
        inherited = int(os.read(reading, 10))
        assert inherited == len(joined) - 2
        os.close(reading)
        os.close(writing)
        await hub.close()
        await other.close()

    joined: set[str] = set()
    asyncio.run(main())
    assert heard == ["before", "child", "after"]
    assert [each.name for each in path.iterdir()] == ["lock"]


def test_a_hub_made_before_a_fork_is_joined_by_each_process_alone(tmp_path: Path) -> None:
    """As gunicorn --preload does."""
    path = tmp_path / "bus"
    hub = fastws.Hub("h", broker=f"bus:{path}")
    joined, go = os.pipe(), os.pipe()

    async def child() -> None:
        await hub.start()
        os.write(joined[1], b"j")
        assert await asyncio.to_thread(os.read, go[0], 1) == b"g"
        await hub.close()

    pids = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            code = 1
            signal.alarm(30)
            try:
                asyncio.run(child())
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    assert os.read(joined[0], 1) + os.read(joined[0], 1) == b"jj"
    assert len(list(path.glob("*.sock"))) == 2
    os.write(go[1], b"gg")
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
    assert [each.name for each in path.iterdir()] == ["lock"]
    for fd in (*joined, *go):
        os.close(fd)
