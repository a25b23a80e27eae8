"""Lines in from the terminal, and what strangers sent out to it in a form that cannot steer it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import unicodedata
from collections.abc import AsyncIterator

__all__ = ["lines", "printable", "show"]

#: Bytes of a binary message that are shown; the rest is counted.
SHOWN_BYTES = 64
#: Reads that may wait while the server does not take what was read.
WAITING_CHUNKS = 16

BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


async def lines(*, text: bool) -> AsyncIterator[str | bytes]:
    """The lines of the standard input without their ends."""
    rest = b""
    async for chunk in chunks(0):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield as_message(line.removesuffix(b"\r"), text=text)
    if rest:
        yield as_message(rest, text=text)


def as_message(line: bytes, *, text: bool) -> str | bytes:
    return line.decode("utf-8", "replace") if text else line


async def chunks(descriptor: int) -> AsyncIterator[bytes]:
    """What can be read from a descriptor of any kind, until its end.

    A thread reads, because a regular file cannot be watched by an event loop; it reads the descriptor,
    because a thread that waits in ``sys.stdin`` at exit holds a lock the interpreter needs.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    free = threading.Semaphore(WAITING_CHUNKS)

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody wants more
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


def show(message: str | bytes) -> str:
    """A message as one line of a terminal."""
    if isinstance(message, str):
        return printable(message)
    shown = message[:SHOWN_BYTES].hex(" ")
    more = " ..." if len(message) > SHOWN_BYTES else ""
    return f"binary, {len(message)} bytes: {shown}{more}".rstrip(": ")


def printable(text: str) -> str:
    """``text`` with what could steer a terminal, or turn its writing around, escaped."""
    return "".join(char.encode("unicode_escape").decode() if steers(char) else char for char in text)


def steers(char: str) -> bool:
    """Control characters, bidirectional controls, line separators and lone surrogates."""
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in BIDIRECTIONAL
