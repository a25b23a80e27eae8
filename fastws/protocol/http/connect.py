"""The CONNECT request that asks an HTTP proxy for a tunnel (RFC 9110, section 9.3.6), the client's side."""

from __future__ import annotations

import h11

from fastws.protocol.http.headers import checked_field
from fastws.protocol.http.messages import Response

__all__ = ["Tunnel"]

#: Bytes of the head of a response, and bytes that are kept of the body of a refusal.
MAX_HEAD_SIZE = 16 * 1024
MAX_BODY_SIZE = 64 * 1024


class Tunnel:
    """One CONNECT request and its response.

    ``authority`` is the host and port of the server, ``authorization`` the value of Proxy-Authorization
    (RFC 9110, section 11.7.2). Raises ``ValueError`` for either when it cannot stand in a header field.
    """

    __slots__ = ("_body", "_h11", "_response", "request")

    def __init__(self, authority: str, authorization: str | None = None) -> None:
        fields = [("Host", authority)]
        if authorization is not None:
            fields.append(("Proxy-Authorization", authorization))
        self._h11 = h11.Connection(h11.CLIENT, MAX_HEAD_SIZE)
        checked = [checked_field(name, value) for name, value in fields]
        head = self._h11.send(h11.Request(method="CONNECT", target=authority, headers=checked))
        assert head is not None
        self._h11.send(h11.EndOfMessage())
        #: The bytes to write to the proxy.
        self.request: bytes = head
        self._response: Response | None = None
        self._body = bytearray()

    @property
    def surplus(self) -> bool:
        """Whether bytes came behind the response, although nothing was sent through the tunnel yet."""
        return bool(self._h11.trailing_data[0])

    def receive(self, data: bytes) -> Response | None:
        """Take bytes from the proxy (``b""`` is the end); return its response when that is complete.

        A status of 2xx means that the tunnel is open. Any other response has at most 64 KiB of its body.
        Raises ``ValueError`` for bytes that are not HTTP/1.1.
        """
        try:
            self._h11.receive_data(data)
            while (event := self._h11.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    self._response = Response(event.status_code, headers=event.headers.raw_items())
                    if 200 <= event.status_code < 300:
                        return self._response
                elif isinstance(event, h11.Data):
                    self._body += event.data
                if isinstance(event, h11.EndOfMessage) or len(self._body) >= MAX_BODY_SIZE:
                    return self.refusal()
                if isinstance(event, (h11.ConnectionClosed, h11.PAUSED)):
                    break
        except h11.RemoteProtocolError as exc:
            if self._response is None:
                raise ValueError(f"the answer is not HTTP/1.1: {exc}") from None
            # A body that is cut off ends the response as well: its status is known.
            return self.refusal()
        return None

    def refusal(self) -> Response | None:
        """Return the response, with what has come of its body; None before its head has come."""
        if self._response is not None:
            self._response.body = bytes(self._body[:MAX_BODY_SIZE])
        return self._response
