"""Which sockets may be written past their transport, and fastws without its modules in C."""

from __future__ import annotations

import asyncio
import errno
import importlib
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

import fastws.loop.native
from fastws.loop.event_loops import loop_factory
from fastws.loop.native import direct_descriptor, write_at_once
from tests.kit import Kernel, ManualLoop, MemoryTransport


class TestDescriptor:
    """Which sockets may be written past their transport."""

    def test_plain_tcp_only(self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        kernel = Kernel()
        monkeypatch.setattr(fastws.loop.native, "send_items", kernel.send_items)
        plain = MemoryTransport(loop, None, socket=kernel.open())
        assert direct_descriptor(plain) == 100
        assert direct_descriptor(MemoryTransport(loop, None)) == -1
        assert direct_descriptor(MemoryTransport(loop, None, socket=kernel.open(), ssl_object=object())) == -1
        monkeypatch.setattr(fastws.loop.native, "send_items", None)
        assert direct_descriptor(plain) == -1

    def test_that_of_a_transport_that_closes_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It may be that of another socket by now."""
        asked, written = list[int](), list[bytes]()
        monkeypatch.setattr(
            fastws.loop.native, "send_items", lambda fd, item: asked.append(fd) or len(item[0])
        )
        for is_closing in (False, True):
            transport = SimpleNamespace(
                get_write_buffer_size=lambda: 0,
                is_closing=lambda is_closing=is_closing: is_closing,
                write=written.append,
            )
            write_at_once(transport, 7, b"%d" % is_closing)
        assert (asked, written) == ([7], [b"1"])

    def test_a_socket_that_takes_nothing_is_left_to_its_transport(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[bytes] = []
        monkeypatch.setattr(fastws.loop.native, "send_items", lambda fd, item: (1, -errno.EPIPE, b""))
        transport = SimpleNamespace(
            get_write_buffer_size=lambda: 0, is_closing=lambda: False, write=written.append
        )
        write_at_once(transport, 7, b"x")
        assert written == [b"x"]

    def test_without_the_c_module(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "fastws.loop._send", None)
        try:
            assert importlib.reload(fastws.loop.native).send_items is None
        finally:
            monkeypatch.undo()
            importlib.reload(fastws.loop.native)


@pytest.mark.live
@pytest.mark.parametrize("make", [asyncio.new_event_loop, loop_factory()])
def test_what_is_written_at_once_comes_whole_and_in_order(
    make: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Also where the socket takes only a part of it."""
    wanted = [b"a" * 10, b"b" * 20_000_000, b"c" * 10, b"d" * 10]

    async def write() -> bytes:
        found: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0)
            found.set_result(await reader.read(-1))
            writer.close()

        async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            transport, descriptor = writer.transport, direct_descriptor(writer.transport)
            assert descriptor >= 0
            for each in wanted:
                write_at_once(transport, descriptor, each)
            assert transport.get_write_buffer_size()
            transport.close()
            return await found

    with asyncio.Runner(loop_factory=make) as runner:
        assert runner.run(write()) == b"".join(wanted)
