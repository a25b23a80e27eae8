"""One connection to a page that publishes: requests as bytes, answers out of bytes. No socket, no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from fastws.publish.limits import PATH

__all__ = ["Answer", "BadAnswer", "Exchange", "Target", "checked_token"]

#: Bytes of an answer: it has a line for each of 1,000 messages.
MAX_ANSWER_BYTES = 2**20
_TOKEN = re.compile(r"[!-~]+")


class BadAnswer(Exception):
    """What came is no answer of HTTP/1.1, or ends within one."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a page is.

    Of a Unix socket ``host`` is empty, and ``unix`` its path.
    """

    host: str
    port: int
    path: str
    is_tls: bool = False
    unix: str = ""

    @classmethod
    def parse(cls, url: str) -> Target:
        """Return what ``http://HOST:PORT[/PATH]``, ``https://...`` or ``unix:/PATH`` says.

        Raises ``ValueError``.
        """
        if url.startswith("unix:"):
            path = url.removeprefix("unix:").removeprefix("//")
            if not path.startswith("/") or "\0" in path:
                raise ValueError(f"{url!r} names no Unix socket; write unix:/PATH")
            return cls("", 0, PATH, unix=path)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or parts.scheme not in ("http", "https") or port == 0:
            raise ValueError(
                f"{url!r} is no URL to publish to; write http://HOST:PORT, https:// or unix:/PATH"
            )
        if parts.username is not None:
            raise ValueError("the URL to publish to has no user and no password: use a token")
        target = parts.path if parts.path not in ("", "/") else PATH
        if not (target + parts.query).isascii() or not (target + parts.query).isprintable() or " " in target:
            raise ValueError(f"{url!r} has characters that have to be percent-encoded")
        is_tls = parts.scheme == "https"
        query = f"?{parts.query}" if parts.query else ""
        return cls(host, port or (443 if is_tls else 80), target + query, is_tls)

    @property
    def authority(self) -> str:
        """The ``Host`` field (RFC 9110, section 7.2)."""
        if self.unix:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"unix:{self.unix}" if self.unix else f"{self.authority}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request."""

    status: int
    body: bytes


class Exchange:
    """The state of one connection, which takes one request after the other."""

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.CLIENT)
        self._status = 0
        self._body = bytearray()
        #: Something of the answer has come.
        self._has_begun = False

    @property
    def is_reusable(self) -> bool:
        """Whether another request may follow."""
        return self._h11.our_state is h11.IDLE

    def request(self, target: Target, token: str | None, body: bytes) -> bytes:
        """Return the bytes of a request."""
        headers = [
            ("Host", target.authority),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("User-Agent", "fastws"),
        ]
        if token is not None:
            headers.append(("Authorization", f"Bearer {token}"))
        head = self._h11.send(h11.Request(method="POST", target=target.path, headers=headers))
        data = self._h11.send(h11.Data(data=body))
        self._h11.send(h11.EndOfMessage())
        assert data is not None
        self._body.clear()
        self._has_begun = False
        return head + data

    def receive(self, data: bytes) -> Answer | None:
        """Take what was read, nothing at the end; return the answer when it is whole.

        Raises :class:`BadAnswer`.
        """
        self._has_begun |= bool(data)
        try:
            self._h11.receive_data(data)
            while (event := self._h11.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    self._status = event.status_code
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > MAX_ANSWER_BYTES:
                        raise BadAnswer("its answer is too long")
                elif isinstance(event, h11.EndOfMessage):
                    if self._h11.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                        self._h11.start_next_cycle()
                    return Answer(self._status, bytes(self._body))
                elif isinstance(event, h11.ConnectionClosed):
                    raise BadAnswer("it closed the connection without an answer")
        except h11.RemoteProtocolError as error:
            if not data:
                where = "in the middle of its answer" if self._has_begun else "without an answer"
                raise BadAnswer(f"it closed the connection {where}") from None
            raise BadAnswer(f"its answer is not HTTP/1.1: {error}"[:200]) from None
        return None


def checked_token(token: str | None) -> str | None:
    """Return a token that a header can carry. Raises ``ValueError`` and ``TypeError``."""
    if token is None:
        return None
    if not isinstance(token, str):
        raise TypeError(f"token= is text, not {type(token).__name__}")
    if _TOKEN.fullmatch(token) is None:
        raise ValueError("a token is a word of ASCII characters")
    return token
