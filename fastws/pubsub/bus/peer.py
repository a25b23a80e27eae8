# cython: annotation_typing=False
"""One peer of the bus: its socket, what waits to be written to it, and what it has been told and has told."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable

from fastws.pubsub.bus.lanes import Lane
from fastws.pubsub.bus.receiving import Incoming, Receiver
from fastws.pubsub.bus.records import MAX_RECORD_BYTES, BadRecord, Decoder, Kind, Record, encode_record, hello

__all__ = ["MAX_WAITING_BYTES", "TORN", "Peer"]

#: Why a peer is let go whose process was killed while it wrote.
TORN = "it ended within a record"

#: What may wait for a peer that does not read. Beyond it messages are dropped, and counted.
MAX_WAITING_BYTES = MAX_RECORD_BYTES
#: Bytes of a read, and of one behind a read that was full: for so many the allocator maps fresh pages.
READ_BYTES, LARGE_READ_BYTES = 16 * 1024, 256 * 1024
#: Buffers of a write. What waits is collected in pieces of so many bytes.
WRITE_BUFFERS = 64
PIECE_BYTES = 64 * 1024
#: The kernel's own buffer: its default holds 278 small sends.
SOCKET_BUFFER_BYTES = 4 * 1024 * 1024
#: What is no message is not counted against that bound. Who has so many times as much waiting is let go.
MAX_WAITING_FACTOR = 2
#: Compared for each record.
RUN = int(Kind.RUN)


class Peer:
    """The end of a stream socket to another process. Everything here runs on the bus's loop.

    Args:
        sock: A connected stream socket; the peer owns it from now on.
        identity: Whose it is, as its hello has to say; None where only the hello tells.
        receiver: Takes the runs.
        receive: Is called with this peer and each record of another kind.
        lost: Is called once, with this peer and the reason, "" for a normal end.
    """

    __slots__ = (
        "_decoder",
        "_handed",
        "_is_behind",
        "_is_taking",
        "_loop",
        "_lost",
        "_max_waiting",
        "_queue",
        "_read_bytes",
        "_receive",
        "_receiver",
        "_sock",
        "dropped",
        "follows",
        "has_said_hello",
        "identity",
        "incoming",
        "is_filtered_by_us",
        "is_open",
        "is_started",
        "joined",
        "waiting",
    )

    def __init__(
        self,
        sock: socket.socket,
        identity: int | None,
        *,
        receiver: Receiver,
        receive: Callable[[Peer, Record], None],
        lost: Callable[[Peer, str], None],
        max_waiting: int = MAX_WAITING_BYTES,
    ) -> None:
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        self._sock = sock
        self.identity = identity
        self._receiver = receiver
        self._receive = receive
        self._lost = lost
        self._loop: asyncio.AbstractEventLoop | None = None
        self._decoder = Decoder()
        self._queue: deque[memoryview | bytearray] = deque()
        self._read_bytes = READ_BYTES
        self._max_waiting = max_waiting
        #: The other end, where it is in this process; what it has handed over; and whether what it wrote
        #: before that is still in the socket.
        self.joined: Peer | None = None
        self._handed: list[bytes] = []
        self._is_behind = False
        #: Records are taken just now.
        self._is_taking = False
        self.waiting = 0
        self.is_open = True
        #: Messages that were dropped for this peer and that it has not been told of.
        self.dropped: dict[Lane, int] = {}
        #: What it publishes, by key; and the keys that it follows, None where it hears everything.
        self.incoming: dict[bytes, Incoming] = {}
        self.follows: set[bytes] | None = None
        #: Whether this side has told that peer what it follows.
        self.is_filtered_by_us = False
        self.is_started = False
        #: Whether it has said who it is: what it publishes from now on comes here.
        self.has_said_hello = False

    def start(self, loop: asyncio.AbstractEventLoop, identity: int) -> None:
        """Say hello, and read from now on."""
        self._loop = loop
        self.is_started = True
        self.write(hello(identity))
        if self.is_open:
            loop.add_reader(self._sock.fileno(), self._readable)
            if self._handed:
                loop.call_soon(self._take_handed)

    def join(self, other: Peer) -> None:
        """Hand over what is written without the socket: the other end is in this process, on the same loop.

        The socket tells only when one of them has ended.
        """
        self.joined, other.joined = other, self
        self._is_behind = other._is_behind = True

    def has_room(self, size: int) -> bool:
        """True when ``size`` bytes more may wait. Who has missed something comes down to one half first."""
        limit = self._max_waiting // 2 if self.dropped else self._max_waiting
        return self.waiting + size <= limit or (not self.waiting and size <= MAX_RECORD_BYTES)

    def write(self, data: bytes) -> None:
        """Write ``data``, or let it wait behind what waits. Never waits itself."""
        if not self.is_open:
            return
        if self.joined is not None:
            self.joined._hand(data, is_free=not self._is_taking)
            return
        taken = 0
        if not self._queue:
            try:
                taken = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self._close_after_write()
                return
            if taken == len(data):
                return
            assert self._loop is not None
            self._loop.add_writer(self._sock.fileno(), self._writable)
            self._queue.append(memoryview(data)[taken:])
        else:
            self._wait(data)
        self.waiting += len(data) - taken
        if self.waiting > MAX_WAITING_FACTOR * self._max_waiting + MAX_RECORD_BYTES:
            self._end("it has not read for too long")

    def write_records(self, records: list[Record]) -> None:
        """Write records. The other end in this process takes them as they are, where nothing waits."""
        other = self.joined
        if other is not None and self.is_open and not self._is_taking and other._is_free():
            other._take_all(records)
        else:
            self.write(b"".join([record.encoded() for record in records]))

    def _is_free(self) -> bool:
        """True where what the other end writes may be taken at once."""
        is_busy = self._is_taking or self._is_behind or self._handed
        return not is_busy and self.is_open and self._loop is not None

    def _hand(self, data: bytes, *, is_free: bool) -> None:
        """Take what the other end writes: at once, or in the next turn where one of both takes something."""
        self._handed.append(data)
        if len(self._handed) > 1 or self._loop is None:
            return
        if is_free and not self._is_taking:
            self._take_handed()
        else:
            self._loop.call_soon(self._take_handed)

    def _take_handed(self) -> None:
        while self._is_behind and self.is_open:
            self._is_behind = self._readable()
        handed, self._handed = self._handed, []
        if handed and self.is_open:
            self._take_all(handed[0] if len(handed) == 1 else b"".join(handed))

    def _wait(self, data: bytes) -> None:
        """Put data behind what waits. Small pieces become one, which costs less than an object for each."""
        last = self._queue[-1]
        if type(last) is bytearray and len(last) < PIECE_BYTES:
            last += data
        elif len(data) < PIECE_BYTES:
            self._queue.append(bytearray(data))
        else:
            self._queue.append(memoryview(data))

    def tell_dropped(self) -> None:
        """Tell the peer how many messages of which topics it has missed, as soon as there is room."""
        if not self.dropped or not self.has_room(0):
            return
        dropped, self.dropped = self.dropped, {}
        gaps = [encode_record(Kind.GAP, 0, lane.key, count, lane.number) for lane, count in dropped.items()]
        self.write(b"".join(gaps))

    def close(self, *, forked: bool = False) -> None:
        """Let go of the socket. What waits is not written.

        ``forked``: in a child process, whose parent goes on with the same loop and the same socket.
        """
        if not self.is_open:
            return
        self.is_open = False
        if self._loop is not None and not forked and not self._loop.is_closed():
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._queue.clear()
        self.joined = None
        self.waiting = 0

    def _writable(self) -> None:
        while self._queue:
            buffers = [self._queue[n] for n in range(min(len(self._queue), WRITE_BUFFERS))]
            try:
                taken = self._sock.sendmsg(buffers)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._close_after_write()
                return
            self.waiting -= taken
            for buffer in buffers:
                if taken < len(buffer):
                    self._queue[0] = memoryview(buffer)[taken:]
                    break
                taken -= len(buffer)
                self._queue.popleft()
            if self.dropped:
                self.tell_dropped()
        assert self._loop is not None
        self._loop.remove_writer(self._sock.fileno())

    def _close_after_write(self) -> None:
        """The peer is gone: read what it said before, then let go."""
        self._queue.clear()
        self.waiting = 0
        if self._loop is not None:
            self._loop.remove_writer(self._sock.fileno())
            self._loop.call_soon(self._read_the_rest)

    def _read_the_rest(self) -> None:
        while self.is_open:
            if not self._readable():
                self._end("")

    def _readable(self) -> bool:
        """Read once; False where there was nothing to read."""
        try:
            data = self._sock.recv(self._read_bytes)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        self._read_bytes = READ_BYTES if len(data) < READ_BYTES else LARGE_READ_BYTES
        if not data:
            self._is_behind = False
            self._take_handed()
            self._end(TORN if self._decoder.is_torn else "")
            return True
        self._take_all(data)
        return True

    def _take_all(self, said: bytes | list[Record]) -> None:
        """Take what the other end has written, or records that it hands over."""
        self._is_taking = True
        try:
            self._take(said if isinstance(said, list) else self._decoder.feed(said))
        except BadRecord as error:
            reason = str(error)
            try:
                self._take(error.before)
            except BadRecord as earlier:
                reason = str(earlier)
            self._end(reason)
        finally:
            self._is_taking = False

    def _take(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.kind == RUN:
                self._receiver.take_run(self.incoming, record, self.identity)
            else:
                self._receive(self, record)

    def _end(self, reason: str) -> None:
        if self.is_open:
            self.close()
            self._lost(self, reason)
