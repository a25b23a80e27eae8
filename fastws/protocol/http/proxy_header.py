"""The header that a proxy sends before all other bytes, to tell who its client is.

HAProxy's PROXY protocol, version 1 (a line) and version 2 (binary): haproxy.org, doc/proxy-protocol.txt.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from struct import unpack_from

from fastws.protocol.http.addresses import parse_address

__all__ = ["ProxyHeader", "ProxyHeaderError"]

#: The longest line of version 1 with its CRLF (section 2.1).
MAX_LINE_BYTES = 107
#: The most bytes of version 2 that we take behind its first 16: addresses and fields such as those of TLS.
MAX_ADDRESS_BYTES = 4096

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FIXED_BYTES = 16

_LINE = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) ([0-9]{1,5}) ([0-9]{1,5})\Z")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?\Z")

# Section 2.2: the commands, and the families of addresses with what they have behind the 16 bytes.
LOCAL, PROXY = 0, 1
INET, INET6 = 1, 2


class ProxyHeaderError(ValueError):
    """What was sent is no PROXY header."""


class ProxyHeader:
    """Takes the first bytes of a connection until the header is complete; does no I/O.

    ``client`` is then the client's ``(host, port)``. It is None where the proxy speaks for itself (LOCAL) or
    does not say (UNKNOWN, a Unix socket): then the address of the socket is the client's.
    """

    __slots__ = ("_data", "client", "is_complete")

    def __init__(self) -> None:
        self._data = b""
        self.is_complete = False
        self.client: tuple[str, int] | None = None

    def receive(self, data: bytes) -> int:
        """Take the next bytes; return how many of them belong to the header. The others are the client's.

        Raises ``ProxyHeaderError`` for what cannot become a header.
        """
        before = len(self._data)
        self._data += data
        begin = self._data[: len(SIGNATURE)]
        if begin == SIGNATURE[: len(begin)]:
            size = self._binary()
        elif begin[:6] == b"PROXY "[: len(begin)]:
            size = self._line()
        else:
            raise ProxyHeaderError("it begins with no PROXY header")
        self._data = self._data[:size]
        return size - before

    def _line(self) -> int:
        """Read version 1 (section 2.1); return its size, or that of what is here of it."""
        end = self._data.find(b"\r\n", 0, MAX_LINE_BYTES)
        if end < 0:
            if len(self._data) >= MAX_LINE_BYTES:
                raise ProxyHeaderError("its line is longer than 107 bytes")
            return len(self._data)
        line = self._data[:end]
        match = _LINE.match(line)
        if match is not None:
            try:
                made = IPv4Address if match[1] == b"TCP4" else IPv6Address
                source = made(match[2].decode())
                made(match[3].decode())
            except ValueError as error:
                raise ProxyHeaderError(str(error)) from None
            port = int(match[4])
            if port > 0xFFFF or int(match[5]) > 0xFFFF:
                raise ProxyHeaderError("there is no port above 65535")
            self.client = (str(parse_address(source.packed)), port)
        elif not _UNKNOWN.match(line):
            raise ProxyHeaderError("its line is not as version 1 has it")
        self.is_complete = True
        return end + 2

    def _binary(self) -> int:
        """Read version 2 (section 2.2); return its size, or that of what is here of it."""
        data = self._data
        if len(data) < FIXED_BYTES:
            return len(data)
        kind, family, length = unpack_from("!BBH", data, len(SIGNATURE))
        command = kind & 0xF
        if kind >> 4 != 2 or command > PROXY:
            raise ProxyHeaderError(f"its version and command are 0x{kind:02x}")
        if length > MAX_ADDRESS_BYTES:
            raise ProxyHeaderError(f"it has {length} bytes; at most {MAX_ADDRESS_BYTES} are read")
        needed = {INET: 12, INET6: 36}.get(family >> 4, 0)
        if command == PROXY and length < needed:
            raise ProxyHeaderError(f"its addresses have {length} bytes in place of {needed}")
        size: int = FIXED_BYTES + length
        if len(data) < size:
            return len(data)
        if command == PROXY and family == INET << 4 | 1:  # TCP over IPv4
            address, port = unpack_from("!4s4xH", data, FIXED_BYTES)
            self.client = (str(parse_address(address)), port)
        elif command == PROXY and family == INET6 << 4 | 1:
            address, port = unpack_from("!16s16xH", data, FIXED_BYTES)
            self.client = (str(parse_address(address)), port)
        self.is_complete = True
        return size
