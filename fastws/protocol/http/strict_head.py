"""Strict checks of the head of a message, before h11 may see it.

h11 accepts what a server on the open Internet must refuse: a bare LF, folded lines, control characters in
values, HTTP/9.9, any number of fields, Transfer-Encoding together with Content-Length, a body on an
upgrade. The checks work on the raw octets, in time linear in their number, and raise :class:`Rejected`.
Nothing here knows what a request means.
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
    "replace_host",
]

_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TEXT = rb"[\t\x20-\x7e\x80-\xff]"
FIELDS = rb"(?:" + _TCHAR + rb"++:" + _TEXT + rb"*+\r\n)*+"

# RFC 9112, sections 3 and 5.
_REQUEST_HEAD = re.compile(rb"(" + _TCHAR + rb"++) ([\x21-\x7e]++) HTTP/(1\.[01])\r\n" + FIELDS + rb"\r\n")
_OTHER_VERSION = re.compile(_TCHAR + rb"++ [\x21-\x7e]++ HTTP/(?!1\.[01]\r)[0-9]+(?:\.[0-9]+)?\r\n")
# No head has these octets, wherever it is cut: control characters, a CR or LF without the other.
_BAD_OCTET = re.compile(rb"[^\t\r\n\x20-\x7e\x80-\xff]|\r[^\n]|(?<!\r)\n")
# RFC 9112, section 3.2. User information is not allowed (RFC 9110, section 4.2.4).
_HOST = re.compile(rb"(?:[0-9a-z._~!$&'()*+,;=%-]*+|\[[0-9a-f:.]++\])(?::[0-9]{0,5})?")
# RFC 9110, section 8.6. 19 digits fit in 63 bits. Some parsers take a leading zero for octal.
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,18}")
# RFC 9112, section 3.2.2.
_ABSOLUTE_TARGET = re.compile(rb"(?:https?|wss?)://([^/?]*+)")
_CODINGS = re.compile(_TCHAR + rb"++(?:[\t ]*+,[\t ]*+" + _TCHAR + rb"++)*+")


class Rejected(Exception):
    """The octets break a rule. A server answers with ``status``; a client uses the text only."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


#: Method, target and version, which is ``b"1.0"`` or ``b"1.1"`` (RFC 9112, section 3).
RequestLine = tuple[bytes, bytes, bytes]


class Framing(NamedTuple):
    """How a body ends (RFC 9112, section 6): after its last chunk, or after ``length`` octets."""

    chunked: bool
    length: int


NO_BODY = Framing(chunked=False, length=0)


class Buffer:
    """Octets of a connection. It looks for the end of a head without reading an octet twice."""

    __slots__ = ("_data", "_limits", "_scanned")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._data: bytes | bytearray = b""
        self._scanned = 0

    def __len__(self) -> int:
        return len(self._data)

    @property
    def data(self) -> bytes | bytearray:
        """All octets, for reading. The caller keeps no reference to them."""
        return self._data

    def append(self, data: bytes) -> None:
        """Add octets at the end."""
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
        """Remove and return a whole head; None while its end has not come.

        Raises ``Rejected`` as soon as no further octets could make the head valid: 400 for an octet that
        is not allowed, 414 and 431 for the limits (RFC 9112, section 3; RFC 6585, section 5).
        """
        data = self._data
        # Three octets of the end may be among those that were searched before.
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
    """Apply the limits on number and length of lines to a head whose syntax was checked.

    Raises ``Rejected``: 414 for the request line (RFC 9112, section 3), 431 for fields (RFC 6585, section 5).
    """
    # The shortest field has four octets, so the fields of a short head need not be counted.
    if len(head) >= 4 * limits.max_headers and head.count(b"\r\n") - 2 > limits.max_headers:
        raise Rejected(431, "too many fields")
    if len(head) > limits.max_line_size:
        lines = head.split(b"\r\n")
        if len(lines[0]) > limits.max_line_size:
            raise Rejected(414, "the first line is too long")
        if max(map(len, lines)) > limits.max_line_size:
            raise Rejected(431, "a field is too long")


def check_request_head(head: bytes, limits: Limits) -> RequestLine:
    """Check the syntax of a request's head and its limits; return its first line.

    Raises ``Rejected``: 400 for bad syntax, 505 for another version (RFC 9110, section 15.6.6), or as
    ``check_fields`` does.
    """
    match = _REQUEST_HEAD.fullmatch(head)
    if match is None:
        if _OTHER_VERSION.match(head):
            raise Rejected(505, "an HTTP version that is not spoken here")
        raise Rejected(400, "not a request head")
    check_fields(head, limits)
    method, target, version = match.groups()
    return method, target, version


def check_target(method: bytes, target: bytes) -> bytes | None:
    """Accept a path, or a whole URL; return the URL's authority in lower case, which replaces Host.

    RFC 9112, section 3.2. An empty host and user information are invalid (RFC 9110, sections 4.2.1, 4.2.4).

    Raises ``Rejected``: 501 for CONNECT (RFC 9110, section 15.6.2), else 400.
    """
    if b"#" in target:
        raise Rejected(400, "a fragment in a target")
    if method == b"CONNECT":
        # With any target: h11 would take a 200 for the beginning of a tunnel.
        raise Rejected(501, "not a proxy")
    if target[0] == 0x2F or (target == b"*" and method == b"OPTIONS"):
        return None
    absolute = _ABSOLUTE_TARGET.match(target.lower())
    if absolute is None or absolute[1][:1] in (b"", b":") or not _HOST.fullmatch(absolute[1]):
        raise Rejected(400, "neither a path nor a URL")
    return absolute[1]


def replace_host(head: bytes, lowered: bytes, authority: bytes) -> bytes:
    """Return the head with the target's authority in place of Host (RFC 9112, section 3.2.2)."""
    start = lowered.find(b"\r\nhost:")
    if start < 0:  # only HTTP/1.0 may have none
        return head[:-2] + b"Host: " + authority + b"\r\n\r\n"
    return head[: start + 7] + b" " + authority + head[lowered.find(b"\r\n", start + 2) :]


def field_values(lowered: bytes, name: bytes) -> list[bytes]:
    """Return all values of a field of a checked head in lower case. ``name`` is like ``b"\\r\\nhost:"``."""
    values = []
    start = lowered.find(name)
    while start >= 0:
        end = lowered.find(b"\r\n", start + len(name))
        values.append(lowered[start + len(name) : end].strip(b" \t"))
        start = lowered.find(name, end)
    return values


def field_tokens(lowered: bytes, name: bytes) -> list[bytes]:
    """Return the members of a comma-separated list over all fields of ``name``, empty ones included."""
    return [token.strip(b" \t") for token in b",".join(field_values(lowered, name)).split(b",")]


def check_host(lowered: bytes, version: bytes) -> None:
    """Require exactly one valid Host; HTTP/1.0 may have none (RFC 9112, section 3.2).

    Raises ``Rejected`` (400, as that section says).
    """
    hosts = field_values(lowered, b"\r\nhost:")
    if len(hosts) != 1:
        if hosts or version != b"1.0":
            raise Rejected(400, "not exactly one Host")
    elif not _HOST.fullmatch(hosts[0]):
        raise Rejected(400, "not a host")


def framing(lowered: bytes, version: bytes) -> Framing:
    """Return how the body ends (RFC 9112, section 6.3).

    Raises ``Rejected``: 400 where two parsers could find different ends, 501 for a coding other than
    chunked (RFC 9112, section 6.1).
    """
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
        return Framing(chunked=True, length=0)
    lengths = field_values(lowered, b"\r\ncontent-length:")
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        raise Rejected(400, "not one decimal Content-Length")
    return Framing(chunked=False, length=int(lengths[0]))
