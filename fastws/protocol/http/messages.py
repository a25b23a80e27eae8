# cython: annotation_typing=False
"""Requests and responses as values.

Nothing here parses a stream (see ``server.py`` and ``client.py``). A request is made from a head that
``strict_head.py`` has checked, or from literals in a test.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from fastws import json
from fastws.protocol.http.addresses import unmapped
from fastws.protocol.http.body_stream import BodyStream, check_stream
from fastws.protocol.http.headers import HeaderPairs, Headers, checked_field, cookies_of
from fastws.protocol.http.request_ids import request_id_of, trace_id_of
from fastws.protocol.http.shared_texts import SHARED, shared
from fastws.protocol.http.targets import decode_path, split_target
from fastws.protocol.http.tls import TLS

__all__ = [
    "Headers",
    "Offer",
    "Request",
    "Response",
    "error_response",
    "vetted_upgrade",
]

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class Offer:
    """The fields of a request to upgrade that the handshake needs; None for one that is missing.

    Repeated fields that are lists are joined by commas. ``forwarded`` is true when the request has
    X-Forwarded-For, X-Forwarded-Proto or Forwarded.
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
        """Take the fields out of ``headers``."""

        def joined(name: str) -> str | None:
            return ",".join(headers.get_list(name)) if name in headers else None

        return cls(
            headers.get("sec-websocket-key"),
            headers.get("host"),
            headers.get("origin"),
            joined("sec-websocket-extensions"),
            joined("sec-websocket-protocol"),
            any(name in headers for name in ("x-forwarded-for", "x-forwarded-proto", "forwarded")),
        )


_UPGRADED = {"http": "ws", "https": "wss"}


class Request:
    """One HTTP request, whether or not it becomes a WebSocket.

    ``method`` and ``http_version`` (``"1.1"``) are text. ``target`` is the target in the request line as it
    came; ``path`` is its path, percent-decoded as UTF-8. ``raw_head`` has all bytes up to the body.
    ``scheme`` is ``http``, ``https``, ``ws`` or ``wss``. ``body`` is empty until the whole body of a plain
    HTTP request has come. Not for use by two threads at once.

    A WebSocket keeps its request as long as it lives, so a request holds the head as bytes. ``headers`` is
    parsed at the first use, and ``compact`` drops it.

    Args:
        method: such as ``"POST"``.
        target: the target with its query, percent-encoded.
        headers: ignored when ``raw_head`` is given.
        path: the path, percent-decoded; taken from ``target`` by default.
        http_version: ``"1.1"`` or ``"1.0"``.
        upgrade: whether it asks for a WebSocket; by default what its headers say.
        body: the whole body.
        peer: the client's address, see the property.
        scheme: ``http`` or ``https``; a request to upgrade makes ``ws`` or ``wss`` of it.
        raw_head: a head that was checked already.

    Raises ``ValueError`` for a path with NUL, with a bad percent-encoding, or not in UTF-8.
    """

    __slots__ = (
        "_headers",
        "_offer",
        "_path_params",
        "_peer",
        "_request_id",
        "_tls_transport",
        "body",
        "http_version",
        "method",
        "path",
        "raw_head",
        "scheme",
        "server",
        "target",
        "user",
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
        self._tls_transport: Any = None
        #: The :class:`fastws.Server` that took it; None for a request that none took.
        self.server: Any = None
        #: Who asks, as an ``authorize=`` has found out: any object. Logs show its ``id``, or its text.
        self.user: Any = None
        self._request_id: str | None = None
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
        """The header fields, parsed at the first use."""
        headers = self._headers
        if headers is None:
            headers = self._headers = Headers.parse(self.raw_head)
        return headers

    @property
    def is_vetted(self) -> bool:
        """Whether the head was checked as that of a request to upgrade (RFC 6455, section 4.2.1)."""
        return self._offer is not None

    @property
    def offer(self) -> Offer:
        """The fields that the handshake needs."""
        return Offer.of(self.headers) if self._offer is None else self._offer

    def may_be_forwarded(self) -> bool:
        """Return False when the request certainly has no field in which a proxy names the client."""
        return self._offer is None or self._offer.forwarded

    def vetted(self) -> None:
        """Note that the headers were checked as those of a request to upgrade."""
        self._offer = self.offer

    @property
    def request_id(self) -> str:
        """What logs call it: its X-Request-ID, or the trace id of its ``traceparent``, or a random name.

        At most 128 letters, digits and ``._~:/+=@-``; an X-Request-ID of anything else does not count. Any
        client may send one: it proves nothing.
        """
        if self._request_id is None:
            self._request_id = request_id_of(self._some_headers())
        return self._request_id

    @property
    def trace_id(self) -> str | None:
        """The trace id of its ``traceparent`` (W3C Trace Context), 32 hexadecimal digits; or None."""
        return trace_id_of(self._some_headers())

    def _some_headers(self) -> Headers:
        """The header fields, not kept where nobody else has asked for them: a WebSocket lives for long."""
        return Headers.parse(self.raw_head) if self._headers is None else self._headers

    @property
    def upgrade(self) -> bool:
        """Whether the request asks for a WebSocket (``Upgrade: websocket``; RFC 6455, section 4.2.1)."""
        return self.scheme in ("ws", "wss")

    @property
    def peer(self) -> Any:
        """The client's address: ``(host, port, ...)``, a path of a Unix socket, or None when it is unknown.

        It may be set to an object with ``get_extra_info``, such as a transport, which is then asked for
        ``"peername"`` at each use. So thousands of open connections hold no address of their own.
        """
        ask = getattr(self._peer, "get_extra_info", None)
        return self._peer if ask is None else unmapped(ask("peername"))

    @peer.setter
    def peer(self, peer: Any) -> None:
        self._peer = peer

    def compact(self) -> None:
        """Drop what can be parsed again from ``raw_head``: some 2 KB of a browser's handshake."""
        if self.raw_head:
            self._headers = self._offer = None
            plain = self.path is self.target
            # Looked up here first: a call of Python's is a percent of a handshake.
            self.target = SHARED.get(self.target) or shared(self.target)
            self.path = self.target if plain else shared(self.path)

    @property
    def path_params(self) -> dict[str, str]:
        """The parameters of the path, by the names in the route's pattern; empty before a route is found."""
        if self._path_params is None:
            self._path_params = {}
        return self._path_params

    @path_params.setter
    def path_params(self, params: dict[str, str]) -> None:
        self._path_params = params

    @property
    def raw_path(self) -> bytes:
        """The path as it came, percent-encoded."""
        return split_target(self.target)[0].encode("latin-1")

    @property
    def query(self) -> str:
        """The query as it came, percent-encoded, without the question mark; empty when there is none."""
        return split_target(self.target)[1]

    @property
    def tls(self) -> TLS | bool:
        """What TLS says of the connection, which has its client's certificate; False where there is no TLS.

        True where TLS ended at a proxy: a trusted one says so in the scheme, and nothing else of it.
        """
        return self.scheme in ("https", "wss") if self._tls_transport is None else TLS(self._tls_transport)

    def came_over_tls(self, transport: Any) -> None:
        """Note that the connection is one of TLS, and ask its ``transport`` when somebody wants to know."""
        self.scheme += "s"
        self._tls_transport = transport

    @property
    def query_params(self) -> dict[str, list[str]]:
        """The query, parsed as a form (``application/x-www-form-urlencoded``): all values of each name.

        Raises ``ValueError`` when the query has more than 1,000 fields.
        """
        return parse_qs(self.query, keep_blank_values=True, max_num_fields=1000)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies (RFC 6265, section 4.2), the first of each name. A part without ``=`` is ignored."""
        return cookies_of(self.headers)

    def json(self) -> Any:
        """Return the value of a JSON body. Raises ``orjson.JSONDecodeError``, which is a ``ValueError``."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target!r}>"


def vetted_upgrade(raw_head: bytes, target: str, path: str, offer: Offer) -> Request:
    """Return the request to upgrade of a head that was checked as one, of HTTP/1.1.

    The same as ``Request(...)`` would make, which takes longer to examine its arguments than all of this.
    """
    request = Request.__new__(Request)
    request.method = "GET"
    request.target = target
    request.http_version = "1.1"
    request.body = b""
    request._peer = request._tls_transport = request._request_id = request.user = None
    request.raw_head = raw_head
    request._path_params = None
    request._headers = None
    request._offer = offer
    request.path = path
    request.scheme = "ws"
    return request


class Response:
    """A whole HTTP response.

    ``status`` is a number, ``body`` bytes, ``raw_headers`` the fields as bytes, and ``stream`` what is sent
    in place of the body, or None. They may be changed until the response is sent; then they must be valid.

    An async iterator as ``stream`` is asked for its first piece when the head has been written, and for the
    next one when the client's socket holds nothing back. Without a Content-Length among ``headers`` its body
    is sent in chunks, to a client of HTTP/1.0 up to the end of the connection (RFC 9112, sections 6.3 and
    7.1). It is cancelled and closed (``aclose``) when the client ends its side, takes nothing for
    ``timeouts.write`` seconds, or when the time of :meth:`Server.shutdown` is over. What it raises is logged,
    and the connection ends without the last chunk; so it does where the body is not as long as its
    Content-Length. To HEAD it is closed unasked. If it has a method ``server_stops``, a ``def`` without
    arguments, the server calls that when it begins to stop: a stream without an end of its own ends then.

    Args:
        status: a number from 100 to 999 (RFC 9110, section 15).
        body: bytes, or text, which is sent as UTF-8.
        headers: names and values. Content-Length and Connection are added when the response is sent.
        content_type: ``text/plain; charset=utf-8`` by default for a text, no field for bytes.
        stream: sent in place of ``body``, and closed by the sender: an async iterable of ``bytes`` or ``str``
            (UTF-8), or an object with ``length``, ``read(n)`` and ``close()``, which is read in the loop.

    Raises ``ValueError`` for another status, for a header name that is no token, and for a value with CR,
    LF, NUL, another control character or a character outside latin-1, so that no value can split the
    response (RFC 9110, section 5.5); ``TypeError`` for a body that is neither text nor bytes, for a stream
    that is neither of both, and for a body beside a stream.
    """

    __slots__ = ("body", "raw_headers", "status", "stream")

    def __init__(
        self,
        status: int = 200,
        body: bytes | bytearray | memoryview | str = b"",
        headers: HeaderPairs | Mapping[str, str] = (),
        content_type: str | None = None,
        *,
        stream: BodyStream | AsyncIterable[bytes | str] | None = None,
    ) -> None:
        if not 100 <= status <= 999:
            raise ValueError(f"{status} is no HTTP status")
        if isinstance(body, str):
            body = body.encode()
            content_type = content_type or "text/plain; charset=utf-8"
        elif isinstance(body, (bytearray, memoryview)):
            body = bytes(body)  # a copy: the caller may change its own before it is sent
        elif not isinstance(body, bytes):
            raise TypeError(f"the body of a response is str or bytes, not {type(body).__name__}")
        if stream is not None:
            check_stream(stream, body)
        self.status = int(status)
        self.body = body
        self.stream: Any = stream
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        #: Names and values as they are sent; names keep their case.
        self.raw_headers = [checked_field(name, value) for name, value in pairs]
        if content_type is not None:
            self.raw_headers.append(checked_field("Content-Type", content_type))

    @property
    def headers(self) -> Headers:
        """The fields for look-ups; a new object at each use."""
        return Headers(self.raw_headers)

    def has_iterator(self) -> bool:
        """Whether ``stream`` is an async iterable, whose length nobody knows."""
        return hasattr(self.stream, "__aiter__")

    @property
    def reason(self) -> bytes:
        """The reason phrase of the status (RFC 9110, section 15.1); empty for an unknown one."""
        return _REASONS.get(self.status, b"")

    @property
    def text(self) -> str:
        """The body as UTF-8 text; U+FFFD stands for bytes that are not UTF-8."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the value of a JSON body. Raises ``orjson.JSONDecodeError``, which is a ``ValueError``."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def error_response(status: int, *, headers: HeaderPairs = ()) -> Response:
    """Return an error with a constant text, so that nothing of the request comes back in it."""
    phrase = _REASONS.get(status, b"Error").decode()
    return Response(status, f"{status} {phrase}\n", [*headers, ("X-Content-Type-Options", "nosniff")])
