"""The counters of a server: they move while sockets are open, and are the sums of its connections' own."""

from __future__ import annotations

from typing import Any

import pytest

import fastws
from fastws import Hub, Route, Server
from fastws.connection.counters import CLOSES, COUNTER_NAMES, UNCOUNTED, Counters, PlainCounters
from fastws.server.shared_page import Membership, SharedPage
from tests.kit import ManualLoop, RawClient, Recorder
from tests.kit.fanout import Kernel
from tests.kit.served import opened, served
from tests.server.sites import page


def sums(server: Server, ended: dict[str, int]) -> dict[str, int]:
    """What the open WebSockets have counted, and those that have ended."""
    found = dict(ended)
    for connection in server.connections:
        if connection.ws is not None and connection.callbacks is not None:
            found["messages_received"] += connection.received_messages
            found["bytes_received"] += connection.received_bytes
            found["messages_sent"] += connection.outbox.sent_messages
            found["bytes_sent"] += connection.outbox.sent_bytes
            found["messages_dropped"] += connection.outbox.dropped
    return found


class Life:
    """A server with clients; after each step its counters have to be what its connections have counted."""

    def __init__(self, loop: ManualLoop, server: Server) -> None:
        self.loop, self.server = loop, server
        self.ended = dict.fromkeys(
            ("messages_received", "bytes_received", "messages_sent", "bytes_sent", "messages_dropped"), 0
        )
        told = server.websocket_closed

        def closed(connection: Any) -> None:
            self.ended["messages_received"] += connection.received_messages
            self.ended["bytes_received"] += connection.received_bytes
            self.ended["messages_sent"] += connection.outbox.sent_messages
            self.ended["bytes_sent"] += connection.outbox.sent_bytes
            self.ended["messages_dropped"] += connection.outbox.dropped
            told(connection)

        server.websocket_closed = closed  # type: ignore[method-assign]

    def step(self) -> dict[str, int]:
        self.loop.settle()
        counted = self.server.counters.as_dict()
        expected = sums(self.server, self.ended)
        assert {name: counted[name] for name in expected} == expected
        return counted


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_they_move_while_sockets_are_open(
    loop: ManualLoop, monkeypatch: pytest.MonkeyPatch, direct: bool, compression: str | None
) -> None:
    handler = Recorder(echo=True)
    hub = Hub(broker="memory", policy="drop_oldest")
    routes = [Route("/", handler), Route("/page", http=page)]
    server = served(loop, routes, limits={"send_queue": 2}, compression=compression and fastws.Compression())
    kernel = Kernel() if direct else None
    if kernel is not None:
        kernel.patch(monkeypatch)
    life = Life(loop, server)
    clients = [RawClient(server, loop, kernel=kernel) for _ in range(3)]
    offer = ("Sec-WebSocket-Extensions: permessage-deflate",) if compression else ()
    for client in clients:
        client.get("/page")
        loop.settle()
        assert client.response().status == 200
        assert client.upgrade("/", *offer).status == 101
        hub.subscribe(handler.ws, "topic")
        life.step()
    assert life.step()["bytes_sent"] == 0
    clients[0].text("one")
    assert life.step()["messages_received"] == 1
    assert life.step()["messages_sent"] == 1
    clients[1].binary(b"two" * 50_000)
    hub.publish("topic", "to all")
    hub.publish("topic", "é" * 300)
    assert life.step()["messages_sent"] == 2 + 2 * 3
    clients[2].stall()
    for number in range(9):
        hub.publish("topic", str(number))
        handler.sockets[2].send_nowait("to one")
        life.step()
    dropped = life.step()["messages_dropped"]
    assert dropped > 0
    clients[2].read()
    counted = life.step()
    assert counted["messages_dropped"] >= dropped and counted["websockets_closed"] == 0
    clients[0].close()
    clients[1].vanish()
    handler.sockets[2].close_nowait()
    life.step()
    for client in clients:
        client.transport.lose()
    counted = life.step()
    assert counted["websockets_opened"] == counted["websockets_closed"] == 3
    assert counted["http_responses"] == 3


def test_a_fragmented_answer_is_one_message(loop: ManualLoop) -> None:
    async def parts(ws: fastws.WebSocket) -> None:
        await ws.send(["a", "b"])
        await ws.wait_closed()

    server = served(loop, parts)
    life = Life(loop, server)
    opened(loop, server)
    assert life.step()["messages_sent"] == 1


def test_early_frames_count_and_the_answer_to_the_handshake_does_not(loop: ManualLoop) -> None:
    seen: list[int] = []

    class Early(Recorder):
        def on_open(self, ws: fastws.WebSocket) -> None:
            ws.send_nowait("hello")
            seen.append(server.counters.bytes_sent)

    server = served(loop, Early())
    RawClient(server, loop).upgrade("/", early=b"\x81\x82\0\0\0\0hi")
    loop.settle()
    assert seen == [0]
    counted = server.counters
    assert (counted.messages_received, counted.bytes_received) == (1, 8)
    assert (counted.messages_sent, counted.bytes_sent) == (1, 7)


def test_what_is_no_websocket_of_a_server_counts_nowhere(loop: ManualLoop) -> None:
    handler = Recorder(echo=True)
    server = served(loop, [Route("/", handler), Route("/page", http=page)])
    client = opened(loop, server)
    RawClient(server, loop).get("/page")
    client.text("x")
    client.close()
    loop.settle()
    before = server.counters.as_dict()
    assert before["bytes_sent"] == 3
    client.send(b"more")
    loop.settle()
    assert server.counters.as_dict() == before


def test_two_servers_count_for_themselves(loop: ManualLoop) -> None:
    one, two = served(loop, Recorder()), served(loop, Recorder())
    opened(loop, one).text("x")
    loop.settle()
    assert (one.counters.messages_received, two.counters.messages_received) == (1, 0)


def test_under_workers_a_server_has_its_own_and_the_totals(loop: ManualLoop) -> None:
    shared = SharedPage.create(3)
    servers = [served(loop, Recorder(echo=True)) for _ in range(2)]
    for server, row in zip(servers, shared.rows, strict=False):
        assert server.totals() == server.counters.as_dict()
        server.share(Membership(shared, row))
        opened(loop, server).text("x")
    opened(loop, servers[0])
    loop.settle()
    assert [server.counters.connections for server in servers] == [2, 1]
    for server in servers:
        totals = server.totals()
        assert (totals["connections"], totals["messages_received"], totals["messages_sent"]) == (3, 2, 2)
    assert [row.connections for row in shared.rows] == [2, 1, 0]
    assert not servers[0].is_full()


@pytest.mark.parametrize("kind", [Counters, PlainCounters])
class TestMemory:
    def test_they_are_those_of_the_types(self, kind: Any) -> None:
        counters = kind()
        assert tuple(counters.as_dict()) == COUNTER_NAMES
        for number, name in enumerate(COUNTER_NAMES):
            setattr(counters.row, name, number)
        memory = memoryview(bytearray(256))
        counters.share(memory)
        assert list(counters.as_dict().values()) == list(range(len(COUNTER_NAMES)))
        assert memory.cast("q").tolist()[: len(COUNTER_NAMES)] == list(range(len(COUNTER_NAMES)))
        assert repr(counters) == f"Counters({counters.as_dict()})"

    @pytest.mark.parametrize(
        ("memory", "error"),
        [
            (memoryview(bytes(256)), BufferError),
            (memoryview(bytearray(8 * len(COUNTER_NAMES) - 1)), ValueError),
        ],
    )
    def test_what_is_no_memory_for_them(self, kind: Any, memory: memoryview, error: type[Exception]) -> None:
        counters = kind()
        counters.row.evicted += 1
        with pytest.raises(error):
            counters.share(memory)
        assert counters.evicted == 1

    def test_closes_have_a_place_each(self, kind: Any) -> None:
        counters, memory = kind(), memoryview(bytearray(8 * len(CLOSES)))
        assert not counters.peer_closed(1000), "nobody asks for it"
        counters.count_closes(memory)
        for code in range(900, 5100):
            assert counters.peer_closed(code) == (code in range(1000, 1016) or code in range(3000, 5000))
            assert counters.server_closed(code) == (code in range(1000, 1016))
        assert list(memory.cast("q")) == [1] * 32 + [1000, 1000]
        for wrong, error in (
            (memory.toreadonly(), BufferError),
            (memory[8:], ValueError),
            (memoryview(b""), BufferError),
        ):
            with pytest.raises(error):
                counters.count_closes(wrong)
        if kind is Counters:
            for close in (counters.peer_closed, counters.server_closed):
                with pytest.raises(TypeError):
                    close("1000")


def test_wrong_use_of_the_counters_in_c() -> None:
    counters: Any = Counters()
    if type(counters) is PlainCounters:
        pytest.skip("built without a C compiler")
    with pytest.raises(TypeError):
        Counters(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Counters(connections=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        del counters.evicted
    with pytest.raises(TypeError):
        counters.evicted = "many"
    with pytest.raises(OverflowError):
        counters.evicted = 1 << 64
    with pytest.raises(TypeError):
        counters.share(3)
    with pytest.raises(ValueError, match="multiple of 8"):
        counters.share(memoryview(bytearray(256))[1:])
    assert set(counters.as_dict().values()) == {0}
    memory = bytearray(256)
    counters.share(memory)
    with pytest.raises(BufferError):
        memory.clear()
    counters.share(bytearray(256))
    memory.clear()


def test_nobody_reads_what_is_not_counted() -> None:
    assert isinstance(UNCOUNTED, Counters)
