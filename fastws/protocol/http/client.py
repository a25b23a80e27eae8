"""Reads the response to a client's request to upgrade.

The head of the response passes the same strict checks as that of a request. The body of a refusal is read
by h11, and at most 64 KiB of it are kept.
"""

from __future__ import annotations

import re

import h11

from fastws.config import Limits
from fastws.errors import HandshakeError
from fastws.protocol.http.messages import Response
from fastws.protocol.http.strict_head import FIELDS, Buffer, Rejected, check_fields

__all__ = ["ClientHTTP"]

#: Bytes kept of the body of a response other than 101: enough for any error page.
MAX_REFUSAL_BODY_SIZE = 64 * 1024

# RFC 9112, section 4. Servers often leave out the reason phrase, and even the space before it.
_RESPONSE_HEAD = re.compile(
    rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*+)?+\r\n" + FIELDS + rb"\r\n"
)
# h11 accepts a 101 only as the response to such a request. The real one is written by handshake.py.
_UPGRADE_REQUEST = h11.Request(
    method="GET", target="/", headers=[("Host", ""), ("Connection", "Upgrade"), ("Upgrade", "websocket")]
)


class ClientHTTP:
    """Reads the head of one final response, and for a status other than 101 at most 64 KiB of its body."""

    __slots__ = ("_body", "_buffer", "_eof", "_h11", "_head_room", "_limits", "_response")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = Buffer(limits)
        # Interim responses (1xx) and the final head share this limit, so a server cannot send 1xx for ever.
        self._head_room = limits.max_head_size
        self._eof = False
        self._body = bytearray()
        self._response: Response | None = None
        self._h11 = h11.Connection(h11.CLIENT, limits.max_head_size)
        self._h11.send(_UPGRADE_REQUEST)
        self._h11.send(h11.EndOfMessage())

    def receive(self, data: bytes) -> None:
        """Store what was read; nothing is parsed before ``next_event``."""
        self._buffer.append(data)

    def receive_eof(self) -> None:
        """Note that the server sends no more."""
        self._eof = True

    def trailing(self) -> bytes:
        """Remove and return the bytes behind a 101, which are early frames."""
        return self._buffer.take(len(self._buffer))

    def next_event(self) -> Response | None:
        """Return the response when it is complete, with at most 64 KiB of its body; None before that.

        Raises ``HandshakeError`` for bytes that are not HTTP/1.1, and for an end within the head.
        """
        try:
            while self._response is None:
                head = self._buffer.take_head()
                if head is None:
                    if self._eof:
                        raise HandshakeError("the connection ended before the response to the handshake")
                    return None
                self._response = self._read_head(head)
            if self._response.status == 101:
                return self._response
            return self._read_body(self._response)
        except (Rejected, h11.RemoteProtocolError) as error:
            raise HandshakeError(f"the response to the handshake is not valid HTTP/1.1: {error}") from error

    def refusal(self) -> Response | None:
        """Return a response other than 101 with what has come of its body; None before its head has come."""
        response = self._response
        if response is None or response.status == 101:
            return None
        response.body = bytes(self._body[:MAX_REFUSAL_BODY_SIZE])
        return response

    def _read_head(self, head: bytes) -> Response | None:
        """Return the response without its body, or None when it is an interim one."""
        if not _RESPONSE_HEAD.fullmatch(head):
            raise Rejected(400, "not a response head")
        check_fields(head, self._limits)
        self._head_room -= len(head)
        if self._head_room < 0:
            raise Rejected(431, "too many interim responses")
        self._h11.receive_data(head)
        event = self._h11.next_event()
        assert isinstance(event, (h11.Response, h11.InformationalResponse))
        if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
            return None
        return Response(event.status_code, headers=event.headers.raw_items())

    def _read_body(self, response: Response) -> Response | None:
        """Read the body (RFC 9112, section 6.3). One that is cut off or invalid ends the response as well."""
        if self._buffer:
            self._h11.receive_data(self.trailing())
        if self._eof:
            self._h11.receive_data(b"")
        try:
            while (event := self._h11.next_event()) is not h11.NEED_DATA:
                if not isinstance(event, h11.Data):
                    break
                self._body += event.data
                if len(self._body) >= MAX_REFUSAL_BODY_SIZE:
                    break
            else:
                return None
        except h11.RemoteProtocolError:
            pass
        return self.refusal()
