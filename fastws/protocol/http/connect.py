"""A tunnel through an HTTP proxy: the CONNECT method (RFC 9110, section 9.3.6), client's side."""

from __future__ import annotations

import h11

from fastws.protocol.http.messages import Response, checked_field

__all__ = ["Tunnel"]

#: Bytes of the head of an answer, and of the body of a refusal that is kept.
MAX_HEAD = 16 * 1024
MAX_BODY = 64 * 1024


class Tunnel:
    """One CONNECT and its answer. ``receive`` raises ``ValueError`` for what is no HTTP.

    ``authorization`` is the value of Proxy-Authorization.
    """

    __slots__ = ("_body", "_h11", "_response", "request")

    def __init__(self, authority: str, authorization: str | None = None) -> None:
        fields = [("Host", authority)]
        if authorization is not None:
            fields.append(("Proxy-Authorization", authorization))
        self._h11 = h11.Connection(h11.CLIENT, MAX_HEAD)
        checked = [checked_field(name, value) for name, value in fields]
        head = self._h11.send(h11.Request(method="CONNECT", target=authority, headers=checked))
        assert head is not None
        self._h11.send(h11.EndOfMessage())
        #: What is written to the proxy.
        self.request: bytes = head
        self._response: Response | None = None
        self._body = bytearray()

    @property
    def surplus(self) -> bool:
        """Whether bytes came behind the answer, before we have said anything."""
        return bool(self._h11.trailing_data[0])

    def receive(self, data: bytes) -> Response | None:
        """Take what the proxy sent (``b""``: the end); return its answer once it is whole.

        The tunnel stands when its status is 2xx; else the response carries at most 64 KiB of body.
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
                if isinstance(event, h11.EndOfMessage) or len(self._body) >= MAX_BODY:
                    return self._whole()
                if isinstance(event, (h11.ConnectionClosed, h11.PAUSED)):
                    break
        except h11.RemoteProtocolError as exc:
            if self._response is None:
                raise ValueError(f"the answer is not HTTP/1.1: {exc}") from None
            # A body that breaks off still ends a known refusal.
            return self._whole()
        return None

    def _whole(self) -> Response:
        assert self._response is not None
        self._response.body = bytes(self._body[:MAX_BODY])
        return self._response
