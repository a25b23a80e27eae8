"""What strangers send is shown so that it cannot steer a terminal; lines come in from anything."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from fastws.cli import terminal
from fastws.cli.terminal import display, printable, read_chunks, read_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("caf\xe9 \u5f39\u5e55 \U0001f680", "caf\xe9 \u5f39\u5e55 \U0001f680"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x9b2J\x7f", "\\x9b2J\\x7f"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("a\u2028b\ud800", "a\\u2028b\\ud800"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == display(text) == shown


def test_binary_messages_are_counted_and_shown_in_part() -> None:
    assert display(b"") == "binary, 0 bytes"
    assert display(b"\x00\xff") == "binary, 2 bytes: 00 ff"
    assert display(b"a" * 65) == "binary, 65 bytes: " + " ".join(["61"] * 64) + " ..."


async def read(descriptor: int, monkeypatch: pytest.MonkeyPatch, *, text: bool = True) -> list[str | bytes]:
    monkeypatch.setattr(terminal, "read_chunks", lambda _: read_chunks(descriptor))
    return [line async for line in read_lines(text=text)]


async def test_lines_of_a_file_end_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").write_bytes("one\r\n\ntw\xf6\nlast".encode())
    descriptor = os.open(tmp_path / "in", os.O_RDONLY)
    assert await read(descriptor, monkeypatch) == ["one", "", "tw\xf6", "last"]
    os.lseek(descriptor, 0, os.SEEK_SET)
    assert await read(descriptor, monkeypatch, text=False) == [b"one", b"", "tw\xf6".encode(), b"last"]
    os.close(descriptor)


async def test_what_is_not_utf8_is_still_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").write_bytes(b"\xff\n")
    descriptor = os.open(tmp_path / "in", os.O_RDONLY)
    assert await read(descriptor, monkeypatch) == ["\ufffd"]
    os.close(descriptor)


async def test_a_line_in_pieces_through_a_pipe_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    source, sink = os.pipe()
    waiting = asyncio.create_task(read(source, monkeypatch))
    for piece in (b"he", b"llo", b"\nbye\n"):
        os.write(sink, piece)
        await asyncio.sleep(0.01)
    os.close(sink)
    assert await waiting == ["hello", "bye"]
    os.close(source)


async def test_a_descriptor_that_is_closed_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await read(987, monkeypatch) == []


async def test_reading_waits_for_a_consumer_that_is_slow() -> None:
    """No more than a few reads are held, however much the input has."""
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    inputs = read_chunks(source)
    os.write(sink, b"x")
    assert await anext(inputs) == b"x"
    written = 0
    for _ in range(200):
        try:
            written += os.write(sink, b"y" * 65536)
        except BlockingIOError:
            await asyncio.sleep(0.002)
    assert written < 65536 * 40
    os.close(sink)
    assert sum([len(chunk) async for chunk in inputs]) == written
    os.close(source)
    for thread in threading.enumerate():
        if thread.name == "stdin":  # its last chunk has been read, so it is about to end
            thread.join(5)
            assert not thread.is_alive()
