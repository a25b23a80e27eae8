"""The control socket, and what it answers: of one process, and of workers that a test plays."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from fastws import Hub, Route
from fastws.meters.board import Board
from fastws.meters.meters import begin_measuring
from fastws.observe import metrics
from fastws.observe.control import MAX_PEOPLE, ControlRefused, controlling, is_owner, open_control
from fastws.observe.desk import LoneDesk, WorkersDesk
from fastws.observe.inspect import answer, inspect, user_of
from fastws.observe.thread import ObservingThread
from fastws.server.shared_page import SharedPage
from fastws.workers.control import Channel, Message
from fastws.workers.inquiry import Inquiry
from fastws.workers.states import State, Worker
from fastws.workers.watch import Watch
from fastws.workers.worker import SupervisedServer
from tests.kit import ManualLoop, Recorder
from tests.kit.served import opened, served


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


class TestSocket:
    async def test_questions_and_answers_are_lines(self, folder: Path) -> None:
        path = str(folder / "s")

        async def double(question: dict[str, Any]) -> Any:
            return question["number"] * 2

        async with controlling(open_control(path), double):
            assert os.stat(path).st_mode & 0o777 == 0o600
            reader, writer = await asyncio.open_unix_connection(path)
            for line, said in (
                (b'{"number": 4}', {"answer": 8}),
                (b"nonsense", None),
                (b"[]", {"error": "a question is a JSON object"}),
                (b"{}", {"error": "'number'"}),
                (b'{"number": 5}', {"answer": 10}),
            ):
                writer.write(line + b"\n")
                found = json.loads(await reader.readline())
                assert found == said if said is not None else "error" in found
            others = [await asyncio.open_unix_connection(path) for _ in range(MAX_PEOPLE)]
            # One too many is let go of.
            assert await others[-1][0].read() == b""
            writer.write(b"x" * 100_000)
            assert await reader.read() == b""
            writer.close()
        for _, each in others:
            each.close()

    def test_nobody_else_may_write_to_its_folder(self, folder: Path) -> None:
        folder.chmod(0o777)
        with pytest.raises(ControlRefused, match="nobody else may write there"):
            open_control(str(folder / "s"))
        folder.chmod(0o700)
        with open_control(str(folder / "s")), pytest.raises(OSError):
            open_control(str(folder / "s"))

    def test_others_are_known_by_their_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            assert is_owner(ours)
            if os.geteuid() == 0:
                return  # root may ask everybody
            monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
            assert not is_owner(ours)


class TestInspect:
    def test_the_slowest_come_first(self, loop: ManualLoop) -> None:
        handler = Recorder()
        server = served(loop, [Route("/a", handler), Route("/b", handler)])
        hub = Hub("inspected", broker="memory")
        clients = [opened(loop, server, path=path) for path in ("/a", "/b", "/a")]
        for ws in handler.sockets:
            hub.subscribe(ws, "topic")
        hub.subscribe(handler.sockets[0], "\0internal")
        clients[1].stall(1)
        for _ in range(3):
            hub.publish("topic", "x" * 1000)
            loop.settle()
        found = inspect(server, 7)
        slowest = found["clients"][0]
        assert slowest["path"] == "/b" and slowest["state"] == "congested" and slowest["age"] > 0
        assert slowest["queued"] > 2000 and slowest["sent"] == 1 and slowest["id"].startswith("7-")
        assert [each["queued"] for each in found["clients"][1:]] == [0, 0]
        assert {"topic": "topic", "hub": "inspected", "listeners": 3} in found["topics"]
        assert not any("internal" in each["topic"] for each in found["topics"])
        assert found["websockets"] == found["connections"] == 3
        assert [each["path"] for each in inspect(server, 7, match="/b")["clients"]] == ["/b"]
        assert inspect(server, 7, match="nobody")["clients"] == []
        assert len(inspect(server, 7, limit=1, sort="open")["clients"]) == 1
        json.dumps(found)
        assert answer(server, 7, "close", {"id": slowest["id"]}) is True
        assert handler.sockets[1].close_code == 1008
        assert answer(server, 8, "close", {"id": slowest["id"]}) is None

    def test_what_makes_no_sense(self, loop: ManualLoop) -> None:
        server = served(loop, Recorder())
        assert answer(None, 1, "inspect", {}) is None
        for ask, values in (("log_level", {"level": "loud"}), ("nothing", {})):
            with pytest.raises(ValueError):
                answer(server, 1, ask, values)


@pytest.fixture
def levels() -> Any:
    before = {name: logging.getLogger(name).level for name in ("fastws", "asyncio")}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


class TestLoneDesk:
    def test_of_one_process(self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch, levels: None) -> None:
        handler = Recorder()
        server = served(loop, Route("/a", handler))
        metrics(server)
        desk = LoneDesk(begin_measuring().board, lambda: server)
        client = opened(loop, server, path="/a")
        opened(loop, server, path="/a")
        client.close(1000)
        loop.settle()
        client.transport.lose()
        loop.settle()

        def ask(**question: Any) -> Any:
            return loop.run(desk.answer(question))

        found = ask(ask="top", sort="rtt", limit=5)
        assert (found["websockets"], found["closes"]) == (1, {"1000 client": 1})
        assert found["states"] == {"ready": int(server.is_serving())}
        assert found["totals"]["websockets_opened"] == 2
        (only,) = found["clients"]
        assert ask(ask="close", id=only["id"]) == f"closed {only['id']}"
        assert ask(ask="log_level", level="debug") == "the log has the level debug now"
        assert logging.getLogger("fastws").level == logging.DEBUG
        told: list[tuple[int, int]] = []
        monkeypatch.setattr("os.kill", lambda pid, number: told.append((pid, number)))
        ask(ask="reload")
        ask(ask="drain")
        assert told == [(os.getpid(), signal.SIGHUP), (os.getpid(), signal.SIGTERM)]
        for question in (
            {"ask": "close", "id": "1-2-3"},
            {"ask": "top", "sort": "name"},
            {"ask": "top", "limit": "many"},
            {"ask": "sing"},
            {},
        ):
            with pytest.raises(ValueError):
                ask(**question)
        starting = LoneDesk(Board.private(), lambda: None)
        assert loop.run(starting.answer({"ask": "top"}))["totals"] == {}


class Workers:
    """Some workers, and what they are told; the test answers for them."""

    def __init__(self) -> None:
        self.workers = [Worker(number, number, 0.0, State.READY) for number in (1, 2)]
        self.told: list[tuple[int, str, dict[str, Any]]] = []
        self.woken: list[int] = []
        self.inquiry = Inquiry(lambda: self.woken.append(0), lambda: list(self.workers), self.tell)

    def tell(self, worker: Worker, kind: str, **values: Any) -> None:
        self.told.append((worker.id, kind, values))

    def said(self, worker: int, answer: Any, number: int = 1) -> None:
        message = Message("answer", {"number": number, "answer": answer})
        self.inquiry.answered(self.workers[worker - 1], message)


class TestInquiry:
    def test_all_are_asked_and_the_dead_are_not_waited_for(self) -> None:
        site = Workers()
        number, done = site.inquiry.ask("inspect", limit=3)
        assert site.woken == [0] and not site.told
        site.inquiry.carry()
        values = {"number": number, "ask": "inspect", "values": {"limit": 3}}
        assert site.told == [(1, "question", values), (2, "question", values)]
        site.said(1, "one")
        assert not done.done()
        site.inquiry.lost(site.workers[1])
        assert done.result(0) == {1: "one"}
        site.said(2, "too late")
        assert site.inquiry.give_up(number) == {1: "one"}
        site.said(2, "much too late")
        assert site.inquiry.give_up(number) == {}

    def test_nobody_is_there(self) -> None:
        site = Workers()
        site.workers.clear()
        _, done = site.inquiry.ask("inspect")
        site.inquiry.carry()
        assert done.result(0) == {}


class Pool:
    def __init__(self, workers: list[Worker]) -> None:
        self.workers = workers


class TestWorkersDesk:
    async def test_answers_are_joined(self, monkeypatch: pytest.MonkeyPatch, levels: None) -> None:
        site = Workers()
        page = SharedPage.create(2)
        page.board = Board.create(2)
        watch: Any = Watch(Pool(site.workers), page, None)  # type: ignore[arg-type]
        assert watch.answering() == site.workers
        desk = WorkersDesk(watch, site.inquiry, site.woken.append)

        def one(worker: int, queued: int) -> dict[str, Any]:
            return {
                "worker": worker,
                "connections": 3,
                "websockets": 2,
                "clients": [{"id": str(worker), "queued": queued, "seconds": queued}],
                "topics": [{"hub": "h", "topic": "t", "listeners": worker}],
            }

        asked = asyncio.create_task(desk.answer({"ask": "top", "limit": 2}))
        await asyncio.sleep(0)
        site.inquiry.carry()
        site.said(1, one(1, 10))
        site.said(2, one(2, 20))
        found = await asked
        assert [client["id"] for client in found["clients"]] == ["2", "1"]
        assert found["topics"] == [{"hub": "h", "topic": "t", "listeners": 3}]
        assert (found["connections"], found["states"]["ready"]) == (6, 2)
        assert found["totals"]["connections"] == 0
        # A worker that hangs is left out.
        monkeypatch.setattr("fastws.observe.desk.ANSWER_SECONDS", 0.001)
        asked = asyncio.create_task(desk.answer({"ask": "top", "sort": "open"}))
        await asyncio.sleep(0)
        site.inquiry.carry()
        site.said(2, one(2, 20), number=2)
        assert [client["id"] for client in (await asked)["clients"]] == ["2"]
        await desk.answer({"ask": "reload"})
        assert site.woken[-1] == signal.SIGHUP


def test_a_thread_with_a_loop(caplog: pytest.LogCaptureFixture) -> None:
    where: list[str] = []

    async def begin(stack: Any) -> None:
        where.append(threading.current_thread().name)
        stack.callback(where.append, "ended")

    thread = ObservingThread(begin)
    thread.start()
    thread.stop()
    assert where == ["fastws-observe", "ended"]

    async def fail(stack: Any) -> None:
        raise ValueError("broken")

    thread = ObservingThread(fail)
    with caplog.at_level(logging.ERROR, "fastws.error"):
        thread.start()
    thread.stop()
    assert "the workers go on" in caplog.text


def test_a_worker_answers_its_supervisor(caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = (Channel(each) for each in socket.socketpair())
    membership: Any = type("Membership", (), {"row": None})()
    bus: Any = None

    def said(server: object, ask: str, values: dict[str, Any]) -> Any:
        return values["number"] + 1

    worker = SupervisedServer(theirs, membership, grace=1.0, bus=bus, answer=said)
    with caplog.at_level(logging.ERROR, "fastws.error"):
        for number, values in ((1, {"number": 4}), (2, {})):
            worker._take(Message("question", {"number": number, "ask": "inspect", "values": values}))
    answers = [message.values for message in ours.receive()]
    assert answers == [{"number": 1, "answer": 5}, {"number": 2, "answer": None}]
    assert "cannot be answered" in caplog.text
    ours.close()
    theirs.close()


def test_totals_are_told_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    pool: Any = Pool([])
    with caplog.at_level(logging.INFO, "fastws.error"):
        Watch(pool, SharedPage.create(1), None).say_totals()  # type: ignore[arg-type]
    assert "served 0 connections, 0 messages in and 0 out" in caplog.text


def test_who_a_client_is() -> None:
    class Ann:
        id = "ann" * 100

    for user, said in ((None, ""), (Ann(), Ann.id[:64]), ("bob\n", "bob\\n"), (7, "7")):
        request = type("Request", (), {"user": user})()
        connection: Any = type("Connection", (), {"ws": type("WebSocket", (), {"request": request})()})()
        assert user_of(connection) == said
    nobody: Any = type("Connection", (), {"ws": type("WebSocket", (), {"request": object()})()})()
    assert user_of(nobody) == ""
