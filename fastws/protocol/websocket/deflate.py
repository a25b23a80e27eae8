"""permessage-deflate (RFC 7692): what was agreed, and message compression with an output cap.

An inflater or deflater without context takeover holds nothing of one message when the next comes,
so one of each serves every connection of a loop. Not for use by two threads at once.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from fastws.config import Compression

__all__ = ["DeflateParams", "DeflatePool", "Deflater", "InflateError", "Inflater"]

#: Removed from, and added again to, the end of each compressed message (RFC 7692, section 7.2.1).
_TAIL = b"\x00\x00\xff\xff"

#: A message may end a DEFLATE stream and begin another (RFC 7692, section 7.2.3.5). Each restart
#: copies the rest, so an endless row of them is refused before it becomes quadratic.
_MAX_FINAL_BLOCKS = 16


class InflateError(Exception):
    """A compressed message is bad data (``code`` 1007) or larger than allowed (1009)."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class DeflateParams:
    """The parameters both sides agreed on (RFC 7692, section 7.1). Window bits are 9 to 15."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15


class Inflater:
    """Inflates whole messages; called as ``inflate(payload, limit)``.

    With ``takeover`` it belongs to one connection and keeps the peer's window between messages
    (up to 40 KiB after the first); without, it keeps nothing.
    """

    __slots__ = ("_stream", "_takeover", "_window_bits")

    def __init__(self, window_bits: int = 15, *, takeover: bool = False) -> None:
        self._window_bits = window_bits
        self._takeover = takeover
        self._stream = self._new_stream() if takeover else None

    def __call__(self, payload: bytes, limit: int) -> bytes:
        """Return the message, of at most ``limit`` bytes.

        Never more than one and a half times ``limit`` is inflated. Raises InflateError; the connection is
        then lost, and with it the window.
        """
        if not payload:
            # Not as RFC 7692, section 7.2.3.6, has it (one zero byte), but there is no doubt.
            return b""
        try:
            return self._inflate(payload, limit)
        except zlib.error:
            raise InflateError(1007) from None

    def _inflate(self, payload: bytes, limit: int) -> bytes:
        stream = self._stream or self._new_stream()
        # Half of the limit at a time: what is larger is found before its parts are joined, which would
        # hold it twice.
        message, rest, most = b"", payload, (limit >> 1) + 1
        for _ in range(_MAX_FINAL_BLOCKS):
            for data in (rest, _TAIL):
                while not stream.eof:
                    part = stream.decompress(data, most)
                    if len(message) + len(part) > limit:
                        raise InflateError(1009)
                    message += part
                    if len(part) < most:
                        break
                    data = stream.unconsumed_tail
            if not stream.eof:
                break
            # A block with BFINAL ended the stream. What follows, if anything, is a new one.
            rest, stream = stream.unused_data, self._new_stream()
            if not rest:
                break
        else:
            raise InflateError(1007)
        if self._takeover:
            self._stream = stream
        return message

    def _new_stream(self) -> zlib._Decompress:
        return zlib.decompressobj(-self._window_bits)


class Deflater:
    """Compresses whole messages; called as ``deflate(payload)``.

    With ``takeover`` it belongs to one connection and one direction, and its bytes must be sent in
    the order in which they were made; without, the same bytes may go to any number of peers.
    Holds about 260 KiB with the defaults.
    """

    __slots__ = ("_flush", "_settings", "_stream")

    def __init__(
        self, window_bits: int = 15, *, takeover: bool = False, level: int = 1, mem_level: int = 8
    ) -> None:
        # A full flush forgets the window: as good as a new stream, without the cost of making one.
        self._flush = zlib.Z_SYNC_FLUSH if takeover else zlib.Z_FULL_FLUSH
        self._settings = (level, zlib.DEFLATED, -window_bits, mem_level)
        self._stream = zlib.compressobj(*self._settings)

    def __call__(self, payload: bytes | bytearray | memoryview) -> bytes:
        """Return the payload of a frame with RSV1 set."""
        data = self._stream.compress(payload) + self._stream.flush(self._flush)
        # Nothing at all comes out when an empty message follows a flush (RFC 7692, section 7.2.3.6).
        return data[:-4] or b"\x00"


class DeflatePool:
    """Makes the two halves for a connection, and shares those that hold no context.

    One per loop. ``client`` is the role of this side.
    """

    __slots__ = ("_deflaters", "_inflaters", "compression")

    def __init__(self, compression: Compression) -> None:
        self.compression = compression
        self._deflaters: dict[int, Deflater] = {}
        self._inflaters: dict[int, Inflater] = {}

    def deflater(self, params: DeflateParams, *, client: bool) -> Deflater:
        """The same object for all peers that agreed to the same window without takeover."""
        if client:
            bits, takeover = params.client_max_window_bits, not params.client_no_context_takeover
        else:
            bits, takeover = params.server_max_window_bits, not params.server_no_context_takeover
        if takeover:
            return self._new_deflater(bits, takeover=takeover)
        if bits not in self._deflaters:
            self._deflaters[bits] = self._new_deflater(bits, takeover=takeover)
        return self._deflaters[bits]

    def inflater(self, params: DeflateParams, *, client: bool) -> Inflater:
        """The counterpart: what the peer compresses."""
        if client:
            bits, takeover = params.server_max_window_bits, not params.server_no_context_takeover
        else:
            bits, takeover = params.client_max_window_bits, not params.client_no_context_takeover
        if takeover:
            return Inflater(bits, takeover=True)
        if bits not in self._inflaters:
            self._inflaters[bits] = Inflater(bits)
        return self._inflaters[bits]

    def _new_deflater(self, bits: int, *, takeover: bool) -> Deflater:
        settings = self.compression
        return Deflater(bits, takeover=takeover, level=settings.level, mem_level=settings.mem_level)
