"""Processes that meet in a directory: who gets in, and who does not."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from fastws.errors import BrokerUnavailable
from fastws.pubsub.bus.group import Group
from fastws.pubsub.hub import Hub
from tests.kit import until
from tests.kit.buses import Listener, Member


async def test_members_meet_and_one_leaves(tmp_path: Path) -> None:
    groups = [Group(str(tmp_path / "bus")) for _ in range(3)]
    found = [Member(group.bus) for group in groups]
    await asyncio.gather(*[group.start(5) for group in groups])
    await until(lambda: all(len(group.bus.peers) == 2 for group in groups))
    listeners = [member.listener("t") for member in found]
    found[0].hub.publish("t", "x")
    for listener in listeners:
        texts: list[str] = []
        await until(lambda texts=texts, one=listener: texts.extend(one.take()) or texts)  # type: ignore[misc]
        assert texts == ["x"]
    await groups[2].close()
    await until(lambda: all(len(group.bus.peers) == 1 for group in groups[:2]))
    for group in groups[:2]:
        await group.close()
    assert [path.name for path in (tmp_path / "bus").iterdir()] == ["lock"]


async def test_a_stale_socket_is_removed_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    path.mkdir(mode=0o700)
    stale, theirs, file = path / f"{7:016x}.sock", path / "gunicorn.sock", path / "x.sock"
    for each in (stale, theirs):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(each))
    file.touch()
    async with Hub("stale", broker=f"bus:{path}"):
        assert not stale.exists() and theirs.exists() and file.exists()


async def test_a_first_use_joins_and_nothing_published_before_is_lost(tmp_path: Path) -> None:
    one, two = Group(str(tmp_path / "bus")), Group(str(tmp_path / "bus"))
    first, second = Member(one.bus), Member(two.bus)
    await two.start(5)
    listener = second.listener("t")
    first.hub.publish_threadsafe("t", "0")
    for number in range(1, 4):
        first.hub.publish("t", str(number))
    texts: list[str] = []
    await until(lambda: texts.extend(listener.take()) or len(texts) == 4)
    assert sorted(texts) == ["0", "1", "2", "3"] and texts != ["0"]
    await one.close()
    await two.close()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
async def test_a_directory_that_is_open_to_others(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "bus"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(BrokerUnavailable, match="0700"):
        await Hub("open", broker=f"bus:{path}").start()


async def test_what_is_no_directory_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerUnavailable, match="is no directory"):
        await Group(str(tmp_path / "file")).start(5)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(BrokerUnavailable, match="is no directory"):
        await Group(str(tmp_path / "link")).start(5)
    with pytest.raises(BrokerUnavailable, match="No such file"):
        await Group(str(tmp_path / "a" / "b")).start(5)
    long = tmp_path / ("x" * 100)
    with pytest.raises(BrokerUnavailable, match="too long"):
        await Group(str(long)).start(5)
    if os.geteuid() == 0:
        (tmp_path / "theirs").mkdir(mode=0o700)
        os.chown(tmp_path / "theirs", 1234, 1234)
        with pytest.raises(BrokerUnavailable, match="belongs to user 1234"):
            await Group(str(tmp_path / "theirs")).start(5)


async def test_one_path_in_two_spellings_is_one_bus(tmp_path: Path) -> None:
    one = Hub("a", broker=f"bus:{tmp_path}/bus")
    with pytest.raises(ValueError, match="already"):
        Hub("a", broker=f"bus:{tmp_path}/x/../bus/")
    await one.close()
    async with Hub("a", broker=f"bus:{tmp_path}/bus/") as again:
        assert await again.total("t") == 0


async def test_a_hub_made_on_a_running_loop_joins_before_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    hub = Hub("early", broker=f"bus:{path}")
    await until(lambda: len(list(path.glob("*.sock"))) == 1)
    await hub.close()
    assert list(path.glob("*.sock")) == []


async def test_a_start_waits_for_the_answers_of_those_who_are_there(tmp_path: Path) -> None:
    one, two = Group(str(tmp_path / "bus")), Group(str(tmp_path / "bus"))
    first, second = Member(one.bus), Member(two.bus)
    await one.start(5)
    listener = second.listener("t")  # joins at once
    await two.start(5)
    first.hub.publish("t", "x")
    await until(lambda: listener.take() == ["x"])
    for group in (one, two):
        await group.close()


async def test_who_accepts_nobody_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "bus"
    path.mkdir(mode=0o700)
    address = str(path / f"{5:016x}.sock")
    with socket.socket(socket.AF_UNIX) as stopped, ExitStack() as stack:
        stopped.bind(address)
        stopped.listen(0)
        with suppress(BlockingIOError):
            while True:
                sock = stack.enter_context(socket.socket(socket.AF_UNIX))
                sock.settimeout(0)
                sock.connect(address)
        async with Hub("h", broker=f"bus:{path}"):
            assert "process 5 accepts nobody; it is tried again" in caplog.text


async def test_a_hub_in_memory_stays_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTWS_BROKER", f"bus:{tmp_path}/bus")
    hubs = [Hub(broker="memory") for _ in range(2)]
    for hub in hubs:
        await hub.start()
        assert await hub.total("t") == hub.publish("t", "x") == 0
        await hub.close()
    assert not (tmp_path / "bus").exists()


async def test_who_does_not_answer_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "bus"
    path.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(path / f"{5:016x}.sock"))
        stopped.listen()
        group = Group(str(path))
        await group.start(5)
        assert "no answer yet of process 5" in caplog.text
        await group.close()


def test_each_loop_has_a_membership_of_its_own(tmp_path: Path) -> None:
    """Nobody closes the hub: the end of the loop does, and the next loop may use it again."""
    path = tmp_path / "bus"
    hub = Hub("loops", broker=f"bus:{path}")

    async def use() -> None:
        other = Group(str(path))
        member = Member(other.bus, "loops")
        listener = member.listener("t")
        await other.start(5)
        await hub.start()
        hub.publish("t", "x")
        await until(lambda: listener.take() == ["x"])
        await other.close()

    for _ in range(2):
        asyncio.run(use())
        assert list(path.glob("*.sock")) == []
    loop = asyncio.new_event_loop()  # one that nobody ends as asyncio.run does
    loop.run_until_complete(use())
    loop.close()
    asyncio.run(use())
    assert list(path.glob("*.sock")) == []
    del loop
    gc.collect()  # asyncio logs the task that it left behind: here, and not in the test of another module


async def test_whose_socket_is_removed_makes_it_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "bus"
    groups = [Group(str(path)) for _ in range(3)]
    await groups[0].start(5)
    for each in path.iterdir():
        each.unlink()
    path.rmdir()
    await groups[1].start(5)  # meets nobody
    assert not groups[1].bus.peers
    for _ in range(2):
        groups[0]._look()
        await until(lambda: groups[1].bus.peers and groups[1].bus.peers[0].has_said_hello)
    await groups[2].start(5)
    assert [len(group.bus.peers) for group in groups] == [2, 2, 2]
    found = [Member(group.bus) for group in groups]
    listener = found[2].listener("t")
    found[0].hub.publish("t", "x")
    await until(lambda: listener.take() == ["x"])
    assert caplog.text.count("has removed the socket") == 1
    for group in groups:
        await group.close()


async def test_a_peer_that_was_lost_is_met_again(tmp_path: Path) -> None:
    one, two = Group(str(tmp_path / "bus")), Group(str(tmp_path / "bus"))
    first, second = Member(one.bus), Member(two.bus)
    for group in (one, two):
        await group.start(5)
    listener, other = second.listener("t"), second.listener("u")
    for topic in "tu":
        first.hub.publish(topic, "1")
    await until(lambda: listener.take() == ["1"] and other.take() == ["1"])
    one.bus.drop(one.bus.peers[0])
    await until(lambda: not two.bus.peers)
    for topic in "ttu":
        one.bus.lanes[b"default\0" + topic.encode()][1].number += 1
    one._look()
    await until(lambda: two.bus.peers and one.bus.peers[0].has_said_hello)
    first.hub.publish("t", "4")
    await until(lambda: listener.take() == ["4"])
    await until(lambda: other.gaps)
    assert (listener.gaps, other.gaps) == ([("t", 2, "bus")], [("u", 1, "bus")])
    for group in (one, two):
        await group.close()


async def test_a_hub_belongs_to_the_loop_of_its_bus(tmp_path: Path) -> None:
    async with Hub("a", broker=f"bus:{tmp_path}/bus"):
        other = Hub("b", broker=f"bus:{tmp_path}/bus")

        async def elsewhere() -> None:
            with pytest.raises(RuntimeError, match="publish_threadsafe"):
                other.subscribe(Listener(), "t")

        await asyncio.to_thread(asyncio.run, elsewhere())
        await other.close()


async def test_what_is_published_after_the_close_is_collected_nowhere(tmp_path: Path) -> None:
    hub = Hub("late", broker=f"bus:{tmp_path}/bus")
    bus = hub._link.bus if hasattr(hub, "_link") else None
    await hub.start()
    await hub.close()
    for number in range(100):
        hub.publish("t", "x" * 1000)
        hub.publish_threadsafe("u", str(number))
    assert bus is None or (bus.outgoing.runs, bus._early) == ([], [])
    await hub.start()  # and joins again
    assert len(list((tmp_path / "bus").glob("*.sock"))) == 1
    await hub.close()


@pytest.mark.parametrize("broker", ["http://x", "bus:", "bus:relative", "tcp"])
def test_brokers_that_are_none(broker: str) -> None:
    with pytest.raises(ValueError, match="broker= is"):
        Hub(broker=broker)
