"""What a broadcast does, the same with one process and with several that share a hub."""

from __future__ import annotations

import asyncio

import pytest

from tests.kit import until
from tests.kit.buses import Member, members

COUNTS = pytest.mark.parametrize("count", [1, 2, 3])
pytestmark = COUNTS


async def heard(listener: object, size: int) -> list[str]:
    """Return what a listener hears, when it is so many messages, and no more come."""
    found: list[str] = []
    await until(lambda: found.extend(listener.take()) or len(found) >= size)  # type: ignore[attr-defined]
    for _ in range(20):
        await asyncio.sleep(0)
    return found + listener.take()  # type: ignore[attr-defined, no-any-return]


async def test_everybody_hears_everything_once_and_in_order(count: int) -> None:
    async with members(count) as all_members:
        listeners = [member.listener("t", "u") for member in all_members]
        expected = []
        for number in range(200):
            topic = "tu"[number % 3 == 0]
            all_members[0].hub.publish(topic, f"{topic}{number}")
            expected.append(f"{topic}{number}")
            if number % 50 == 0:
                await asyncio.sleep(0)
        for listener in listeners:
            assert await heard(listener, 200) == expected


async def test_the_count_is_local_and_the_total_is_not(count: int) -> None:
    async with members(count) as all_members:
        kept = [member.listener("t") for member in all_members]
        hub = all_members[-1].hub
        assert (hub.count("t"), hub.publish("t", "x")) == (1, 1)
        assert await hub.total("t") == count
        assert await hub.total("nobody") == 0
        assert len(kept) == count


async def test_nobody_here_but_there(count: int) -> None:
    async with members(count) as all_members:
        listener = all_members[-1].listener("t")
        assert all_members[0].hub.publish("t", "far") == (count == 1)
        assert await heard(listener, 1) == ["far"]


async def test_the_sender_is_excluded_and_nobody_else(count: int) -> None:
    async with members(count) as all_members:
        sender = all_members[0].listener("t")
        others = [member.listener("t") for member in all_members]
        all_members[0].hub.publish("t", "1")
        all_members[0].hub.publish("t", "2", exclude=sender)
        all_members[0].hub.publish("t", "3")
        for other in others:
            assert await heard(other, 3) == ["1", "2", "3"]
        assert await heard(sender, 2) == ["1", "3"]


@pytest.mark.parametrize(
    "message", ["", "x" * 125, "ü" * 5000, "x" * 70_000, b"", b"\0" * 200, b"y" * 1_000_000]
)
async def test_sizes_and_kinds(count: int, message: str | bytes) -> None:
    async with members(count) as all_members:
        listeners = [member.listener("t") for member in all_members]
        all_members[0].hub.publish("t", message)
        for listener in listeners:
            frames: list[object] = []
            await until(lambda frames=frames, one=listener: frames.extend(one.frames()) or frames)  # type: ignore[misc]
            payload = message.encode() if isinstance(message, str) else message
            assert [frame.payload for frame in frames] == [payload]  # type: ignore[attr-defined]


async def test_messages_merge_where_the_topic_merges(count: int) -> None:
    async with members(count) as all_members:
        for member in all_members:
            member.hub.topic("t", merge="\n")
        listeners = [member.listener("t") for member in all_members]
        for text in ("one", "zwei", "trois"):
            all_members[0].hub.publish("t", text)
        for listener in listeners:
            assert await heard(listener, 1) == ["one\nzwei\ntrois"]
        with pytest.raises(TypeError, match="merges"):
            all_members[0].hub.publish("t", b"bytes")


async def test_from_a_thread(count: int) -> None:
    async with members(count) as all_members:
        listeners = [member.listener("t") for member in all_members]

        def publish() -> None:
            for number in range(10):
                all_members[0].hub.publish_threadsafe("t", str(number))

        await asyncio.to_thread(publish)
        for listener in listeners:
            assert await heard(listener, 10) == [str(number) for number in range(10)]


async def test_hubs_of_other_names_hear_nothing(count: int) -> None:
    async with members(count) as all_members:
        other = Member(all_members[-1].bus, "other").listener("t")
        all_members[0].hub.publish("t", "x")
        assert await all_members[0].hub.total("t") == 0
        assert await heard(other, 0) == []
