# cython: annotation_typing=False
"""A message that goes to many connections, encoded once for each variant of frames that they want.

A connection's *frame variant* tells which bytes it can be sent: 0 is plain, 9 to 15 is compressed with a
window of that many bits, -1 means that its frames are its own (masked, or compressed with context
takeover).
"""

from __future__ import annotations

from fastws.config import SlowConsumerPolicy
from fastws.connection.compression_meter import CompressionMeter
from fastws.protocol.websocket.deflate import DeflateParams, DeflatePool
from fastws.protocol.websocket.frames import FIN, RSV1, Opcode, encode

__all__ = ["Channel", "Publication", "payload_of"]

#: A merged message ends at this many messages or bytes, and the next one begins.
MERGE_MESSAGES = 256
MERGE_BYTES = 64 * 1024

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)


class Channel:
    """What publications belong to: how they are merged and compressed, and what becomes of slow clients."""

    __slots__ = ("deflate", "merge", "meter", "policy", "sequenced")

    def __init__(
        self, merge: str | None, policy: SlowConsumerPolicy | None, deflate: DeflatePool | None
    ) -> None:
        #: What stands between two messages that are merged into one; None: they stay apart.
        self.merge = merge
        #: None: one that keeps its messages, and skips those that are gone only where somebody can be told.
        self.policy = policy
        #: None: its messages are not compressed.
        self.deflate = deflate
        #: Whether that is worth it; None until a message was compressed.
        self.meter: CompressionMeter | None = None
        #: True when it keeps its messages: none waits in the queue of a slow client, who reads them there.
        self.sequenced = False

    def join(self, batch: list[Publication], variant: int) -> bytes:
        """Return the bytes of ``batch`` for every connection of that frame variant."""
        if self.merge is not None and len(batch) > 1:
            batch = self.merged(batch)
        frames = []
        # No comprehension: compiled, it would not know the class of a publication.
        for publication in batch:
            frames.append(publication.frame(variant))
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def merged(self, batch: list[Publication]) -> list[Publication]:
        """Join messages into fewer, larger ones where the channel merges, as writePump does."""
        separator = self.merge
        if separator is None or len(batch) < 2:
            return batch
        merged: list[Publication] = []
        start = size = 0
        for index, publication in enumerate(batch):
            size += publication.size
            if index > start and (index - start >= MERGE_MESSAGES or size > MERGE_BYTES):
                merged.append(self._merge(batch[start:index], separator))
                start, size = index, publication.size
        merged.append(self._merge(batch[start:], separator))
        return merged

    def _merge(self, run: list[Publication], separator: str) -> Publication:
        if len(run) == 1:
            return run[0]
        text = separator.join([publication.message for publication in run])  # type: ignore[misc]
        return Publication(self, run[-1].seq, text, encode(TEXT, text))


class Publication:
    """One message of a channel and its frames, each made when a connection of its variant first needs it."""

    __slots__ = ("_frames", "_message", "channel", "seq", "size")

    def __init__(self, channel: Channel, seq: int, message: str | bytes | None, plain: bytes) -> None:
        self.channel = channel
        #: Its number in the order of publishing.
        self.seq = seq
        #: None: it came as a frame, of another process, and nobody has asked for it yet.
        self._message = message
        #: Bytes of the plain frame.
        self.size = len(plain)
        self._frames: bytes | dict[int, bytes] = plain

    @property
    def message(self) -> str | bytes:
        """The message: text, or bytes."""
        message = self._message
        if message is None:
            self._message = message = _decoded(self.frame(0))
        return message

    def frame(self, variant: int) -> bytes:
        """Return the frame of that variant, 0 or 9 to 15."""
        frames = self._frames
        if isinstance(frames, bytes):
            if variant == 0:
                return frames
            self._frames = frames = {0: frames}
        frame = frames.get(variant)
        if frame is None:
            frames[variant] = frame = self._compressed(frames[0], variant)
        return frame

    def _compressed(self, plain: bytes, variant: int) -> bytes:
        pool = self.channel.deflate
        if pool is None:
            return plain
        message = self.message
        payload = message.encode() if isinstance(message, str) else message
        if len(payload) < pool.compression.threshold:
            return plain
        meter = self.channel.meter
        if meter is None:
            self.channel.meter = meter = CompressionMeter()
        if meter.skips():
            return plain
        opcode = TEXT if isinstance(message, str) else BINARY
        params = DeflateParams(
            server_no_context_takeover=True, client_no_context_takeover=True, server_max_window_bits=variant
        )
        deflater = pool.deflater(params, client=False)
        frame = encode(opcode, deflater(payload), None, FIN | RSV1)
        meter.measured(len(plain), len(frame))
        return frame if len(frame) < len(plain) else plain


def payload_of(plain: bytes) -> bytes:
    """Return the payload of an unmasked frame (RFC 6455, section 5.2)."""
    size = plain[1]
    return plain[2 if size < 126 else 4 if size == 126 else 10 :]


def _decoded(plain: bytes) -> str | bytes:
    payload = payload_of(plain)
    return payload.decode("utf-8", "replace") if plain[0] == FIN | TEXT else payload
