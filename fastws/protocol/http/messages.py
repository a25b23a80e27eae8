# cython: annotation_typing=False
"""HTTP messages as values: what a client asked, and what it is answered.

Nothing here parses a stream (that is ``http.py``); a request is made from a head that the gate has
already accepted, or from literals in a test.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote_to_bytes

from fastws import json
from fastws.protocol.http.headers import HeaderPairs, Headers, is_token, is_value

__all__ = [
    "BodyStream",
    "Headers",
    "Offer",
    "Request",
    "Response",
    "decode_path",
    "error_response",
    "split_target",
    "vetted_upgrade",
]

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# RFC 9112, section 3.2.2: a client that speaks to a proxy sends a whole URL.
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?]*")


def split_target(target: str) -> tuple[str, str]:
    """Path and query of a request target, both still percent-encoded (RFC 9112, section 3.2)."""
    path, _, query = target.partition("?")
    if path[:1] != "/" and (absolute := _ABSOLUTE.match(target)):
        path = path[absolute.end() :] or "/"
    return path, query


def decode_path(target: str) -> str:
    """The path of a target as text. Raises ValueError for NUL, bad escapes, and what is not UTF-8."""
    path = split_target(target)[0]
    if "%" not in path:
        return path
    if _BAD_ESCAPE.search(path) or "%00" in path:
        raise ValueError("the path holds a NUL or a bad percent-encoding")
    return unquote_to_bytes(path).decode()


class Offer:
    """What the handshake reads in a request to upgrade; None for a field that is not there.

    A field that is a list is the members of all fields of its name. ``forwarded`` tells whether
    X-Forwarded-For or X-Forwarded-Proto is among the fields.
    """

    __slots__ = ("extensions", "forwarded", "host", "key", "origin", "subprotocols")

    def __init__(
        self,
        key: str | None,
        host: str | None,
        origin: str | None,
        extensions: str | None,
        subprotocols: str | None,
        forwarded: bool,
    ) -> None:
        self.key = key
        self.host = host
        self.origin = origin
        self.extensions = extensions
        self.subprotocols = subprotocols
        self.forwarded = forwarded

    @classmethod
    def of(cls, headers: Headers) -> Offer:
        def joined(name: str) -> str | None:
            return ",".join(headers.get_list(name)) if name in headers else None

        return cls(
            headers.get("sec-websocket-key"),
            headers.get("host"),
            headers.get("origin"),
            joined("sec-websocket-extensions"),
            joined("sec-websocket-protocol"),
            "x-forwarded-for" in headers or "x-forwarded-proto" in headers,
        )


_UPGRADED = {"http": "ws", "https": "wss"}


class Request:
    """One HTTP request, whether it becomes a WebSocket or not.

    ``method`` and ``http_version`` (``"1.1"``) are text; ``target`` is what stood in the request line,
    ``raw_head`` all bytes up to the body; ``path`` is its path, percent-decoded as UTF-8;
    ``query`` is raw, without the question mark. ``scheme`` is ``http``, ``https``, ``ws`` or
    ``wss``. ``body`` is empty until the whole body of a plain HTTP request has come.

    An open connection keeps its request for life, so this holds the head as bytes; ``headers``
    is parsed when asked for, and ``compact`` forgets it again.
    """

    __slots__ = (
        "_headers",
        "_offer",
        "_path_params",
        "_peer",
        "body",
        "http_version",
        "method",
        "path",
        "raw_head",
        "scheme",
        "target",
    )

    def __init__(
        self,
        method: str = "GET",
        target: str = "/",
        headers: Headers | HeaderPairs = (),
        *,
        path: str | None = None,
        http_version: str = "1.1",
        upgrade: bool | None = None,
        body: bytes = b"",
        peer: tuple[Any, ...] | str | None = None,
        scheme: str = "http",
        raw_head: bytes = b"",
    ) -> None:
        self.method = method
        self.target = target
        self.http_version = http_version
        self.body = body
        self._peer: Any = peer
        self.raw_head = raw_head
        self._path_params: dict[str, str] | None = None
        self._headers: Headers | None = None
        self._offer: Offer | None = None
        if not raw_head:
            self._headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.path = decode_path(target) if path is None else path
        if upgrade is None:
            upgrade = "websocket" in self.headers.tokens("upgrade")
        self.scheme = _UPGRADED.get(scheme, scheme) if upgrade else scheme

    @property
    def headers(self) -> Headers:
        """The header fields; parsed when they are first asked for."""
        headers = self._headers
        if headers is None:
            headers = self._headers = Headers.parse(self.raw_head)
        return headers

    @property
    def is_vetted(self) -> bool:
        """Whether the head was read as that of a request to upgrade, with all that this asks of it."""
        return self._offer is not None

    @property
    def offer(self) -> Offer:
        """What the handshake needs of the headers."""
        return Offer.of(self.headers) if self._offer is None else self._offer

    def may_be_forwarded(self) -> bool:
        """False where it is known that no proxy has said for whom it forwards."""
        return self._offer is None or self._offer.forwarded

    def vetted(self) -> None:
        """Note that the headers are those of a valid request to upgrade."""
        self._offer = self.offer

    @property
    def upgrade(self) -> bool:
        """Whether it asks to become a WebSocket (``Upgrade: websocket``)."""
        return self.scheme in ("ws", "wss")

    @property
    def peer(self) -> Any:
        """The client's address: ``(host, port, ...)``, a path, or None when nobody knows it.

        It may be set to what answers ``get_extra_info("peername")``, which is then asked each time:
        thousands of open connections need no address of their own.
        """
        ask = getattr(self._peer, "get_extra_info", None)
        return self._peer if ask is None else ask("peername")

    @peer.setter
    def peer(self, peer: Any) -> None:
        self._peer = peer

    def compact(self) -> None:
        """Forget what can be parsed again from the raw head (some 2 KB of a browser's handshake)."""
        if self.raw_head:
            self._headers = self._offer = None
            # Thousands of clients ask for the same path: they can share one object.
            plain = self.path is self.target
            self.target = sys.intern(self.target)
            self.path = self.target if plain else sys.intern(self.path)

    @property
    def path_params(self) -> dict[str, str]:
        """What the route's pattern took from the path; empty until a router has set it."""
        if self._path_params is None:
            self._path_params = {}
        return self._path_params

    @path_params.setter
    def path_params(self, params: dict[str, str]) -> None:
        self._path_params = params

    @property
    def raw_path(self) -> bytes:
        """The path as it came, still percent-encoded."""
        return split_target(self.target)[0].encode("latin-1")

    @property
    def query(self) -> str:
        """What follows the question mark, as it came; empty without one."""
        return split_target(self.target)[1]

    @property
    def tls(self) -> bool:
        """Whether it came over TLS, as far as this server knows or a trusted proxy says."""
        return self.scheme in ("https", "wss")

    @property
    def query_params(self) -> dict[str, list[str]]:
        """The query as a form (``application/x-www-form-urlencoded``), at most 1,000 fields.

        Raises ValueError when there are more.
        """
        return parse_qs(self.query, keep_blank_values=True, max_num_fields=1000)

    @property
    def cookies(self) -> dict[str, str]:
        """RFC 6265, section 4.2: the first of a repeated name counts; what is no pair is left out."""
        cookies: dict[str, str] = {}
        for pair in "; ".join(self.headers.get_list("cookie")).split(";"):
            name, equals, value = pair.partition("=")
            if equals and (name := name.strip(" \t")):
                cookies.setdefault(name, value.strip(" \t").strip('"'))
        return cookies

    def json(self) -> Any:
        """The body as JSON. Raises ``orjson.JSONDecodeError``, a ValueError."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target!r}>"


def vetted_upgrade(raw_head: bytes, target: str, path: str, offer: Offer) -> Request:
    """Return the request of a head of HTTP/1.1 that was read as that of a valid request to upgrade.

    As ``Request(...)`` makes it, which takes longer to look at its arguments than all of this.
    """
    request = Request.__new__(Request)
    request.method = "GET"
    request.target = target
    request.http_version = "1.1"
    request.body = b""
    request._peer = None
    request.raw_head = raw_head
    request._path_params = None
    request._headers = None
    request._offer = offer
    request.path = path
    request.scheme = "ws"
    return request


class BodyStream(Protocol):
    """A response body too large to hold: read in pieces, closed once whatever happens."""

    length: int

    def read(self, n: int) -> bytes:
        """At most ``n`` bytes, ``b""`` at the end. May touch the disk; must be short."""

    def close(self) -> None: ...


class Response:
    """A whole HTTP response. A ``str`` body is sent as UTF-8, ``text/plain`` unless told otherwise.

    ``status`` is a number from 100 to 999 (200), ``body`` its bytes, ``raw_headers`` the fields as bytes.
    Raises ValueError for a header name that is no token, and for a value with CR, LF, NUL, other
    control characters or anything outside latin-1, so that nobody can split a response through it;
    TypeError for a body that is neither text nor bytes.
    ``stream``, when given, is sent in place of ``body`` and closed by whoever sends it.
    """

    __slots__ = ("body", "raw_headers", "status", "stream")

    def __init__(
        self,
        status: int = 200,
        body: bytes | bytearray | memoryview | str = b"",
        headers: HeaderPairs | Mapping[str, str] = (),
        content_type: str | None = None,
        *,
        stream: BodyStream | None = None,
    ) -> None:
        if not 100 <= status <= 999:
            raise ValueError(f"{status} is no HTTP status")
        if isinstance(body, str):
            body = body.encode()
            content_type = content_type or "text/plain; charset=utf-8"
        elif isinstance(body, (bytearray, memoryview)):
            body = bytes(body)  # what can be changed may be, before it is sent
        elif not isinstance(body, bytes):
            raise TypeError(f"the body of a response is str or bytes, not {type(body).__name__}")
        self.status = int(status)
        self.body = body
        self.stream = stream
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        #: Names and values as they go on the wire, names in the case they were given.
        self.raw_headers = [checked_field(name, value) for name, value in pairs]
        if content_type is not None:
            self.raw_headers.append(checked_field("Content-Type", content_type))

    @property
    def headers(self) -> Headers:
        """A view for look-ups, made anew at each access."""
        return Headers(self.raw_headers)

    @property
    def reason(self) -> bytes:
        """The phrase that belongs to the status; empty for one that has none."""
        return _REASONS.get(self.status, b"")

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none becomes U+FFFD."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ``orjson.JSONDecodeError``, a ValueError."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def checked_field(name: str | bytes, value: str | bytes) -> tuple[bytes, bytes]:
    """A header field ready for the wire. Raises ValueError rather than let it split the message."""
    name = name.decode("latin-1") if isinstance(name, bytes) else name
    value = value.decode("latin-1") if isinstance(value, bytes) else value
    if not is_token(name):
        raise ValueError(f"{name!r} cannot be a header name")
    if not is_value(value):
        raise ValueError(f"{value!r} cannot be the value of {name}")
    return name.encode("latin-1"), value.encode("latin-1")


def error_response(status: int, *, headers: HeaderPairs = ()) -> Response:
    """An error in constant words: nothing of the request comes back in it (HTML or not)."""
    phrase = _REASONS.get(status, b"Error").decode()
    return Response(status, f"{status} {phrase}\n", [*headers, ("X-Content-Type-Options", "nosniff")])
