"""Reads lines from the terminal, and prints received messages so that they cannot control it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import unicodedata
from collections.abc import AsyncIterator

__all__ = ["display", "printable", "read_lines"]

#: Bytes of a binary message that are shown.
MAX_SHOWN_BYTES = 64
#: Chunks that may wait while the server takes no messages.
MAX_WAITING_CHUNKS = 16

BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


async def read_lines(*, text: bool) -> AsyncIterator[str | bytes]:
    """Yield the lines of the standard input without their line ends: str with ``text``, else bytes."""
    rest = b""
    async for chunk in read_chunks(0):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield as_message(line.removesuffix(b"\r"), text=text)
    if rest:
        yield as_message(rest, text=text)


def as_message(line: bytes, *, text: bool) -> str | bytes:
    return line.decode("utf-8", "replace") if text else line


async def read_chunks(descriptor: int) -> AsyncIterator[bytes]:
    """Yield what is read from a descriptor of any kind, until its end.

    A thread reads, because an event loop cannot watch a regular file. It reads from the descriptor, because a
    thread that waits in ``sys.stdin`` at exit holds a lock that the interpreter needs.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    free = threading.Semaphore(MAX_WAITING_CHUNKS)

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            chunk = b"?"
            while chunk:
                free.acquire()
                try:
                    chunk = os.read(descriptor, 65536)
                except OSError:
                    chunk = b""
                loop.call_soon_threadsafe(queue.put_nowait, chunk)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while chunk := await queue.get():
        free.release()
        yield chunk


def display(message: str | bytes) -> str:
    """The message as one line for a terminal."""
    if isinstance(message, str):
        return printable(message)
    shown = message[:MAX_SHOWN_BYTES].hex(" ")
    more = " ..." if len(message) > MAX_SHOWN_BYTES else ""
    return f"binary, {len(message)} bytes: {shown}{more}".rstrip(": ")


def printable(text: str) -> str:
    """``text`` with all characters escaped that could control a terminal or reverse its text."""
    return "".join(char.encode("unicode_escape").decode() if can_steer(char) else char for char in text)


def can_steer(char: str) -> bool:
    """True for control characters, bidirectional controls, line separators and lone surrogates."""
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in BIDIRECTIONAL
