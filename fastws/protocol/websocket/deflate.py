"""permessage-deflate (RFC 7692): the agreed parameters, and compression with a limit on the output.

An inflater or deflater without context takeover keeps nothing from one message to the next, so one of each
serves all connections of an event loop. Not for use by two threads at once.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from fastws.config import Compression

__all__ = ["INFLATED_BYTES_AHEAD", "DeflateParams", "DeflatePool", "Deflater", "InflateError", "Inflater"]

#: A reader that has inflated so many bytes reads on only when it is told to. 1 kB may become 1 MiB: what one
#: read has brought could become a thousand times as much before the application takes any of it.
INFLATED_BYTES_AHEAD = 256 * 1024

#: The end of each compressed message, which is not sent (RFC 7692, sections 7.2.1 and 7.2.2).
_TAIL = b"\x00\x00\xff\xff"

#: A message may end a DEFLATE stream and begin another (RFC 7692, section 7.2.3.5). Each new stream copies
#: the rest of the message, so their number is limited: otherwise the time could be quadratic.
_MAX_FINAL_BLOCKS = 16


class InflateError(Exception):
    """A compressed message is invalid (``code`` 1007) or too large (1009; RFC 6455, section 7.4.1)."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class DeflateParams:
    """The parameters on which both sides agreed (RFC 7692, section 7.1).

    Window bits are 9 to 15 for this side, 8 to 15 for the peer: see :class:`Inflater`.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15


class Inflater:
    """Inflates whole messages: ``inflate(payload, limit)``.

    With ``takeover`` it belongs to one connection and keeps the peer's window from message to message, up
    to 40 KiB. Without it keeps nothing. For a window of 8 bits it has one of 9: zlib compresses with 9 where
    it is asked for 8, and some servers do not say so.
    """

    __slots__ = ("_stream", "_takeover", "_window_bits")

    def __init__(self, window_bits: int = 15, *, takeover: bool = False) -> None:
        self._window_bits = max(window_bits, 9)
        self._takeover = takeover
        self._stream = self._new_stream() if takeover else None

    def __call__(self, payload: bytes, limit: int) -> bytes:
        """Return the message, of at most ``limit`` bytes.

        At most one and a half times ``limit`` is inflated before a larger message is refused. Raises
        ``InflateError``; the connection must then end, because the window is lost.
        """
        if not payload:
            # RFC 7692, section 7.2.3.6, wants one zero byte for an empty message, but some peers send none.
            return b""
        try:
            return self._inflate(payload, limit)
        except zlib.error:
            raise InflateError(1007) from None

    def _inflate(self, payload: bytes, limit: int) -> bytes:
        stream = self._stream or self._new_stream()
        # Half of the limit at a time: a message that is too large is found before its parts are joined, which
        # would hold it twice.
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
    """Compresses whole messages: ``deflate(payload)``.

    With ``takeover`` it belongs to one connection, and its bytes must be sent in the order in which they
    were made. Without, the same bytes may be sent to any number of peers. It holds about 260 KiB with the
    defaults.
    """

    __slots__ = ("_flush", "_settings", "_stream")

    def __init__(
        self, window_bits: int = 15, *, takeover: bool = False, level: int = 1, mem_level: int = 8
    ) -> None:
        # A full flush clears the window, as a new stream would, but costs less.
        self._flush = zlib.Z_SYNC_FLUSH if takeover else zlib.Z_FULL_FLUSH
        self._settings = (level, zlib.DEFLATED, -window_bits, mem_level)
        self._stream = zlib.compressobj(*self._settings)

    def __call__(self, payload: bytes | bytearray | memoryview) -> bytes:
        """Return the payload of a frame with RSV1 set."""
        data = self._stream.compress(payload) + self._stream.flush(self._flush)
        # RFC 7692, section 7.2.3.6: an empty message is one byte. After a flush zlib returns none.
        return data[:-4] or b"\x00"


class DeflatePool:
    """Makes the deflater and the inflater of a connection; those without takeover are shared.

    One for each event loop. ``client`` says whether this side is the client.
    """

    __slots__ = ("_deflaters", "_inflaters", "compression")

    def __init__(self, compression: Compression) -> None:
        self.compression = compression
        self._deflaters: dict[int, Deflater] = {}
        self._inflaters: dict[int, Inflater] = {}

    def deflater(self, params: DeflateParams, *, client: bool) -> Deflater:
        """Return the deflater; the same one for all peers that agreed on the same window without takeover."""
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
        """Return the inflater; shared as deflaters are."""
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
