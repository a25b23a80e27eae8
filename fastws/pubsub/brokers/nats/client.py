"""nats-py's client, as a line uses it: what comes is handed on at once, and TLS is no offer but a demand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.protocol.parser import AWAITING_CONTROL_LINE

__all__ = ["Message", "Opened", "Reading"]

log = logging.getLogger("fastws.error")

#: What headers begin with. Behind it may stand a number and what it means.
HEAD = "NATS/1.0"
#: Bytes of the line before a message, at most.
MOST_LINE = 4096


class Message:
    """What somebody has sent."""

    __slots__ = ("_head", "data", "reply", "subject")

    def __init__(self, subject: str, reply: str, data: bytes, head: bytes = b"") -> None:
        self.subject = subject
        #: The subject for an answer, or "".
        self.reply = reply
        self.data = data
        self._head = head

    def number(self, name: bytes) -> int:
        """Return the number in a header. Raises ``ValueError`` where there is none."""
        _, _, rest = self._head.partition(b"\r\n%b: " % name)
        return int(rest.partition(b"\r\n")[0])

    @property
    def headers(self) -> dict[str, str]:
        """The headers by their names, and ``Status`` and ``Description`` where the first line has these.

        They are read at each use: the library reads those of every message, with its parser of mail, which
        takes longer than all else.
        """
        first, *lines = self._head.decode("utf-8", "replace").split("\r\n")
        found = {}
        status, _, description = first.removeprefix(HEAD).strip().partition(" ")
        if status:
            found["Status"] = status
        if description:
            found["Description"] = description
        for line in lines:
            name, colon, value = line.partition(":")
            if colon:
                found[name] = value.strip()
        return found


class Opened(Client):
    """A client that does not go on in the clear where TLS was asked for, and says why it was not let in."""

    must_be_tls = False
    has_certificate = False

    def __init__(self) -> None:
        super().__init__()
        #: By the number of the subscription: what is called with its messages, at once. The library's own
        #: way, a queue and a task for each, lets a message wait for another turn of the loop.
        self.heard: dict[int, Callable[[Message], None]] = {}

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        self.take(sid, subject, reply, data, headers or b"")

    def take(self, sid: int, subject: bytes, reply: bytes, data: bytes, head: bytes) -> None:
        """Hand a message on."""
        heard = self.heard.get(sid)
        if heard is None:
            return  # it was left meanwhile
        try:
            heard(Message(subject.decode(), reply.decode(), data, head))
        except Exception:
            log.exception("a message of NATS cannot be taken")

    def _process_info(self, info: dict[str, Any], initial_connection: Any = None) -> Any:
        # In older versions of the library it is no coroutine: what it returns is handed on.
        if self.must_be_tls and not info.get("tls_required"):
            if not info.get("tls_available"):
                raise nats.errors.Error("it does not speak TLS")
            info["tls_required"] = True
        if info.get("tls_verify") and not self.has_certificate:
            raise nats.errors.Error("it asks for a certificate: cert=FILE and key=FILE")
        return super()._process_info(info, bool(initial_connection))


class Reading(asyncio.Protocol):
    """Takes whole messages at once. All else goes the library's way: a buffer, and a task that reads it.

    Args:
        client: One that is connected. Its transport has this protocol from now on.
    """

    def __init__(self, client: Opened) -> None:
        self._client = client
        streams: Any = client._transport
        self._reader = streams._io_reader
        self._parser: Any = client._ps
        transport = streams._io_writer.transport
        self._library: asyncio.Protocol = transport.get_protocol()
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Take what the server says."""
        parser = self._parser
        if not self._reader._buffer and not parser.buf and parser.state == AWAITING_CONTROL_LINE:
            data = self._take_whole(data)
        if data:
            self._library.data_received(data)

    def _take_whole(self, data: bytes) -> bytes:
        """Take the messages that it begins with; return what is behind them."""
        at = 0
        while data.startswith((b"MSG ", b"HMSG "), at):
            end = data.find(b"\r\n", at, at + MOST_LINE)
            kind, *words = data[at : max(end, at)].split(b" ")
            sizes, start = 1 + (kind == b"HMSG"), end + 2
            try:
                subject, sid, *reply = words[:-sizes]
                size, head = int(words[-1]), start + (int(words[-2]) if sizes == 2 else 0)
                number = int(sid)
            except ValueError:
                break  # the library says what is wrong with it
            stop = start + size
            if len(reply) > 1 or not start <= head <= stop or data[stop : stop + 2] != b"\r\n":
                break
            self._client.take(number, subject, b"".join(reply), data[head:stop], data[start:head])
            at = stop + 2
        return data[at:]

    def eof_received(self) -> bool | None:
        """Hand it on."""
        return self._library.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand it on."""
        self._library.connection_lost(exc)

    def pause_writing(self) -> None:
        """Hand it on."""
        self._library.pause_writing()

    def resume_writing(self) -> None:
        """Hand it on."""
        self._library.resume_writing()
