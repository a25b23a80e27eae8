"""Documents in memory."""

from __future__ import annotations

from fastws.yjs import MemoryStore


async def test_what_was_used_longest_ago_is_forgotten() -> None:
    store = MemoryStore(max_bytes=30)
    for name in "abc":
        stored = await store.open(name)
        assert await stored.lock()
        await stored.append([b"x" * 9])
        await stored.close()
    one = await store.open("a")
    assert await one.lock()
    two = await store.open("b")
    assert await two.lock()
    await two.append([b"y" * 9])
    assert [store.keeps(name) for name in "abc"] == [True, True, False], "a is open"
    assert await two.load() == [b"x" * 9, b"y" * 9]
    await two.replace(b"z")
    assert await two.load() == [b"z"]


async def test_one_has_the_lock() -> None:
    store = MemoryStore()
    one, other = await store.open("a"), await store.open("a")
    assert await one.lock()
    assert await one.lock()
    assert not await other.lock()
    await other.close()
    assert not await other.lock()
    await one.close()
    assert await other.lock()
