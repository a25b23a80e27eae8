"""Outboxes without connections: as much of an owner and of a transport as they need."""

from __future__ import annotations

from typing import Any

from fastws.config import Limits
from fastws.connection.outbox import Outbox
from fastws.loop.turn import Turn
from fastws.protocol.websocket.frames import encode, encode_close
from fastws.pubsub.hub import Hub
from fastws.testing.wire import BINARY, TEXT
from tests.kit import Frame, Kernel, ManualLoop, MemoryTransport, read_frames

__all__ = ["BYE", "Peer", "audience", "binary", "small", "text"]

BYE = encode_close(1000, "bye", None)


def text(message: str) -> bytes:
    return encode(TEXT, message)


def binary(message: bytes) -> bytes:
    return encode(BINARY, message)


class Peer:
    """One client with its outbox. A hub takes it for a WebSocket.

    With a ``kernel`` its outbox writes past its transport.
    ``room=0`` makes its socket refuse from the first byte on, ``room=None`` take everything.
    """

    def __init__(
        self,
        loop: ManualLoop,
        turn: Turn,
        *,
        room: int | None = None,
        limits: tuple[int, int] = (256, 1024 * 1024),
        kernel: Kernel | None = None,
    ) -> None:
        sock = None if kernel is None else kernel.open()
        self.transport = MemoryTransport(loop, self, room=room, socket=sock)
        if kernel is not None:
            kernel.attach(self.transport)
        fd = -1 if sock is None else sock.fileno()
        self.transport.set_write_buffer_limits(high=0)
        most = Limits(send_queue=limits[0], send_queue_bytes=limits[1])
        self.outbox = Outbox(self, self.transport, turn, fd, most)
        self.evicted: list[str] = []
        self.drains = 0
        self.slowed = 0
        self._rest = b""

    # -- what the outbox asks of its owner ------------------------------------------------------

    def encode_publication(self, entry: Any) -> bytes:
        return encode(TEXT if isinstance(entry.message, str) else BINARY, entry.message, b"mask")

    def evict(self, reason: str) -> None:
        if not self.outbox.is_open:
            return
        self.evicted.append(reason)
        self.outbox.push_last(encode_close(1008, reason, None), discard=True)
        self.outbox.leave_topics()

    def keep_fresh(self) -> None:
        """Its socket is as a test says."""

    def slow(self) -> None:
        self.slowed += 1

    def drained(self) -> None:
        self.drains += 1

    # -- what the transport tells ---------------------------------------------------------------

    def pause_writing(self) -> None:
        self.outbox.pause()

    def resume_writing(self) -> None:
        self.outbox.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self.outbox.discard()

    # -- what a test asks -----------------------------------------------------------------------

    def stall(self) -> None:
        """Let the socket refuse: one message is written of which it takes one byte."""
        self.transport.room = 1
        self.outbox.push(text("stalls"))
        self.outbox.flush()
        assert self.outbox.blocked

    def frames(self) -> list[Frame]:
        """Take the whole frames that the socket took since the last call."""
        frames, self._rest = read_frames(self._rest + self.transport.take_sent())
        return frames

    def texts(self) -> list[str]:
        return [one.text for one in self.frames()]


def small(loop: ManualLoop, turn: Turn, messages: int = 3, size: int = 1000) -> Peer:
    """A peer that has refused bytes, with small limits."""
    peer = Peer(loop, turn, limits=(messages, size))
    peer.stall()
    return peer


def audience(loop: ManualLoop, turn: Turn, hub: Hub, size: int, topic: str = "t") -> list[Peer]:
    peers = [Peer(loop, turn) for _ in range(size)]
    for peer in peers:
        hub.subscribe(peer, topic)
    return peers
