"""Which sockets may be written past their transport, and fastws without its modules in C."""

from __future__ import annotations

import importlib
import sys

import pytest

import fastws.loop.native
from fastws.loop.native import direct_descriptor
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

    def test_without_the_c_module(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "fastws.loop._send", None)
        try:
            assert importlib.reload(fastws.loop.native).send_items is None
        finally:
            monkeypatch.undo()
            importlib.reload(fastws.loop.native)
