"""An ASGI application's HTTP on real sockets: bodies in pieces, readers that are slow, and ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws.asgi.scope import ClientDisconnected
from tests.asgi.served import BODY, START, Client, answering, receive_nothing, served
from tests.kit import until

pytestmark = pytest.mark.live


class TestFraming:
    async def test_one_piece_has_a_length_and_the_connection_goes_on(self) -> None:
        async with served(answering(b"hello")) as client:
            for _ in range(2):
                client.ask()
                status, headers = await client.head()
                assert (status, headers["content-length"]) == (200, "5")
                assert headers["date"].endswith(" gmt")
                assert await client.exactly(5) == b"hello"

    async def test_pieces_go_in_chunks(self) -> None:
        async with served(answering(b"hel", b"", b"lo")) as client:
            client.ask()
            status, headers = await client.head()
            assert (status, headers["transfer-encoding"]) == (200, "chunked")
            assert await client.exactly(20) == b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
            client.ask("/", "Connection: close")
            assert (await client.head())[0] == 200

    async def test_pieces_with_a_length_are_not_chunked(self) -> None:
        async with served(answering(b"hel", b"lo", headers=[(b"Content-Length", b"5")])) as client:
            client.ask()
            _, headers = await client.head()
            assert headers["content-length"] == "5" and "transfer-encoding" not in headers
            assert await client.exactly(5) == b"hello"

    async def test_http_1_0_ends_with_the_connection(self) -> None:
        async with served(answering(b"hel", b"lo")) as client:
            client.ask(version="1.0")
            _, headers = await client.head()
            assert headers["connection"] == "close" and "transfer-encoding" not in headers
            assert await client.rest() == b"hello"

    @pytest.mark.parametrize(
        ("method", "status", "pieces"),
        [("HEAD", 200, [b"hello"]), ("GET", 204, [b"x"]), ("GET", 304, [b"x", b"y"])],
    )
    async def test_responses_without_a_body(self, method: str, status: int, pieces: list[bytes]) -> None:
        async with served(answering(*pieces, status=status)) as client:
            for _ in range(2):  # a body that was sent would be in front of the second head
                client.ask(method=method)
                assert (await client.head())[0] == status

    async def test_requests_behind_one_another_are_answered_in_order(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(0.05 if scope["path"] == "/slow" else 0)
            await answering(scope["path"].encode())(scope, receive, send)

        async with served(app, lifespan="off") as client:
            client.ask("/slow")
            client.ask("/fast")
            client.ask("/last", "Connection: close")
            answers = (await client.rest()).decode()
        assert [answers.index(path) for path in ("/slow", "/fast", "/last")] == sorted(
            answers.index(path) for path in ("/slow", "/fast", "/last")
        )

    async def test_the_close_that_the_application_asks_for(self) -> None:
        async with served(answering(b"bye", headers=[(b"connection", b"close")])) as client:
            client.ask()
            await client.head()
            assert await client.rest() == b"bye"


class TestBodies:
    async def test_a_body_comes_in_pieces_and_waits_in_the_socket(self) -> None:
        """8 MiB to an application that does not read yet: most of it cannot be sent."""
        go, sizes = asyncio.Event(), []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await go.wait()
            more = True
            while more:
                event = await receive()
                more = event["more_body"]
                sizes.append(len(event["body"]))
            await answering(b"done")(scope, lambda: asyncio.sleep(0, {}), send)

        size = 64 * 1024 * 1024
        async with served(app, lifespan="off") as client:
            client.ask("/", f"Content-Length: {size}", method="POST")
            client.writer.write(bytes(size))
            await asyncio.sleep(0.3)
            assert client.writer.transport.get_write_buffer_size() > size // 2
            go.set()
            assert (await client.head())[0] == 200
        assert sum(sizes) == size
        assert max(sizes) <= 512 * 1024

    async def test_a_chunked_body(self) -> None:
        got = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            event = await receive()
            while event["more_body"]:
                got.append(event["body"])
                event = await receive()
            got.append(event["body"])
            await answering(b"ok")(scope, lambda: asyncio.sleep(0, {}), send)

        async with served(app, lifespan="off") as client:
            client.ask("/", "Transfer-Encoding: chunked", method="POST")
            for chunk in (b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"):
                client.writer.write(chunk)
                await asyncio.sleep(0.02)
            assert (await client.head())[0] == 200
        assert b"".join(got) == b"abcde"

    @pytest.mark.parametrize("reads", [True, False])
    async def test_100_continue_only_when_the_application_reads(self, reads: bool) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if reads:
                await receive()
            await answering(b"ok")(scope, lambda: asyncio.sleep(0, {}), send)

        async with served(app, lifespan="off") as client:
            client.ask("/", "Content-Length: 2", "Expect: 100-continue", method="POST")
            status, _ = await client.head()
            assert status == (100 if reads else 200)
            if reads:
                client.writer.write(b"ab")
                assert (await client.head())[0] == 200

    async def test_a_limit_that_is_asked_for(self) -> None:
        async with served(answering(b"ok"), max_body_size=10) as client:
            client.ask("/", "Content-Length: 11", method="POST")
            assert (await client.head())[0] == 413

    async def test_a_body_that_is_too_slow(self) -> None:
        events = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            events.append(await receive())
            events.append(await receive())

        async with served(app, lifespan="off", timeouts={"body": 0.2}) as client:
            client.ask("/", "Content-Length: 11", method="POST")
            client.writer.write(b"a")
            assert (await client.head())[0] == 408
        assert [event["type"] for event in events] == ["http.request", "http.disconnect"]

    async def test_a_broken_chunk(self) -> None:
        async with served(answering(b"ok")) as client:
            client.ask("/", "Transfer-Encoding: chunked", method="POST")
            client.writer.write(b"nonsense\r\n")
            assert (await client.head())[0] == 400
            assert b"ok" not in await client.rest()


class TestEnds:
    async def test_receive_tells_that_the_client_is_gone_and_send_raises(self) -> None:
        noted: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            event = await receive()
            try:
                for _ in range(1000):
                    await send({"type": "http.response.body", "body": b"more", "more_body": True})
                    await asyncio.sleep(0.001)
            except ClientDisconnected as exc:
                noted.set_result([event["type"], isinstance(exc, OSError)])
                raise

        async with served(app, lifespan="off") as client:
            client.ask()
            await client.head()
            client.writer.transport.abort()
            async with asyncio.timeout(10):
                assert await noted == ["http.disconnect", True]

    async def test_a_client_that_ends_its_side_still_has_its_answer(self) -> None:
        async with served(answering(b"hel", b"lo")) as client:
            client.ask()
            client.writer.write_eof()
            assert (await client.head())[0] == 200
            assert b"hel" in await client.rest()

    async def test_receive_after_the_response(self) -> None:
        events = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await answering(b"ok")(scope, receive, send)
            events.append(await receive())

        async with served(app, lifespan="off") as client:
            client.ask()
            await client.head()
            await client.exactly(2)
        assert events == [{"type": "http.disconnect"}]

    async def test_send_waits_for_a_client_that_does_not_read(self) -> None:
        sent = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for number in range(64):
                await send({"type": "http.response.body", "body": bytes(1024 * 1024), "more_body": True})
                sent.append(number)
            await send({"type": "http.response.body"})

        async with served(app, lifespan="off") as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.ask()
            await until(lambda: sent)
            await asyncio.sleep(0.3)  # what a send that does not wait would need for all
            assert len(sent) < 60
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            async with asyncio.timeout(20):
                size = 0
                while not (piece := await client.reader.read(1 << 20)).endswith(b"0\r\n\r\n"):
                    size += len(piece)
        assert len(sent) == 64 and size > 63 * 1024 * 1024

    async def test_the_server_stops_while_a_response_is_under_way(self) -> None:
        started, go = asyncio.Event(), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            started.set()
            await go.wait()
            await answering(b"late")(scope, receive, send)

        server = await fastws.serve(fastws.ASGI(app, lifespan="off"), "127.0.0.1", access_log=False)
        client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
        client.ask()
        await started.wait()
        stopping = asyncio.create_task(server.shutdown(5))
        await asyncio.sleep(0.05)
        go.set()
        assert (await client.head())[0] == 200
        assert await client.rest() == b"late"
        client.writer.close()
        await stopping


class TestReaders:
    async def test_two_readers_share_the_body(self) -> None:
        events: list[Any] = []

        async def read(receive: Any) -> None:
            events.append(await receive())

        async def app(scope: Any, receive: Any, send: Any) -> None:
            readers = [asyncio.create_task(read(receive)) for _ in range(2)]
            await asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED)
            await answering(b"ok")(scope, receive_nothing, send)
            await asyncio.wait(readers)

        async with served(app, lifespan="off") as client:
            client.ask("/", "Content-Length: 2", method="POST")
            await asyncio.sleep(0.01)
            client.writer.write(b"ab")
            assert (await client.head())[0] == 200
            await client.exactly(2)
        assert events == [
            {"type": "http.request", "body": b"ab", "more_body": False},
            {"type": "http.disconnect"},
        ]

    async def test_a_reader_that_is_cancelled_leaves_the_others(self) -> None:
        events: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            waiting = asyncio.create_task(receive())
            await asyncio.sleep(0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):  # as Starlette's ``is_disconnected`` asks
                    await receive()
            await send(START)
            await send(BODY)
            events.append(await waiting)

        async with served(app, lifespan="off") as client:
            client.ask()
            assert (await client.head())[0] == 200
        assert events == [{"type": "http.disconnect"}]


async def test_a_unix_socket(tmp_path: Path) -> None:
    """Neither side has a host: ASGI's ``client`` is None, and ``server`` a path without a port."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], scope["client"], scope["server"]))
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})
        else:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "hello"})

    seen: list[Any] = []
    path = str(tmp_path / "socket")
    async with fastws.serve(fastws.ASGI(app, lifespan="off"), unix=path, access_log=False):
        reader, writer = await asyncio.open_unix_connection(path)
        client = Client(reader, writer)
        client.ask("/page")
        assert (await client.head())[0] == 204
        writer.close()
        async with fastws.connect("ws://localhost/", unix=path) as ws:
            assert await ws.recv() == "hello"
    assert seen == [("http", None, (path, None)), ("websocket", None, (path, None))]
