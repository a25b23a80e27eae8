"""HTTP/1.1 as a server speaks it: requests in, responses out, one at a time.

Octets pass the strict checks (``strict_head.py``, ``chunked.py``) and then h11, which keeps the state of the
exchange and writes the responses. After a request that was refused nothing more is parsed. Each request has
an h11 connection of its own, so nothing of one can get into the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import h11

from fastws.config import Limits
from fastws.protocol.http.chunked import ChunkedBody
from fastws.protocol.http.events import Data, EndOfBody, Refusal
from fastws.protocol.http.headers import raw_fields
from fastws.protocol.http.messages import Request, Response, error_response
from fastws.protocol.http.strict_head import (
    NO_BODY,
    Buffer,
    Framing,
    Rejected,
    check_host,
    check_request_head,
    check_target,
    field_tokens,
    field_values,
    framing,
    replace_host,
)
from fastws.protocol.http.targets import decode_path

__all__ = ["UNKNOWN", "ServerHTTP"]

_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
# RFC 9110, section 6.4.1: responses with these statuses, and all to HEAD, have no content.
_BODILESS = frozenset((204, 304))
# This module decides how a body ends; such fields of an application are dropped.
_FRAMING_FIELDS = frozenset((b"content-length", b"transfer-encoding"))
#: In place of a length: the body is sent in chunks, or ends with the connection.
UNKNOWN = -1

#: The first octet of a record that holds a TLS handshake (RFC 8446, section 5.1).
TLS_HANDSHAKE = b"\x16"


def check_final(status: int) -> None:
    """Raise ``ValueError`` for a status that no final response has (RFC 9110, section 15).

    Below 200 it is interim, and a final response has to follow. From 600 on it is invalid.
    """
    if not 200 <= status <= 599:
        raise ValueError(f"{status} is not a final response")


class _Phase(Enum):
    HEAD = "the head of a request has to come"
    BODY = "the head has come, the body has not"
    RESPONSE = "the request is complete, its response is not"
    UPGRADE = "a request to upgrade waits for its response; what follows is not HTTP"
    OVER = "nothing more is parsed"


class ServerHTTP:
    """The requests of one connection, in order. Not for use by two threads at once.

    After an exception the object must not be used any more. ``response_headers`` are added to every
    response that has no field of that name. They must be valid: they are not checked here.
    """

    __slots__ = (
        "_body",
        "_body_left",
        "_buffer",
        "_chunks",
        "_eof",
        "_h11",
        "_head_only",
        "_length_left",
        "_limits",
        "_output",
        "_phase",
        "_response_headers",
    )

    def __init__(self, limits: Limits, response_headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._limits = limits
        self._response_headers = response_headers
        self._buffer = Buffer(limits)
        self._phase = _Phase.HEAD
        self._eof = False
        self._output = b""
        self._h11: h11.Connection | None = None
        self._head_only = False
        self._length_left = 0

    # -- bytes in -------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Store what was read; nothing is parsed before ``next_event``."""
        if self._phase is not _Phase.OVER:
            self._buffer.append(data)

    def receive_eof(self) -> None:
        """Note that the client sends no more. A complete request can still be answered."""
        self._eof = True

    @property
    def buffered(self) -> int:
        """Bytes that were read and not parsed yet."""
        return len(self._buffer)

    def next_event(self) -> Request | Data | EndOfBody | Refusal | None:
        """Return the next event; None until more bytes come, or until the response is complete."""
        try:
            if self._phase is _Phase.HEAD:
                return self._next_request()
            if self._phase is _Phase.BODY:
                return self._next_of_body()
        except Rejected as rejected:
            return self._refuse(rejected.status)
        except h11.ProtocolError as error:
            return self._refuse(error.error_status_hint)
        return None

    def limit_body(self, size: int) -> bool:
        """Limit the body of the current request to ``size`` bytes; return False when it announces more."""
        self._chunks.limit(size)
        return self._body.length <= size

    def trailing(self) -> bytes:
        """Remove and return the bytes behind a request to upgrade, which are early frames."""
        return self._buffer.take(len(self._buffer))

    def take_output(self) -> bytes:
        """Return what has to be sent before any response: a 100 (RFC 9110, section 10.1.1), or nothing."""
        output, self._output = self._output, b""
        return output

    def _refuse(self, status: int) -> Refusal:
        is_tls = self._phase is _Phase.HEAD and self._buffer.data[:1] == TLS_HANDSHAKE
        self._phase = _Phase.OVER
        self._buffer = Buffer(self._limits)
        return Refusal(error_response(status), is_tls=is_tls)

    def _next_request(self) -> Request | None:
        head = self._buffer.take_head()
        if head is None:
            if self._eof and self._buffer:
                raise Rejected(400, "the connection ended within a head")
            return None
        request, self._body, self._h11 = _read_head(head, self._limits)
        self._head_only = request.method == "HEAD"
        if request.upgrade:
            self._phase = _Phase.UPGRADE
            return request
        if self._body.length > self._limits.max_body_size:
            # RFC 9110, section 15.5.14.
            raise Rejected(413, "the body is too large")
        self._phase = _Phase.BODY
        self._chunks = ChunkedBody(self._limits.max_body_size)
        self._body_left = self._body.length
        return request

    def _next_of_body(self) -> Data | EndOfBody | None:
        connection = self._connection()
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if not self._supply_body(connection):
                return None
            event = connection.next_event()
        if type(event) is h11.Data:
            return Data(bytes(event.data))
        self._phase = _Phase.RESPONSE
        return EndOfBody()

    def _supply_body(self, connection: h11.Connection) -> bool:
        """Give h11 what has come of the body, in which one plain chunk replaces all chunks of a read."""
        if self._body.chunked:
            piece, used = self._chunks.feed(self._buffer.data)
            self._buffer.take(used)
            data = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
            if self._chunks.finished:
                data += b"0\r\n\r\n"
        else:
            data = self._buffer.take(self._body_left)
            self._body_left -= len(data)
        if data:
            connection.receive_data(data)
        elif self._eof:
            raise Rejected(400, "the connection ended within a body")
        elif connection.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self._output += connection.send(go_on)
        return bool(data)

    def _connection(self) -> h11.Connection:
        """The state of the exchange in h11; a fresh one for the response to a request that was refused."""
        if self._h11 is None:
            self._h11 = h11.Connection(h11.SERVER)
        return self._h11

    # -- responses ------------------------------------------------------------------------------

    @property
    def must_close(self) -> bool:
        """Whether the connection has to end after the response that was just completed."""
        return self._phase is _Phase.OVER

    def respond(self, response: Response, *, close: bool = False) -> bytes:
        """Return the bytes of a whole response.

        For a response with a ``stream`` call ``start_response``, ``send_body`` and ``end_response``.
        """
        head = self.start_response(response, close=close)
        return head + self.send_body(response.body) + self.end_response()

    def start_response(self, response: Response, *, close: bool = False) -> bytes:
        """Return the head of a response.

        The connection ends after the response when ``close`` is true, when the client asked for that or
        speaks HTTP/1.0, when the request was not read to its end, and after a request to upgrade (RFC 9112,
        sections 9.3 and 9.6). The body of an async iterator is sent as in ``start_pieces``. Raises
        ``ValueError`` for the status of no final response.
        """
        if response.stream is not None and response.has_iterator():
            return self.start_pieces(response.status, response.reason, response.raw_headers, close=close)
        check_final(response.status)
        self._output = b""
        connection = self._connection()
        length = len(response.body) if response.stream is None else response.stream.length
        event = h11.Response(
            status_code=response.status,
            reason=response.reason,
            headers=self._response_fields(response, length, close=close),
        )
        self._length_left = 0 if self._head_only or response.status in _BODILESS else length
        return connection.send(event)

    def start_pieces(
        self, status: int, reason: bytes, fields: list[tuple[bytes, bytes]], *, close: bool = False
    ) -> bytes:
        """Return the head of a response whose length may be unknown; ``send_body`` comes next.

        Its body has the length of a Content-Length among ``fields``. Without that field it is sent in
        chunks, or, for HTTP/1.0, ends with the connection (RFC 9112, section 6.3). ``close`` is as in
        ``start_response``. Raises ``ValueError`` for the status of no final response,
        ``h11.LocalProtocolError`` for fields that contradict each other.
        """
        check_final(status)
        given = {name.lower() for name, _ in fields}
        lengthless = status == 204
        fields = [
            field
            for field in fields
            if (name := field[0].lower()) != b"transfer-encoding"
            and not (lengthless and name == b"content-length")
        ]
        fields += [field for field in self._response_headers if field[0].lower() not in given]
        if close or self._ends_the_connection():
            fields.append((b"Connection", b"close"))
        event = h11.Response(status_code=status, reason=reason, headers=fields)
        self._output = b""
        self._length_left = UNKNOWN
        for name, value in event.headers:
            if name == b"content-length":
                self._length_left = int(value)
        if self._head_only or status in _BODILESS:
            self._length_left = 0
        return self._connection().send(event)

    @property
    def length_left(self) -> int:
        """Bytes that the body of the current response still lacks; UNKNOWN for one without a length."""
        return self._length_left

    @property
    def ends_with_connection(self) -> bool:
        """Whether only the end of the connection ends the current response (RFC 9112, section 6.3)."""
        return self._length_left == UNKNOWN and self._connection().their_http_version in (None, b"1.0")

    def _response_fields(self, response: Response, length: int, *, close: bool) -> list[tuple[bytes, bytes]]:
        fields = [field for field in response.raw_headers if field[0].lower() not in _FRAMING_FIELDS]
        given = {name.lower() for name, _ in fields}
        fields += [field for field in self._response_headers if field[0].lower() not in given]
        if response.status not in _BODILESS:
            fields.append((b"Content-Length", b"%d" % length))
        if close or self._ends_the_connection():
            fields.append((b"Connection", b"close"))
        return fields

    def _ends_the_connection(self) -> bool:
        """Whether the request has not come to its end, or the client sends no more."""
        return self._phase is not _Phase.RESPONSE or (self._eof and not self._buffer)

    def send_body(self, chunk: bytes) -> bytes:
        """Return a piece of the body, ready to be written. Bytes beyond the length are dropped."""
        piece = chunk
        if self._length_left != UNKNOWN:
            piece = chunk[: self._length_left]
            self._length_left -= len(piece)
        return self._connection().send(h11.Data(data=piece)) if piece else b""

    def end_response(self) -> bytes:
        """Complete the response. The next request follows, or the end: see ``must_close``."""
        connection = self._connection()
        end = b""
        if self._length_left > 0:
            # The body is shorter than its length. Only the end of the connection can show that.
            connection.send_failed()
        else:
            end = connection.send(h11.EndOfMessage())
        self._h11 = None
        self._head_only = False
        if connection.our_state is h11.DONE:
            self._phase = _Phase.HEAD
        else:
            self._phase = _Phase.OVER
            self._buffer = Buffer(self._limits)
        return end


def _read_head(head: bytes, limits: Limits) -> tuple[Request, Framing, h11.Connection | None]:
    # RFC 9112, section 2.2: old clients send an empty line after a body. It is no part of the next head.
    head = head.removeprefix(b"\r\n")
    verb, where, version = check_request_head(head, limits)
    lowered = head.lower()
    check_host(lowered, version)
    authority = check_target(verb, where)
    if authority is not None and field_values(lowered, b"\r\nhost:") != [authority]:
        head = replace_host(head, lowered, authority)
        lowered = head.lower()
    body = framing(lowered, version)
    upgrade = b"\r\nupgrade:" in lowered and b"websocket" in field_tokens(lowered, b"\r\nupgrade:")
    if upgrade and body != NO_BODY:
        # RFC 9110, section 7.8. A proxy in front could take frames for a body, or a body for frames.
        raise Rejected(400, "a body on a request to upgrade")
    if b"\r\nexpect:" in lowered and field_values(lowered, b"\r\nexpect:") != [b"100-continue"]:
        # RFC 9110, section 10.1.1.
        raise Rejected(417, "an expectation that cannot be met")
    if upgrade and verb == b"GET":
        # h11 checks the fields of this request too, but needs no connection for that.
        h11.Request(method=verb, target=where, headers=raw_fields(head), http_version=version)
        connection = None
    else:
        connection = h11.Connection(h11.SERVER, limits.max_head_size)
        connection.receive_data(head)
        connection.next_event()
    target = where.decode("ascii")
    try:
        path = decode_path(target)
    except ValueError:
        raise Rejected(400, "the path cannot be decoded") from None
    request = Request(
        _METHODS.get(verb) or verb.decode("ascii"),
        target,
        path=path,
        http_version="1.1" if version == b"1.1" else "1.0",
        upgrade=upgrade,
        scheme="ws" if upgrade else "http",
        raw_head=head,
    )
    return request, body, connection
