"""Takes messages out of what a NATS server says, at once, and leaves all else to nats-py.

The library reads in a task of its own, which runs a turn of the loop later. What is no whole message goes
that way, and all behind it too until the library has taken it: the order stays.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

__all__ = ["Tap", "headers_of"]

#: ``MSG SUBJECT SID [REPLY] BYTES``; and HMSG, with the bytes of the headers before those of everything.
MESSAGE = re.compile(rb"MSG ([^ \r\n]+) (\d{1,18}) (?:([^ \r\n]+) )?(\d{1,9})\r\n")
WITH_HEADERS = re.compile(rb"HMSG ([^ \r\n]+) (\d{1,18}) (?:([^ \r\n]+) )?(\d{1,9}) (\d{1,9})\r\n")
#: How the headers of a message begin that says no status.
PLAIN_HEAD = b"NATS/1.0\r\n"
END = b"\r\n"
#: Messages that are taken before others have a turn: the library does the rest.
MESSAGES_AT_ONCE = 64
#: Called with the number of the subscription, subject, reply, data and headers.
Take = Callable[[int, bytes, bytes, bytes, bytes], None]


class Tap(asyncio.Protocol):
    """Stands between the transport and the library's reader.

    Args:
        client: The library's client, which is connected.
        take: What takes messages.
    """

    def __init__(self, client: Any, take: Take) -> None:
        self._parser = client._ps
        self._take = take
        writer = client._transport._io_writer
        self._reader = client._transport._io_reader
        self._library: Any = writer._protocol
        writer.transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Take whole messages; the rest is the library's."""
        at = 0 if self._parser.buf or self._reader._buffer else self._take_messages(data)
        if at < len(data):
            self._library.data_received(data[at:] if at else data)

    def _take_messages(self, data: bytes) -> int:
        """Return where what is no whole message begins."""
        at, size = 0, len(data)
        for _ in range(MESSAGES_AT_ONCE):
            found, head = MESSAGE.match(data, at), 0
            if found is None:
                found = WITH_HEADERS.match(data, at)
                if found is None:
                    break
                head = int(found[4])
            start = found.end()
            stop = start + int(found[found.re.groups])
            if stop + len(END) > size:
                break
            behind = start + head
            self._take(int(found[2]), found[1], found[3] or b"", data[behind:stop], data[start:behind])
            at = stop + len(END)
        return at

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the library know."""
        self._library.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """Let the library know."""
        answer: bool | None = self._library.eof_received()
        return answer

    def pause_writing(self) -> None:
        """Let the library know."""
        self._library.pause_writing()

    def resume_writing(self) -> None:
        """Let the library know."""
        self._library.resume_writing()


def headers_of(head: bytes) -> dict[str, str] | None:
    """Return the headers of a message; None where they say a status, or are none that a stream writes."""
    if not head.startswith(PLAIN_HEAD):
        return None
    found = {}
    for line in head[len(PLAIN_HEAD) :].decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            found[name] = value.strip()
    return found
