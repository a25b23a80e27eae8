"""What an application may hand to a route, and how a coroutine is run."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import Any

import pytest

import fastws
from fastws import ConnectionClosedError, Handler, Server, WebSocket
from fastws.connection.handlers import Callbacks, CoroutineHandler, as_handler
from fastws.testing.wire import CLOSE, TEXT
from tests.conftest import Run
from tests.kit import ManualLoop, RawClient
from tests.kit.served import QUIET


async def coroutine(ws: WebSocket) -> None:
    """Does nothing."""


class Callable:
    async def __call__(self, ws: WebSocket) -> None: ...


class TestAsHandler:
    def test_handlers(self) -> None:
        handler = Handler()
        assert as_handler(handler) is handler
        assert isinstance(as_handler(Handler), Handler)

    @pytest.mark.parametrize("given", [coroutine, Callable(), functools.partial(coroutine)])
    def test_coroutines(self, given: Any) -> None:
        assert isinstance(as_handler(given), CoroutineHandler)

    @pytest.mark.parametrize("given", [None, 5, "echo", lambda ws: None, object, int, [coroutine]])
    def test_what_is_none(self, given: Any) -> None:
        with pytest.raises(TypeError, match="a handler is"):
            as_handler(given)

    def test_what_cannot_be_called_so(self) -> None:
        async def two(ws: WebSocket, path: str) -> None: ...
        async def none() -> None: ...

        class Short(Handler):
            def on_message(self, ws: WebSocket) -> None: ...  # type: ignore[override]

        for given in (two, none):
            with pytest.raises(TypeError, match=rf"handler {given.__name__} is called with \(ws\); it takes"):
                as_handler(given)
        with pytest.raises(TypeError, match=r"Short.on_message is called with \(ws, message\)"):
            as_handler(Short)

    def test_what_has_no_signature_is_believed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def signature(function: object) -> None:
            raise ValueError("no signature found")

        monkeypatch.setattr("inspect.signature", signature)
        assert isinstance(as_handler(coroutine), CoroutineHandler)

    @pytest.mark.parametrize("name", ["on_message", "on_close", "on_writable", "on_gap", "on_sync"])
    def test_callbacks_but_on_open_are_not_async(self, name: str) -> None:
        async def asynchronous(*args: Any) -> None: ...

        class Asynchronous:
            async def __call__(self, *args: Any) -> None: ...

        for given in (asynchronous, Asynchronous(), staticmethod(functools.partial(asynchronous))):
            with pytest.raises(TypeError, match=rf"Wrong.{name} is async; of the callbacks only on_open may"):
                as_handler(type("Wrong", (Handler,), {name: given}))
            as_handler(type("Right", (Handler,), {"on_open": given}))

    @pytest.mark.parametrize(
        "name", ["on_open", "on_message", "on_close", "on_writable", "on_gap", "on_sync"]
    )
    def test_a_callback_of_which_nothing_would_run(self, name: str) -> None:
        def generator(*args: Any) -> Any:
            yield

        async def asynchronous(*args: Any) -> Any:
            yield

        for given in (generator, asynchronous):
            with pytest.raises(TypeError, match=rf"Wrong.{name} has a yield"):
                as_handler(type("Wrong", (Handler,), {name: given}))

    def test_the_defaults_do_nothing(self) -> None:
        callbacks = Callbacks(Handler())
        ws: Any = None
        assert callbacks.on_message(ws, "x") is None
        assert (callbacks.on_open, callbacks.on_close, callbacks.on_writable) == (None, None, None)
        assert callbacks.tasks == set()
        handler = Handler()
        for result in (handler.on_open(ws), handler.on_close(ws, 1000, ""), handler.on_writable(ws)):
            assert result is None

    @pytest.mark.parametrize("name", ["on_open", "on_close", "on_writable"])
    def test_only_what_a_handler_has_is_called(self, name: str) -> None:
        handler = type("Own", (Handler,), {"__slots__": (), name: lambda self, *args: "own"})()
        callbacks = Callbacks(handler)
        assert getattr(callbacks, name)(None) == "own"
        assert (
            sum(getattr(callbacks, other) is not None for other in ("on_open", "on_close", "on_writable"))
            == 1
        )
        given = Handler.__new__(type("Given", (Handler,), {}))
        setattr(given, name, lambda *args: "given")
        assert getattr(Callbacks(given), name)(None) == "given"

    def test_tasks(self) -> None:
        handler = CoroutineHandler(coroutine)
        assert Callbacks(handler).tasks is handler.tasks
        assert Callbacks(fastws.streaming(handler)).tasks is handler.tasks

    def test_tasks_of_the_applications_own_are_its_own(self) -> None:
        class Own(Handler):
            def __init__(self) -> None:
                self.tasks = ["mine"]

        assert Callbacks(Own()).tasks == Callbacks(fastws.streaming(Own())).tasks == set()


class TestCoroutines:
    def open(self, loop: ManualLoop, function: Any) -> RawClient:
        async def start() -> Server:
            return await fastws.serve(function, **QUIET)

        self.server = loop.run(start())
        client = RawClient(self.server, loop)
        client.upgrade()
        return client

    def end(self, client: RawClient) -> tuple[int, str]:
        """Code and reason of the close frame that the server sent."""
        last = client.frames()[-1]
        assert last.opcode == CLOSE
        return last.close_code, last.close_reason

    def test_closes_when_it_returns(self, loop: ManualLoop) -> None:
        async def greet(ws: WebSocket) -> None:
            await ws.send("hello")

        client = self.open(loop, greet)
        hello, bye = client.frames()
        assert (hello.opcode, bye.close_code) == (TEXT, 1000)

    def test_closes_when_it_raises(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        async def fail(ws: WebSocket) -> None:
            raise ValueError("broken")

        assert self.end(self.open(loop, fail)) == (1011, "internal error")
        assert "broken" in caplog.text
        assert len(caplog.records) == 1

    def test_its_own_close_stands(self, loop: ManualLoop) -> None:
        async def leave(ws: WebSocket) -> None:
            ws.close_nowait(4000, "enough")
            raise ValueError("too late to matter")

        assert self.end(self.open(loop, leave)) == (4000, "enough")

    def test_the_end_of_the_connection_is_no_error(
        self, loop: ManualLoop, caplog: pytest.LogCaptureFixture
    ) -> None:
        said: list[Any] = []

        async def listen(ws: WebSocket) -> None:
            try:
                await ws.recv()
            except ConnectionClosedError as exc:
                said.append(exc.code)
                raise

        client = self.open(loop, listen)
        client.transport.lose()
        loop.settle()
        assert said == [1006]
        assert caplog.records == []

    def test_cancelled(self, loop: ManualLoop) -> None:
        async def wait(ws: WebSocket) -> None:
            await ws.recv()

        client = self.open(loop, wait)
        (task,) = asyncio.all_tasks(loop)
        task.cancel()
        loop.settle()
        assert self.end(client) == (1011, "internal error")
        assert task.cancelled()

    @pytest.mark.parametrize("wrap", [lambda function: function, fastws.streaming])
    def test_one_that_outlives_its_connection_ends_with_the_server(self, loop: ManualLoop, wrap: Any) -> None:
        said: list[str] = []

        async def linger(ws: WebSocket) -> None:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                said.append("cancelled")
                raise

        client = self.open(loop, wrap(linger))
        client.transport.lose()
        loop.advance(1)
        assert said == []
        loop.run(self.server.shutdown(2))
        assert said == ["cancelled"]
        assert asyncio.all_tasks(loop) == set()

    def test_each_connection_has_its_own(self, run: Run) -> None:
        async def scenario() -> list[str]:
            async def count(ws: WebSocket) -> None:
                async for message in ws:
                    ws.state["count"] = ws.state.get("count", 0) + 1
                    await ws.send(f"{message!s} {ws.state['count']}")

            server = await fastws.serve(count, **QUIET)
            clients = [await fastws.connect(f"ws://server:{server.port}/", proxy=None) for _ in range(3)]
            got = []
            for client in clients:
                for message in "ab":
                    await client.send(message)
                    got.append(await client.recv())
            await server.shutdown()
            return got  # type: ignore[return-value]

        assert run(scenario()) == ["a 1", "b 2"] * 3


def test_the_signature_of_a_handler_is_that_of_its_callbacks() -> None:
    names = {name for name, _ in inspect.getmembers(Handler, inspect.isfunction)}
    assert names == {"on_open", "on_message", "on_close", "on_writable", "on_gap", "on_sync"}
