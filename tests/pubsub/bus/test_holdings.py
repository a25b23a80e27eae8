"""What the members of a bus hold together: over real socket pairs, with 2 and 3 members."""

from __future__ import annotations

import asyncio
import socket

import pytest

from fastws.pubsub.bus.bus import Bus
from fastws.pubsub.bus.records import BadRecord, Decoder, Flag, Kind, encode_record, hello
from fastws.server.address_limits import AddressLimiter
from tests.kit.buses import connect, members, until

ADDRESS = ("192.0.2.1", 40000)


@pytest.mark.parametrize("count", [2, 3])
async def test_each_knows_what_the_others_hold(count: int) -> None:
    async with members(count) as all_of_them:
        holdings = [member.bus.holdings for member in all_of_them if member.bus is not None]
        for number, one in enumerate(holdings):
            one.hold("a", 5)  # in one turn: only the last one is told
            one.hold("a", number + 1)
        total = sum(range(1, count + 1))

        def others() -> list[int]:
            return [one.of_others("a") for one in holdings]

        await until(lambda: others() == [total - n - 1 for n in range(count)])
        holdings[0].hold("a", 0)
        await until(lambda: others() == [total - 1, *(total - n - 2 for n in range(1, count))])
        assert holdings[0].of_others("b") == 0


async def test_who_is_new_is_told_and_what_a_member_held_goes_with_it() -> None:
    async with members(2) as two:
        first, second = (member.bus for member in two)
        assert first is not None and second is not None
        first.holdings.hold("a", 3)
        second.holdings.hold("a", 4)
        first.holdings.hold("gone", 1)
        first.holdings.hold("gone", 0)
        third = Bus(7)
        for bus in (first, second):
            connect(bus, third)
        await third.start()
        await third.holdings.hear_all(10)
        assert third.holdings.of_others("a") == 7
        assert third.holdings._others == {"a": 7}
        third.holdings.hold("a", 10)
        await until(lambda: (first.holdings.of_others("a"), second.holdings.of_others("a")) == (14, 13))
        await third.close()
        await until(lambda: (first.holdings.of_others("a"), second.holdings.of_others("a")) == (4, 3))
        await second.close()
        await until(lambda: first.holdings.of_others("a") == 0)
        assert not first.holdings._theirs and not first.holdings._known


async def test_it_waits_for_a_member_that_is_stopped_no_longer_than_it_was_told() -> None:
    bus = Bus(1)
    ours, theirs = socket.socketpair()
    bus.add_peer(ours, 9)
    await bus.start()
    await bus.holdings.hear_all(0.02)
    theirs.close()
    await until(lambda: not bus.peers)
    await bus.holdings.hear_all(1000)
    await bus.close()


async def test_who_has_no_room_is_told_everything_when_it_has() -> None:
    bus = Bus(1, max_waiting=200_000)
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    bus.add_peer(ours, 9)
    await bus.start()
    (peer,) = bus.peers
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for number in range(20_000):
        bus.holdings.hold(str(number), 1)
        if number % 1000 == 0:
            await asyncio.sleep(0)
    await until(lambda: bus.holdings._owed)
    assert peer.waiting < 1_000_000
    for number in range(1, 20_000):
        bus.holdings.hold(str(number), 0)
    theirs.settimeout(0)
    theirs.send(hello(9))
    decoder, held = Decoder(), {}
    ends = 0

    def read() -> bool:
        nonlocal ends
        bus.holdings.tick()
        try:
            for record in decoder.feed(theirs.recv(1 << 20)):
                if record.kind == Kind.HOLD and record.flags == Flag.BEGIN:
                    held.clear()
                elif record.kind == Kind.HOLD and record.flags == Flag.END:
                    ends += 1
                elif record.kind == Kind.HOLD:
                    held[record.key] = record.amount
        except BlockingIOError:
            pass
        return ends >= 2 and not bus.holdings._owed and held == {b"0": 1}

    await until(read)

    theirs.close()
    await bus.close()


@pytest.mark.parametrize(
    "record",
    [
        encode_record(Kind.HOLD, 3, b"a", 1, 0),
        encode_record(Kind.HOLD, 0, b"a", 1, 0, b"body"),
        encode_record(Kind.USE, 1, b"a", 1, 0),
        encode_record(99, 0, b"a", 1, 0),
    ],
)
def test_what_is_no_such_record(record: bytes) -> None:
    decoder = Decoder()
    decoder.feed(hello(1))
    with pytest.raises(BadRecord):
        decoder.feed(record)


# -- the limits by address ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
async def test_an_address_has_so_many_connections_in_all(count: int) -> None:
    async with members(count) as all_of_them:
        limiters = []
        for member in all_of_them:
            assert member.bus is not None
            limiters.append(AddressLimiter(4, None))
            limiters[-1].share(member.bus.holdings, asyncio.get_running_loop().time)
        last = all_of_them[-1].bus
        assert last is not None
        for number in range(3):
            assert limiters[0].enter(number, ADDRESS)
        await until(lambda: last.holdings.of_others("192.0.2.1") == 3)
        assert limiters[-1].enter("fourth", ADDRESS)
        assert not limiters[-1].enter("fifth", ADDRESS)
        assert limiters[-1].enter("other", ("192.0.2.2", 1))
        limiters[0].leave(1)
        await until(lambda: last.holdings.of_others("192.0.2.1") == 2)
        assert limiters[-1].enter("fifth", ADDRESS)
        # Who dies has none any more.
        first = all_of_them[0].bus
        assert first is not None
        await first.close()
        await until(lambda: last.holdings.of_others("192.0.2.1") == 0)
        assert limiters[-1].enter("sixth", ADDRESS)


async def test_an_address_shakes_hands_so_often_in_all() -> None:
    now = 100.0
    async with members(2) as two:
        limiters = []
        for member in two:
            assert member.bus is not None
            limiters.append(AddressLimiter(None, 3))
            limiters[-1].share(member.bus.holdings, lambda: now)
        one, other = limiters

        def left(limiter: AddressLimiter) -> int:
            window = limiter._handshakes.get("192.0.2.1")
            return 3 if window is None else window._left

        for _ in range(2):
            assert one.shake_hands(ADDRESS, now)
        await until(lambda: left(other) == 1)
        now += 0.5
        assert other.shake_hands(ADDRESS, now)
        assert not other.shake_hands(ADDRESS, now)
        await until(lambda: left(one) == 0)
        assert not one.shake_hands(ADDRESS, now)
        # A refused one uses nothing. The second ends for both at the same time.
        now = 101.0
        assert other.shake_hands(ADDRESS, now)
        await until(lambda: left(one) == 2)
        for _ in range(2):
            assert one.shake_hands(ADDRESS, now)
        assert not one.shake_hands(ADDRESS, now)
