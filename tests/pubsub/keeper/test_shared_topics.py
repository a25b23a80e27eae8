"""Topics with a history that several workers share: numbers, copies, resumes, and the end of a keeper."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastws.errors import BrokerUnavailable
from fastws.pubsub.bus.records import Record
from fastws.pubsub.events import Gap, Message, Position, Synced
from fastws.pubsub.keeper import queue
from fastws.pubsub.keeper.copies import LINGER_TICKS
from fastws.pubsub.keeper.keeper import Keeper
from fastws.pubsub.keeper.shared_topic import Copy
from tests.kit import until
from tests.kit.keepers import Client, Worker, workers


async def heard(client: Client, texts: list[str]) -> None:
    await until(lambda: len(client.texts_so_far()) >= len(texts))
    assert client.texts_so_far() == texts


async def test_both_workers_hear_all_in_one_order() -> None:
    async with workers() as found:
        one, two = found.all
        assert one.wants and two.wants
        (ann, nothing), (bob, _) = one.client(), two.client()
        assert nothing is None
        await until(lambda: ann.syncs and bob.syncs)
        assert ann.syncs == bob.syncs == [Synced("t", Position(ann.syncs[0].at.epoch, 0))]
        for number in range(50):
            for name, worker in enumerate(found.all):
                assert worker.hub.publish("t", f"{name} {number}") == 1
            await asyncio.sleep(0)
        await until(lambda: len(ann.texts_so_far()) == 100 and len(bob.texts_so_far()) == 100)
        assert ann.got == bob.got
        for name in "01":
            assert [text for text in ann.got if text[0] == name] == [f"{name} {n}" for n in range(50)]
        assert await one.hub.position("t") == await two.hub.position("t") == ann.syncs[0].at.after(100)


async def test_a_client_goes_on_at_the_other_worker() -> None:
    async with workers() as found:
        one, two = found.all
        start = await one.hub.position("t")
        for number in range(10):
            one.hub.publish("t", str(number))
        await until(lambda: one.topic.history.next == 11)
        bob, synced = two.client(since=start.after(4))
        assert synced is None
        await heard(bob, [str(number) for number in range(4, 10)])
        assert bob.syncs == [Synced("t", start.after(4), resumed=True)]
        # What is here now is known at once.
        cat, synced = two.client(since=start.after(8))
        assert synced == Synced("t", start.after(8), resumed=True)
        await heard(cat, ["8", "9"])
        dan, synced = two.client(recent=3)
        assert synced == Synced("t", start.after(7))
        await heard(dan, ["7", "8", "9"])
        assert [event.message for event in await two.hub.history("t", 2)] == ["8", "9"]


async def test_what_is_asked_and_published_in_one_turn_is_in_order() -> None:
    async with workers() as found:
        one, _ = found.all
        one.hub.publish("t", "before")
        ann, _ = one.client()
        one.hub.publish("t", "after")
        await heard(ann, ["after"])


async def test_confirmed_and_once() -> None:
    async with workers() as found:
        one, two = found.all
        first = await one.hub.publish_confirmed("t", "a", once="x")
        again = await two.hub.publish_confirmed("t", "a", once="x")
        assert (first.duplicate, again.duplicate, first.at) == (False, True, again.at)
        one.hub.publish("t", "b")
        last = await one.hub.publish_confirmed("t", "c")
        assert last.at == first.at.after(2)
        assert [event.message for event in await two.hub.history("t")] == ["a", "b", "c"]


async def test_a_follower_inside_of_the_process() -> None:
    async with workers() as found:
        one, two = found.all
        async with two.hub.follow("t") as events:
            synced = await anext(events)
            assert isinstance(synced, Synced) and synced.at.offset == 0
            one.hub.publish("t", "a")
            assert await anext(events) == Message("t", "a", synced.at.after(1))
            assert events.positions == {"t": synced.at.after(1)}


async def test_without_a_keeper_all_waits_and_is_published_by_the_next() -> None:
    async with workers(keeper=False) as found:
        one, two = found.all
        ann, _ = one.client()
        two.hub.publish("t", "a")
        with pytest.raises(BrokerUnavailable, match="no answer of the keeper"):
            await two.hub.publish_confirmed("t", "b", timeout=0.01)
        with pytest.raises(BrokerUnavailable):
            await two.topic.arrive(0.01)
        two.hub.publish("t", "c")
        confirmed = asyncio.create_task(two.hub.publish_confirmed("t", "d"))
        await asyncio.sleep(0)
        found.start_keeper()
        assert (await confirmed).at.offset == 3
        await until(lambda: ann.syncs)
        await until(lambda: one.topic.history.next == 4)
        assert ann.texts_so_far() == ["a", "c", "d"][ann.syncs[0].at.offset :]
        assert [event.message for event in await one.hub.history("t")] == ["a", "c", "d"]


async def test_the_end_of_a_keeper_is_told_and_nothing_comes_twice() -> None:
    async with workers() as found:
        one, two = found.all
        (ann, _), (bob, _) = one.client(), two.client()
        await until(lambda: ann.syncs and bob.syncs)
        one.hub.publish("t", "a")
        await heard(ann, ["a"])
        await heard(bob, ["a"])
        async with two.hub.follow("t") as events:
            await anext(events)
            found.kill_keeper()
            await until(lambda: one.topic.copy is two.topic.copy is Copy.ASKED)
            one.hub.publish("t", "b")
            two.hub.publish("t", "c")
            # What is here of the old epoch is still good.
            cat, synced = two.client(since=ann.syncs[0].at)
            assert synced == Synced("t", ann.syncs[0].at, resumed=True)
            dan, synced = two.client(since=ann.syncs[0].at.after(5))
            assert synced is None
            found.start_keeper()
            await until(lambda: len(ann.texts_so_far()) == 3 and len(bob.texts_so_far()) == 3)
            assert ann.got == bob.got and set(ann.got[1:]) == {"b", "c"}
            await until(lambda: cat.syncs and dan.syncs)
            for client in (ann, bob, cat):
                last = client.syncs[-1]
                assert last.resumed is False and last.missed is None and last.reason == "epoch"
                assert last.at.epoch != ann.syncs[0].at.epoch
            assert ann.syncs[-1].at.offset == 0
            await heard(cat, ann.got)
            assert dan.syncs[-1].reason == "epoch" and dan.got == []
            synced = await anext(events)
            assert synced == ann.syncs[-1]
            assert [(await anext(events)).message for _ in "bc"] == ann.got[1:]  # type: ignore[union-attr]


async def test_a_client_that_was_ahead_of_this_worker_waits_for_it() -> None:
    async with workers() as found:
        one, two = found.all
        start = await one.hub.position("t")
        await two.hub.position("t")
        two.stop_reading()
        for number in range(5):
            one.hub.publish("t", str(number))
        await until(lambda: one.topic.history.next == 6)
        bob, synced = two.client(since=start.after(4))
        assert synced is None and two.topic.history.next == 1
        two.read_on()
        await heard(bob, ["4"])
        cat, synced = two.client(since=start.after(50))
        assert synced is None
        await until(lambda: cat.syncs)
        assert cat.syncs[0].reason == "future"


@pytest.mark.parametrize("question", ["_ask", "_follow"])
async def test_an_answer_that_is_older_than_a_client_does_not_let_it_begin(
    question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came here behind the question, and knows what the keeper had not numbered when it answered."""
    answered: list[object] = []
    answer = getattr(Keeper, question)

    def note(keeper: Keeper, member: Any, topic: Any, record: Record) -> None:
        answer(keeper, member, topic, record)
        answered.append(member)

    monkeypatch.setattr(Keeper, question, note)
    async with workers() as found:
        one, two = found.all
        await two.hub.publish_confirmed("t", "first")
        start = await one.hub.position("t")
        if question == "_ask":
            await two.hub.position("t")
        seen = len(answered)
        ann, _ = two.client(since=start.after(2))
        two.stop_reading()
        await until(lambda: len(answered) > seen)
        for text in "abc":
            await one.hub.publish_confirmed("t", text)
        bob, synced = two.client(since=start.after(2))
        assert synced is None
        two.read_on()
        await until(lambda: ann.syncs and bob.syncs)
        assert ann.syncs[0].reason == "future"
        assert [(told.resumed, told.reason) for told in bob.syncs] == [(True, None)]
        await heard(bob, ["c"])


async def test_a_worker_with_other_settings_is_refused_until_the_others_have_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with workers(2) as found:
        one, _ = found.all
        await one.hub.publish_confirmed("t", "a")
        new = Worker(3, history=7)
        await new.bus.start()
        found.join(new)
        ann, _ = new.client()
        with pytest.raises(BrokerUnavailable, match="history=7 here, and with history=100 by worker 1"):
            await new.hub.publish_confirmed("t", "b")
        new.hub.publish("t", "c")
        assert caplog.text.count("whose settings hold") == 1
        await one.bus.close()
        new.keeper.tick()
        await heard(ann, ["c"])
        assert ann.syncs[0].at.offset == 1
        assert [event.message for event in await new.hub.history("t")] == ["a", "c"]
        await new.bus.close()


async def test_a_worker_that_does_not_read_is_sent_what_is_kept_and_told_the_rest() -> None:
    async with workers(keeper=False, history=20) as found:
        found.start_keeper(max_waiting=200_000)
        one, two = found.all
        (bob, _) = two.client()
        await until(lambda: bob.syncs)
        async with two.hub.follow("t") as events:
            await anext(events)
            two.stop_reading()
            for number in range(200):
                await one.hub.publish_confirmed("t", str(number).zfill(60_000))
            two.read_on()
            await until(lambda: two.topic.history.next == 201)
            texts = [str(number).zfill(60_000) for number in range(200)]
            missed = sum(count for _, count, reason in bob.gaps if reason == "bus")
            assert missed > 0
            await until(lambda: len(bob.texts_so_far()) == 200 - missed)
            assert bob.got == [text for text in texts if text in set(bob.got)]
            assert bob.got[-15:] == texts[-15:]
            assert isinstance(await anext(events), Message | Gap)


async def test_a_closed_hub_shares_nothing_until_it_is_started_again() -> None:
    async with workers() as found:
        one, two = found.all
        async with two.hub:
            ann, _ = two.client()
            await until(lambda: ann.syncs)
        one.hub.publish("t", "a")
        with pytest.raises(RuntimeError, match="closed"):
            two.hub.publish("t", "b")
        await two.hub.start()
        await until(lambda: len(ann.syncs) == 2)
        one.hub.publish("t", "c")
        await until(lambda: ann.texts_so_far()[-1:] == ["c"])


async def test_a_start_waits_for_the_keeper() -> None:
    async with workers(keeper=False) as found:
        with pytest.raises(BrokerUnavailable, match="no keeper"):
            await found.all[0].hub.start(0.01)
        started = asyncio.create_task(found.all[0].hub.start())
        found.start_keeper()
        await started


async def test_a_coroutine_waits_for_the_position_and_knows_where_it_begins() -> None:
    async with workers() as found:
        one, _ = found.all
        at = await one.hub.position("t")
        _, synced = one.client()
        assert synced == Synced("t", at)


async def test_who_subscribes_twice_or_leaves_while_it_waits() -> None:
    async with workers(keeper=False) as found:
        one, two = found.all
        ann, _ = one.client()
        assert one.hub.subscribe(ann, "t") is None
        with pytest.raises(ValueError, match="subscribed already"):
            one.hub.subscribe(ann, "t", recent=1)
        assert one.hub.count("t") == 1 and list(one.hub.topics(ann)) == ["t"]
        assert one.hub.subscribers("t") == [ann]
        bob, _ = one.client()
        one.hub.unsubscribe(bob, "t")
        cat, _ = one.client()
        cat.outbox.leave_topics()
        assert one.hub.count("t") == 1
        found.start_keeper()
        two.hub.publish("t", "a")
        await until(lambda: ann.syncs)
        two.hub.publish("t", "b")
        await until(lambda: ann.texts_so_far()[-1:] == ["b"])
        assert not bob.syncs and not cat.syncs and bob.texts_so_far() == cat.texts_so_far() == []


async def test_what_is_too_large_is_dropped_and_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MAX_MESSAGE_BYTES", 1000)
    async with workers() as found:
        one, two = found.all
        bob, _ = two.client()
        await until(lambda: bob.syncs)
        one.hub.publish("t", "x" * 1000)
        with pytest.raises(BrokerUnavailable):
            await one.hub.publish_confirmed("t", "x" * 1000)
        one.hub.publish("t", "last")
        await heard(bob, ["last"])
        assert bob.gaps == [("t", 1, "bus")]
        assert "a message of 1004 bytes to topic 't' was dropped: it is too large" in caplog.text


async def test_what_is_more_than_may_wait_is_dropped_and_told_everywhere(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastws.pubsub.bus.bus.TICK", 3600.0)  # no tick but that of the test
    async with workers() as found:
        one, two = found.all
        (ann, _), (bob, _) = one.client(), two.client()
        await until(lambda: ann.syncs and bob.syncs)
        for number in range(10):
            one.hub.publish("t", str(number).zfill(1_000_000))
        with pytest.raises(BrokerUnavailable, match="too much waits"):
            await one.hub.publish_confirmed("t", "x" * 1_000_000)
        await until(lambda: len(ann.texts_so_far()) == len(bob.texts_so_far()) == 8)
        eve, _ = two.client()
        eve.stall()
        two.hub.publish("t", "eve is behind")
        await until(lambda: two.topic.behind)
        async with two.hub.follow("t") as events:
            assert isinstance(await anext(events), Synced)
            one.keeper.tick()
            await until(lambda: ann.gaps and bob.gaps and eve.gaps)
            assert ann.gaps == bob.gaps == eve.gaps == [("t", 2, "bus")]
            assert await anext(events) == Gap("t", 2, "bus")
        assert caplog.text.count("2 messages were dropped: 8 MiB wait") == 1
        one.hub.publish("t", "last")
        await until(lambda: ann.texts_so_far()[-1] == bob.texts_so_far()[-1] == "last")
        assert (await two.hub.position("t")).offset == 10


async def test_a_copy_that_nobody_uses_is_let_go_and_asked_for_again() -> None:
    async with workers() as found:
        one, two = found.all
        ann, _ = one.client()
        two.hub.publish("t", "a")
        await heard(ann, ["a"])
        one.hub.unsubscribe(ann, "t")
        for _ in range(9):
            one.keeper.tick()
        assert one.topic.copy is Copy.LIVE
        bob, synced = one.client()
        assert synced is not None
        one.keeper.tick()
        one.hub.unsubscribe(bob, "t")
        for _ in range(10):
            one.keeper.tick()
        assert one.topic.copy is Copy.NONE
        await two.hub.publish_confirmed("t", "b")
        cat, synced = one.client(recent=5)
        assert synced is None
        await heard(cat, ["a", "b"])
        assert cat.syncs == [Synced("t", ann.syncs[0].at)]


async def test_a_hub_that_is_gone_is_forgotten() -> None:
    async with workers() as found:
        one, _ = found.all
        await one.hub.position("t")
        assert len(one.keeper.topics) == 1
        del one.hub
        one.keeper.tick()
        assert not one.keeper.topics


class Untold(Client):
    """One that has no ``on_sync``."""

    tell_sync = None  # type: ignore[assignment]


class Deaf(Untold):
    tell_gap = None  # type: ignore[assignment]


@pytest.mark.parametrize("policy", [None, "evict", "drop_oldest"])
async def test_who_cannot_be_told_a_new_epoch_is_closed(policy: str | None) -> None:
    async with workers(policy=policy) as found:
        one, _ = found.all
        clients = Client(), Untold(), Deaf()
        for client in clients:
            one.hub.subscribe(client, "t")
        await one.hub.position("t")
        found.kill_keeper()
        found.start_keeper()
        one.hub.publish("t", "a")
        await until(lambda: clients[0].texts_so_far() == ["a"])
        assert clients[1].texts_so_far() == ["a"] and clients[1].gaps == [("t", None, "epoch")]
        assert bool(clients[2].evicted) == (policy != "drop_oldest")
        assert not clients[1].evicted and not clients[0].evicted


async def test_a_pace_of_its_own() -> None:
    async with workers() as found:
        one, two = found.all
        ann, synced = one.client(max_rate=1000.0)
        assert synced is None and one.hub.count("t") == 1 and one.hub.subscribers("t") == [ann]
        assert one.hub.subscribe(ann, "t", max_rate=1000.0) is None
        await until(lambda: ann.syncs)
        two.hub.publish("t", "a")
        await until(lambda: ann.texts_so_far() == ["a"])
        found.kill_keeper()
        await until(lambda: one.topic.copy is Copy.ASKED)
        two.hub.publish("t", "b")
        found.start_keeper()
        await until(lambda: ann.texts_so_far() == ["a", "b"])
        assert [synced.reason for synced in ann.syncs] == [None, "epoch"]
        bob, synced = one.client(max_rate=1000.0, recent=1)
        assert synced is not None
        await until(lambda: bob.texts_so_far() == ["b"])
        one.hub.unsubscribe(ann, "t")
        one.hub.unsubscribe(bob, "t")
        assert one.hub.count("t") == 0


@pytest.mark.parametrize("mode", ["stream", "keyed"])
async def test_a_copy_that_is_let_go_before_it_comes_and_wanted_again(mode: str) -> None:
    """What the keeper has sent for the first question is not taken for the answer to the second."""
    keyed = mode == "keyed"
    async with workers(mode=mode, history=0 if keyed else 100) as found:
        one, two = found.all
        for number in range(3):
            await one.hub.publish_confirmed("t", str(number), key="k" if keyed else None)
        await two.hub.position("t")
        for _ in range(LINGER_TICKS):
            two.keeper.tick()
        assert two.topic.copy is Copy.NONE
        await asyncio.sleep(0.05)
        two.stop_reading()
        for _ in range(2):
            client, _ = two.client()
            await asyncio.sleep(0.05)
            two.hub.unsubscribe(client, "t")
            for _ in range(LINGER_TICKS):
                two.keeper.tick()
            await asyncio.sleep(0.05)
        client, _ = two.client()
        two.read_on()
        await until(lambda: client.syncs)
        at = (await one.hub.publish_confirmed("t", "3", key="k" if keyed else None)).at
        await until(lambda: any("3" in text for text in client.texts_so_far()))
        assert await two.hub.position("t") == at
        assert len(client.syncs) == 1 and two.failed == []
