"""A light client of a feed, for crowds: it counts messages by their positions and reads nothing else.

It is asyncio's protocol itself: a client of the library would cost the generator several times more than the
server. It knows that positions of a fastws server end in a number without holes.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar, cast
from urllib.parse import quote

import orjson

from fastws.loadgen.errors import printable
from fastws.loadgen.light_frames import CLOSE, PING, PONG, TEXT, client_frame, close_of, next_frame
from fastws.loadgen.plan import LoadgenError
from fastws.loadgen.target import Target, resolve
from fastws.protocol.websocket.handshake import new_key, request_head

__all__ = ["PATIENCE", "Door", "FeedClient", "check_feed", "command", "failures", "percentiles",
           "stamped"]  # fmt: skip

#: Seconds in which a feed without a load says how its topic stands.
HELLO_SECONDS = 5.0
STAMP = b'"d":"@'
#: Seconds in which clients must have caught up.
PATIENCE = 30.0
#: Percentiles that are told, with their names.
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def command(**fields: object) -> bytes:
    """Return the frame of a command."""
    return client_frame(TEXT, orjson.dumps(fields))


def stamped(at: float, size: int) -> str:
    """Return a text of about ``size`` characters that says when it was due."""
    return f"@{at:.6f}@".ljust(size, "x")


class FeedClient(asyncio.Protocol):
    """One connection. Its figures are attributes."""

    #: Bytes of its receive buffer; 0: as the kernel likes.
    receive_buffer = 0

    def __init__(self, host: str, path: str) -> None:
        self._head = request_head(host=host, target=path, key=new_key())
        self._buffer = bytearray()
        self._opened = False
        self._transport: asyncio.Transport | None = None
        #: Is called when it has caught up, or when it has failed before.
        self.on_live: Callable[[FeedClient], None] = lambda client: None
        #: Seconds that each message took from when it was due.
        self.latencies: list[float] = []
        #: Time of the monotonic clock at which it had caught up; None before.
        self.live_at: float | None = None
        #: The offset of its last message, and where it began.
        self.offset: int | None = None
        self.since = ""
        self.messages = 0
        #: Messages that came twice or were missing, and were not told.
        self.wrong = 0
        self.resumed: bool | None = None
        #: Why it is no more; None while it is open.
        self.failure: str | None = None

    # -- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._opened and not self._read_head():
            return
        start = 0
        while (frame := next_frame(buffer, start)) is not None:
            first, begin, start = frame
            self._take(first & 0x0F, bytes(buffer[begin:start]))
        del buffer[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail("the connection was lost")

    # -- what is said ---------------------------------------------------------------------------

    def say(self, frame: bytes) -> None:
        assert self._transport is not None
        self._transport.write(frame)

    def close(self) -> None:
        """End without a word more."""
        if self._transport is not None:
            self.failure = self.failure or "closed"
            self._transport.abort()

    def fail(self, reason: str) -> None:
        """It has ended before its time."""
        if self.failure is None:
            self.failure = printable(reason)  # in the server's words
            if self.live_at is None:
                self.on_live(self)

    # -- what is heard --------------------------------------------------------------------------

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        status = bytes(self._buffer[9:12])
        if status != b"101":
            self.fail(f"the server answered {status.decode('latin-1')}")
            self.close()
            return False
        del self._buffer[: end + 4]
        self._opened = True
        return True

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.say(client_frame(PONG, payload))
        elif opcode == CLOSE:
            code, reason = close_of(payload)
            self.fail(f"closed with {code} {reason}".rstrip())
        elif b'"d":' in payload:
            self._message(payload)
        elif b'"live":' in payload:
            if self.live_at is None:
                self.live_at = time.monotonic()
                self.on_live(self)
        elif b'"sync":' in payload:
            sync = orjson.loads(payload)["sync"]
            self.since = sync["at"] or ""
            self.offset = _offset(self.since)
            self.resumed = sync["resumed"]
        elif b'"error":' in payload:
            error = orjson.loads(payload)["error"]
            self.fail(f"refused: {error['code']} {error['reason']}".rstrip())

    def _message(self, payload: bytes) -> None:
        self.messages += 1
        at = payload.find(b'"at":"')
        if at >= 0:
            offset = _offset(payload[at + 6 : payload.index(b'"', at + 6)].decode())
            if offset is not None and self.offset is not None:
                self.wrong += abs(offset - self.offset - 1)
            self.offset = offset
        stamp = payload.find(STAMP)
        if stamp >= 0 and self.live_at is not None:
            begin = stamp + len(STAMP)
            due = float(payload[begin : payload.index(b"@", begin)])
            self.latencies.append(time.monotonic() - due)


ClientType = TypeVar("ClientType", bound=FeedClient)


class Door:
    """Where clients go in: a feed, and a topic of it; "" for none."""

    def __init__(self, target: Target, topic: str, *, insecure: bool) -> None:
        self._target = target
        joint = "&" if "?" in target.path else "?"
        self._query = f"{joint}topic={quote(topic)}" if topic else ""
        self._ssl = target.context(insecure=insecure)

    def client(self, kind: type[ClientType], since: str, on_live: Callable[[FeedClient], None]) -> ClientType:
        """Return a client that is not connected yet."""
        path = self._target.path + self._query + (f"&since={quote(since)}" if since else "")
        client = kind(self._target.host, path)
        client.on_live = on_live
        return client

    async def connect(self, client: FeedClient) -> None:
        """Connect a client. Raises OSError."""
        loop, target = asyncio.get_running_loop(), self._target
        name = target.name if self._ssl is not None else None
        if not client.receive_buffer:
            await loop.create_connection(
                lambda: client, target.address, target.port, ssl=self._ssl, server_hostname=name
            )
            return
        sock = socket.socket(socket.AF_INET6 if ":" in target.address else socket.AF_INET)
        try:
            # Before it is connected: the window that TCP offers depends on it.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, client.receive_buffer)
            sock.settimeout(0)
            await loop.sock_connect(sock, (target.address, target.port))
            await loop.create_connection(lambda: client, sock=sock, ssl=self._ssl, server_hostname=name)
        except BaseException:
            sock.close()
            raise

    async def open(
        self, clients: Iterable[FeedClient], live: asyncio.Queue[FeedClient], listeners: int
    ) -> None:
        """Connect clients, and wait until so many have caught up: they put themselves into ``live``.

        Raises LoadgenError where one cannot, or not all have within 30 s.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                for client in clients:
                    await self.connect(client)
                for _ in range(listeners):
                    if (failed := await live.get()).failure is not None:
                        raise LoadgenError(f"no client could listen: {failed.failure}")
        except TimeoutError:
            raise LoadgenError(f"this is no feed: no client had caught up in {PATIENCE:g} s") from None
        except OSError as error:
            raise LoadgenError(f"no client could open: {error.strerror or error}") from None


def check_feed(url: str, topic: str, *, insecure: bool) -> None:
    """Listen to a topic for a moment.

    Raises:
        LoadgenError: No feed is there, or it refuses: nothing that is measured would mean anything.
        PlanError: The URL is no WebSocket URL.
    """
    asyncio.run(_meet(Door(resolve(url), topic, insecure=insecure)))


async def _meet(door: Door) -> None:
    live: asyncio.Future[FeedClient] = asyncio.get_running_loop().create_future()
    client = door.client(FeedClient, "", live.set_result)
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            await door.connect(client)
            await live
    except TimeoutError:
        raise LoadgenError(f"this is no feed: no client had caught up in {HELLO_SECONDS:g} s") from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise LoadgenError(f"no client could open: {why}") from None
    finally:
        client.on_live = lambda client: None
        failure, client.failure = client.failure, client.failure or "closed"
        client.close()
    if failure is not None:
        raise LoadgenError(f"no client could listen: {failure}")


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return percentiles in milliseconds; nothing of nothing."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    last = len(ordered) - 1
    return {name: 1000 * ordered[round(part * last)] for name, part in PERCENTILES.items()}


def failures(clients: Iterable[FeedClient]) -> dict[str, int]:
    """Return how many clients have ended, by the reason."""
    return dict(Counter(client.failure for client in clients if client.failure is not None))


def _offset(position: str) -> int | None:
    number = position.rpartition(":")[2]
    return int(number) if number.isdigit() else None
