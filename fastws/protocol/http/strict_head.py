"""The strict gate: what a message head must look like before h11 may see it.

h11 is lenient where a server that faces strangers must not be: bare LF, folded lines, control
characters in values, HTTP/9.9, any number of fields, Transfer-Encoding beside Content-Length, a
body on an upgrade. Everything here works on the raw octets, in time linear in their number, and
says no by raising :class:`Rejected`. Nothing here knows what a request means.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from fastws.config import Limits

__all__ = [
    "NO_BODY",
    "Buffer",
    "Framing",
    "Rejected",
    "RequestLine",
    "check_fields",
    "check_host",
    "check_request_head",
    "check_target",
    "field_tokens",
    "field_values",
    "framing",
]

_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TEXT = rb"[\t\x20-\x7e\x80-\xff]"
FIELDS = rb"(?:" + _TCHAR + rb"++:" + _TEXT + rb"*+\r\n)*+"

# RFC 9112, sections 3 and 5.
_REQUEST_HEAD = re.compile(rb"(" + _TCHAR + rb"++) ([\x21-\x7e]++) HTTP/(1\.[01])\r\n" + FIELDS + rb"\r\n")
_OTHER_VERSION = re.compile(_TCHAR + rb"++ [\x21-\x7e]++ HTTP/(?!1\.[01]\r)[0-9]+(?:\.[0-9]+)?\r\n")
# What no head holds, wherever it is cut: control characters, a CR or LF that stands alone.
_BAD_OCTET = re.compile(rb"[^\t\r\n\x20-\x7e\x80-\xff]|\r[^\n]|(?<!\r)\n")
# RFC 9112, section 3.2; user information is no part of it (RFC 9110, section 4.2.4).
_HOST = re.compile(rb"(?:[0-9a-z._~!$&'()*+,;=%-]*+|\[[0-9a-f:.]++\])(?::[0-9]{0,5})?")
# RFC 9110, section 8.6; 19 digits fit in 63 bits, and a leading zero is octal to somebody.
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,18}")
# RFC 9112, section 3.2.2. What an authority may hold is compared with Host, not judged here.
_ABSOLUTE_TARGET = re.compile(rb"(?:https?|wss?)://([^/?]*+)")
_CODINGS = re.compile(_TCHAR + rb"++(?:[\t ]*+,[\t ]*+" + _TCHAR + rb"++)*+")


class Rejected(Exception):
    """The octets break a rule; ``status`` is the answer (in the client role only the words count)."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


#: Method, target and version (``b"1.0"`` or ``b"1.1"``).
RequestLine = tuple[bytes, bytes, bytes]


class Framing(NamedTuple):
    """How the body is delimited (RFC 9112, section 6): ``chunked``, or ``length`` octets."""

    chunked: bool
    length: int


NO_BODY = Framing(False, 0)


class Buffer:
    """Octets of a connection, and the search for the end of a head that never looks twice."""

    __slots__ = ("_data", "_limits", "_scanned")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._data: bytes | bytearray = b""
        self._scanned = 0

    def __len__(self) -> int:
        return len(self._data)

    @property
    def data(self) -> bytes | bytearray:
        """All octets, to look at; keep no reference to it."""
        return self._data

    def append(self, data: bytes) -> None:
        if not self._data:
            self._data = data
        elif isinstance(self._data, bytearray):
            self._data += data
        else:
            self._data = bytearray(self._data) + data

    def take(self, count: int) -> bytes:
        """Remove and return at most ``count`` octets."""
        data, self._scanned = self._data, 0
        if count >= len(data):
            self._data = b""
            return bytes(data)
        piece = bytes(data[:count])
        if isinstance(data, bytearray):
            del data[:count]
        else:
            self._data = bytearray(memoryview(data)[count:])
        return piece

    def take_head(self) -> bytes | None:
        """Remove and return a whole head, or return None while its end has not come.

        Raises Rejected as soon as no continuation could make it a good one.
        """
        data = self._data
        # The end may straddle what was seen and what is new by three octets.
        end = data.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if 0 <= end <= self._limits.max_head_size - 4:
            return self.take(end + 4)
        self._check_unfinished(len(data) if end < 0 else end + 4)
        self._scanned = len(data)
        return None

    def _check_unfinished(self, end: int) -> None:
        limits = self._limits
        if _BAD_OCTET.search(self._data, max(0, self._scanned - 1), min(end, limits.max_head_size)):
            raise Rejected(400, "an octet that no head may hold")
        if end > limits.max_line_size and self._data.find(b"\r\n", 2, limits.max_line_size + 2) < 0:
            raise Rejected(414, "the first line is too long")
        if end > limits.max_head_size:
            raise Rejected(431, "the head is too large")


def check_fields(head: bytes, limits: Limits) -> None:
    """The limits on number and length of a head's lines; its syntax has been checked."""
    # Even the shortest field takes four octets, so short heads need no counting.
    if len(head) >= 4 * limits.max_headers and head.count(b"\r\n") - 2 > limits.max_headers:
        raise Rejected(431, "too many fields")
    if len(head) > limits.max_line_size:
        lines = head.split(b"\r\n")
        if len(lines[0]) > limits.max_line_size:
            raise Rejected(414, "the first line is too long")
        if max(map(len, lines)) > limits.max_line_size:
            raise Rejected(431, "a field is too long")


def check_request_head(head: bytes, limits: Limits) -> RequestLine:
    match = _REQUEST_HEAD.fullmatch(head)
    if match is None:
        if _OTHER_VERSION.match(head):
            raise Rejected(505, "an HTTP version that is not spoken here")
        raise Rejected(400, "not a request head")
    check_fields(head, limits)
    method, target, version = match.groups()
    return method, target, version


def check_target(method: bytes, target: bytes, lowered: bytes) -> None:
    """RFC 9112, section 3.2: a path, or a whole URL that names the same host as Host does."""
    if b"#" in target:
        raise Rejected(400, "a fragment in a target")
    if method == b"CONNECT":
        # Whatever its target is: h11 takes a 200 to it for the beginning of a tunnel.
        raise Rejected(501, "not a proxy")
    if target[0] == 0x2F or (target == b"*" and method == b"OPTIONS"):
        return
    absolute = _ABSOLUTE_TARGET.match(target.lower())
    if absolute is None or field_values(lowered, b"\r\nhost:") != [absolute[1]]:
        raise Rejected(400, "neither a path nor a URL of this host")


def field_values(lowered: bytes, name: bytes) -> list[bytes]:
    """All values of a field, from a checked head in lower case: ``name`` is ``b"\\r\\nhost:"``."""
    values = []
    start = lowered.find(name)
    while start >= 0:
        end = lowered.find(b"\r\n", start + len(name))
        values.append(lowered[start + len(name) : end].strip(b" \t"))
        start = lowered.find(name, end)
    return values


def field_tokens(lowered: bytes, name: bytes) -> list[bytes]:
    """The members of a comma-separated list over all fields of that name, empty ones included."""
    return [token.strip(b" \t") for token in b",".join(field_values(lowered, name)).split(b",")]


def check_host(lowered: bytes, version: bytes) -> None:
    """RFC 9112, section 3.2: exactly one Host, and a valid one; HTTP/1.0 may do without."""
    hosts = field_values(lowered, b"\r\nhost:")
    if len(hosts) != 1:
        if hosts or version != b"1.0":
            raise Rejected(400, "not exactly one Host")
    elif not _HOST.fullmatch(hosts[0]):
        raise Rejected(400, "not a host")


def framing(lowered: bytes, version: bytes) -> Framing:
    """Decide where the body ends, or refuse: two readers must never differ about it (section 6.3)."""
    coded = b"\r\ntransfer-encoding:" in lowered
    sized = b"\r\ncontent-length:" in lowered
    if not coded and not sized:
        return NO_BODY
    if coded:
        codings = field_values(lowered, b"\r\ntransfer-encoding:")
        if sized or version == b"1.0" or len(codings) != 1 or not _CODINGS.fullmatch(codings[0]):
            raise Rejected(400, "a framing that two readers could understand in two ways")
        if codings[0] != b"chunked":
            raise Rejected(501, "a transfer coding that is not spoken here")
        return Framing(True, 0)
    lengths = field_values(lowered, b"\r\ncontent-length:")
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        raise Rejected(400, "not one decimal Content-Length")
    return Framing(False, int(lengths[0]))
