"""Very many that join one topic: what each client is told, and what that takes."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

import fastws
from fastws.pubsub.presence.shown import Shown
from fastws.testing import Clock
from tests.kit.buses import members
from tests.pubsub.presence.watchers import Watcher

SECONDS = 10
#: Steps of a second: more than there are messages.
STEPS = 5


class Calls:
    """Counts the calls of functions that say who is here."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        self.count += event == "call" and "presence" in frame.f_code.co_filename


async def storm(clock: Clock, hub: fastws.Hub, joins: int) -> tuple[list[Watcher], int]:
    """Let so many join within ten seconds; return them, and how many calls that took."""
    watchers: list[Watcher] = []
    calls = Calls()
    sys.setprofile(calls)
    try:
        for _ in range(SECONDS * STEPS):
            for _ in range(joins // (SECONDS * STEPS)):
                watchers.append(Watcher(hub, shown=Shown(f"user {len(watchers)}", b'{"color":"red"}')))
            await clock.advance(1 / STEPS)
    finally:
        sys.setprofile(None)
    return watchers, calls.count


@pytest.mark.parametrize(("presence", "few", "many"), [("count", 250, 1000), ("list", 500, 10_000)])
async def test_each_is_told_twice_a_second_and_it_takes_the_same_for_each(
    presence: str, few: int, many: int
) -> None:
    taken = {}
    for joins in (few, many):
        with Clock() as clock:
            hub = fastws.Hub()
            hub.topic("t", presence=presence)
            watchers, taken[joins] = await storm(clock, hub, joins)
            for number, watcher in enumerate(watchers):
                seconds = SECONDS - number * SECONDS / joins
                assert watcher.outbox.sent_messages <= 2 * seconds + 2
            await clock.advance(1)
            assert watchers[0].told()[-1] == {"count": joins}
            assert watchers[-1].told() == [{"count": joins}]
    assert taken[many] / many <= 1.1 * taken[few] / few


async def test_another_process_is_told_ten_times_a_second() -> None:
    taken = {}
    for joins in (250, 1000):
        with Clock() as clock:
            async with members(2) as (one, two):
                for member in (one, two):
                    member.hub.topic("t", presence="count")
                there = Watcher(two.hub)
                await clock.advance(1)
                assert one.bus is not None
                presences = one.hub._presences
                assert presences is not None and presences.others is not None
                before = presences.others._number
                _, taken[joins] = await storm(clock, one.hub, joins)
                await clock.advance(1)
                assert there.told()[-1] == {"count": joins}
                assert there.outbox.sent_messages <= 2 * (SECONDS + 2)
                assert presences.others._number - before <= 10 * SECONDS + 1
    assert taken[1000] / 1000 <= 1.1 * taken[250] / 250
