"""The keys of a keyed topic in the order of their last change."""

from __future__ import annotations

import math

import pytest

from fastws.pubsub.keys import Keys, KeysFull


def made(max_keys: int = 100, key_ttl: float = math.inf, ttl: float = 10) -> Keys:
    return Keys(max_keys, key_ttl, ttl)


def put(keys: Keys, names: str, now: float = 0) -> None:
    for name in names:
        keys.put(name, b'"%b"' % name.encode(), str(keys.last + 1).encode(), now)


def read(keys: Keys, number: int, to: int | None = None, most: int = 1000) -> tuple[str, str, int]:
    values: list[bytes] = []
    removed: list[bytes] = []
    end = keys.read(number, keys.last if to is None else to, most, values, removed)
    return b" ".join(values).decode(), b" ".join(removed).decode(), end


class TestReading:
    def test_each_key_once_where_it_changed_last(self) -> None:
        keys = made()
        put(keys, "abcab")
        assert read(keys, 0) == ('"c":3 "a":4 "b":5', "", 5)
        assert read(keys, 3) == ('"a":4 "b":5', "", 5)
        assert read(keys, 0, to=4) == ('"c":3 "a":4', "", 4)
        assert read(keys, 5) == ("", "", 5)
        assert [entry.key for entry in keys.items()] == ["c", "a", "b"]

    def test_in_pieces_and_one_is_always_taken(self) -> None:
        keys = made()
        put(keys, "abc")
        assert read(keys, 0, most=12) == ('"a":1 "b":2', "", 2)
        assert read(keys, 2, most=12) == ('"c":3', "", 3)
        assert read(keys, 0, most=1) == ('"a":1', "", 1)

    def test_what_was_removed_is_told(self) -> None:
        keys = made()
        put(keys, "ab")
        assert keys.remove("a", 0)
        assert not keys.remove("a", 0)
        assert not keys.remove("x", 0)
        assert read(keys, 0) == ('"b":2', '"a"', 3)
        assert keys.count == 1
        put(keys, "a")
        assert read(keys, 2) == ('"a":4', "", 4)

    def test_stale_slots_are_thrown_out(self) -> None:
        keys = made()
        for _ in range(50):
            put(keys, "abcdefghij")
        assert read(keys, 495) == ('"f":496 "g":497 "h":498 "i":499 "j":500', "", 500)

    def test_clear(self) -> None:
        keys = made()
        assert not keys.clear()
        put(keys, "ab")
        keys.remove("a", 0)
        assert keys.clear()
        assert (keys.count, keys.size, keys.cleared, keys.last) == (0, 0, 4, 4)
        assert not keys.clear()
        put(keys, "a")
        assert read(keys, 0) == ('"a":5', "", 5)
        assert keys.after(0, 5) is keys.find("a")
        assert keys.after(5, 5) is None


class TestLimits:
    def test_no_more_keys_than_that(self) -> None:
        keys = made(max_keys=2)
        put(keys, "ab")
        with pytest.raises(KeysFull):
            put(keys, "c")
        put(keys, "ab")
        keys.remove("a", 0)
        put(keys, "c")
        with pytest.raises(KeysFull):
            put(keys, "a")

    def test_the_oldest_tombstone_is_forgotten(self) -> None:
        keys = made(max_keys=2)
        for name in "abc":
            put(keys, name)
            keys.remove(name, 0)
        assert (keys.floor, keys.floor_reason) == (2, "limit")
        assert read(keys, 2) == ("", '"b" "c"', 6)

    def test_tombstones_expire(self) -> None:
        keys = made(ttl=10)
        put(keys, "ab")
        keys.remove("a", 1)
        assert keys.next_expiry() == 11
        assert not keys.expire(10.9)
        assert not keys.expire(11)
        assert (keys.floor, keys.floor_reason, keys.find("a")) == (3, "expired", None)
        assert keys.next_expiry() == math.inf
        assert not keys.is_empty()

    def test_a_key_that_came_back_leaves_no_tombstone(self) -> None:
        keys = made(ttl=10)
        put(keys, "a")
        keys.remove("a", 1)
        put(keys, "a", 2)
        keys.expire(50)
        assert (keys.floor, read(keys, 0)) == (0, ('"a":3', "", 3))

    def test_values_expire(self) -> None:
        keys = made(key_ttl=5)
        put(keys, "ab", 0)
        put(keys, "a", 3)
        assert keys.next_expiry() == 5
        assert keys.expire(5)
        assert read(keys, 3) == ("", '"b"', 4)
        assert keys.expire(8)
        assert (keys.count, read(keys, 3)) == (0, ("", '"b" "a"', 5))
        assert keys.next_expiry() == 15
        keys.expire(18)
        assert keys.is_empty()
        assert keys.next_expiry() is None
