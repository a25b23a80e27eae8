"""Which event loop a program of ours runs."""

from __future__ import annotations

import asyncio
import sys

import pytest

from fastws.loop.event_loops import loop_factory, loop_name


def test_asyncios_own() -> None:
    assert (loop_name("asyncio"), loop_factory("asyncio")) == ("asyncio", asyncio.new_event_loop)


def test_uvloop_where_it_is_installed() -> None:
    uvloop = pytest.importorskip("uvloop")
    assert (loop_name(), loop_name("uvloop")) == ("uvloop", "uvloop")
    assert loop_factory() is loop_factory("uvloop") is uvloop.new_event_loop


def test_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert (loop_name(), loop_factory()) == ("asyncio", asyncio.new_event_loop)
    with pytest.raises(ImportError):
        loop_factory("uvloop")


def test_a_uvloop_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastws.loop.event_loops.find_spec", lambda name: "found")
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is asyncio.new_event_loop
    with pytest.raises(ImportError):
        loop_factory("uvloop")
