"""Feeds of topics that several workers share: real WebSockets, one server for each worker's hub."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

import fastws
from tests.kit.keepers import Workers, workers


class Page:
    """A client of a feed, which notes what it is told of its topic."""

    def __init__(self, ws: fastws.WebSocket) -> None:
        self.ws = ws
        self.at = ""
        self.data: list[Any] = []
        self.syncs: list[dict[str, Any]] = []
        self.lives = 0

    async def hear(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(await self.ws.recv())
        self.at = said.get("at") or said.get("sync", {}).get("at") or self.at
        if "sync" in said:
            self.syncs.append(said["sync"])
        if "d" in said:
            self.data.append(said["d"])
        self.lives += "live" in said
        return said

    async def until(self, key: str) -> dict[str, Any]:
        while key not in (said := await self.hear()):
            pass
        return said


@asynccontextmanager
async def feeds(found: Workers) -> AsyncIterator[list[str]]:
    async with AsyncExitStack() as stack:
        urls = []
        for worker in found.all:
            feed = fastws.Feed(worker.hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone)
            server = await stack.enter_async_context(fastws.serve(feed, "127.0.0.1", 0, access_log=False))
            urls.append(f"ws://127.0.0.1:{server.port}/?topic=t")
        yield urls


@asynccontextmanager
async def page(url: str) -> AsyncIterator[Page]:
    async with fastws.connect(url) as ws:
        one = Page(ws)
        await one.until("hello")
        yield one


async def test_a_page_goes_on_at_the_other_worker_and_in_another_epoch() -> None:
    async with workers() as found, feeds(found) as (one, two):
        async with page(one) as ann, page(two) as bob:
            for client in (ann, bob):
                await client.until("live")
                assert client.syncs[0]["resumed"] is None and client.syncs[0]["at"] == client.at
            await ann.ws.send('{"pub":"t","d":{"n":1},"id":7}')
            ack = await ann.until("ack")
            while not (ann.data and bob.data):
                await (bob if ann.data else ann).hear()
            assert ann.data == bob.data == [{"n": 1}] and ack["ack"]["at"] == ann.at == bob.at
            found.all[1].hub.publish("t", "plain")
            found.all[1].hub.publish("t", json=["json"])
            for client in (ann, bob):
                while len(client.data) < 3:
                    await client.hear()
                assert client.data[1:] == ["plain", ["json"]]
        begin = ann.syncs[0]["at"]
        async with page(f"{two}&since={begin}") as back:
            assert (await back.until("sync"))["sync"]["resumed"] is True
            await back.until("live")
            assert back.data == [{"n": 1}, "plain", ["json"]]
            found.kill_keeper()
            found.start_keeper()
            found.all[0].hub.publish("t", "new")
            sync = (await back.until("sync"))["sync"]
            assert (sync["resumed"], sync["missed"], sync["reason"]) == (False, None, "epoch")
            await back.until("d")
            assert back.data[3:] == ["new"] and back.at.endswith(":1")
            while back.lives < 2:
                await back.hear()


async def test_keys_in_a_feed() -> None:
    async with workers(mode="keyed", history=0, every=0.001) as found, feeds(found) as (one, two):
        found.all[0].hub.publish("t", json=1, key="a")
        async with page(one) as ann, page(two) as bob:
            for client in (ann, bob):
                assert (await client.until("sync"))["sync"]["snapshot"]
                assert (await client.until("snap"))["snap"] == {"a": 1}
                await client.until("live")
            await bob.ws.send('{"pub":"t","d":2,"k":"b","id":1}')
            assert (await ann.until("set"))["set"] == {"b": 2}
            await bob.ws.send('{"pub":"t","k":"a","rm":true,"id":2}')
            assert (await ann.until("rm"))["rm"] == ["a"]
            found.kill_keeper()
            found.start_keeper()
            for client in (ann, bob):
                assert (await client.until("sync"))["sync"]["reason"] == "epoch"


async def test_a_feed_without_a_keeper_waits() -> None:
    async with workers(keeper=False) as found, feeds(found) as (one, _), page(one) as ann:
        found.all[0].hub.publish("t", "early")
        found.start_keeper()
        await ann.until("live")
        found.all[0].hub.publish("t", "late")
        await ann.until("d")
        assert ann.data[-1] == "late"


async def test_other_frameworks_and_events_are_told_when_it_is_known() -> None:
    async with workers() as found:
        hub = found.all[0].hub
        feed = fastws.Feed(hub, may_subscribe=fastws.anyone)

        async def handler(ws: fastws.WebSocket) -> None:
            await feed.run(ws)

        routes = [fastws.Route("/", handler), fastws.Route("/events", handler, http=feed.sse)]
        async with fastws.serve(routes, "127.0.0.1", 0, access_log=False) as server:
            async with page(f"ws://127.0.0.1:{server.port}/?topic=t") as ann:
                await ann.until("live")
                assert len(ann.syncs) == 1
                found.all[1].hub.publish("t", "a")
                await ann.until("d")
                found.kill_keeper()
                found.start_keeper()
                assert (await ann.until("sync"))["sync"]["reason"] == "epoch"
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /events?topic=t HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b'"sync"')
            await reader.readuntil(b'"live"')
            await found.all[1].hub.publish_confirmed("t", "b")
            assert b"id: " in await reader.readuntil(b'"d":"b"')
            found.kill_keeper()
            found.start_keeper()
            await reader.readuntil(b'"reason":"epoch"')
            writer.close()
            await writer.wait_closed()


async def test_a_message_that_nobody_numbers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def publish(*args: object) -> None:
        raise fastws.BrokerUnavailable("no keeper")

    async with workers() as found, feeds(found) as (one, _), page(one) as ann:
        monkeypatch.setattr(found.all[0].keeper.questions, "publish", publish)
        await ann.until("live")
        await ann.ws.send('{"pub":"t","d":1,"id":3}')
        error = (await ann.until("error"))["error"]
        assert (error["code"], error["retry_ms"]) == ("unavailable", 1000)


async def test_a_page_at_a_pace_of_its_own() -> None:
    async with workers() as found, feeds(found) as (one, _), page(f"{one}&rate=1000") as ann:
        await ann.until("live")
        assert len(ann.syncs) == 1 and ann.syncs[0]["lossy"]
        found.all[1].hub.publish("t", "a")
        await ann.until("d")
        found.kill_keeper()
        found.start_keeper()
        assert (await ann.until("sync"))["sync"]["reason"] == "epoch"
        found.all[1].hub.publish("t", "b")
        await ann.until("d")
        assert ann.data == ["a", "b"]


@pytest.mark.parametrize("since", ["", ',"since":"x:5"'])
async def test_each_sub_is_answered_before_its_end_though_nothing_is_known_yet(since: str) -> None:
    async with workers() as found, feeds(found) as (one, _), fastws.connect(one.partition("?")[0]) as ws:
        for command in (
            f'{{"sub":"t"{since}}}', '{"unsub":"t"}', f'{{"sub":"t"{since}}}', '{"pub":"t","d":1,"id":7}',
            '{"unsub":"t"}',
        ):  # fmt: skip
            ws.send_nowait(command)
        said: list[str] = []
        while said.count("end") < 2 or "ack" not in said:
            text = json.loads(await ws.recv())
            said += [key for key in ("sync", "end", "ack", "error") if key in text]
            if "sync" in text:
                assert text["sync"]["resumed"] is (False if since else None)
        said.remove("ack")
        assert said == ["sync", "end", "sync", "end"]
