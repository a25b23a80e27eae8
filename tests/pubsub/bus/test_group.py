"""Processes that meet in a directory: who gets in, and who does not."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from fastws.errors import BrokerUnavailable
from fastws.pubsub.bus.group import Group
from fastws.pubsub.hub import Hub
from tests.kit import until
from tests.kit.buses import Member


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


async def test_a_stale_socket_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    path.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path / "dead.sock"))
    async with Hub("stale", broker=f"bus:{path}"):
        assert not (path / "dead.sock").exists()


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


@pytest.mark.parametrize("broker", ["redis://x", "bus:", "bus:relative", "tcp"])
def test_brokers_that_are_none(broker: str) -> None:
    with pytest.raises(ValueError, match="broker= is"):
        Hub(broker=broker)
