# cython: annotation_typing=False
"""One machine per socket: the HTTP phase, then the WebSocket phase, in either role.

Bytes go in through :meth:`Machine.receive`, events come out of it; what is to be written comes out
of the verbs. The states and what moves between them stand in one table. No I/O, no clock and no
logger may live here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from fastws.config import Limits
from fastws.protocol.http.fast_upgrade import read_upgrade
from fastws.protocol.http.messages import Request, Response
from fastws.protocol.websocket.deflate import DeflateParams, DeflatePool, Deflater
from fastws.protocol.websocket.events import Close, Fail, Ping
from fastws.protocol.websocket.frames import CloseCode, MaskSource, Opcode, Reader, encode, encode_close
from fastws.protocol.websocket.handshake import accept_head, check_accept, negotiate_deflate
from fastws.protocol.websocket.rate_limit import Meter

if TYPE_CHECKING:
    from fastws.protocol.http.client import ClientHTTP
    from fastws.protocol.http.server import ServerHTTP

__all__ = ["TRANSITIONS", "Machine", "State", "Trigger"]


class State(Enum):
    """Where one connection is; server and client share the states of the WebSocket phase."""

    HTTP = "HTTP"  #: server: a request head or body, or a response to it, is under way
    DECIDING = "DECIDING"  #: server: a request to upgrade waits for the application's verdict
    CONNECTING = "CONNECTING"  #: client: the request to upgrade is out, its answer is not here
    OPEN = "OPEN"  #: messages flow
    CLOSING = "CLOSING"  #: our close frame is out, the peer's is not here
    DRAINING = "DRAINING"  #: nothing more is parsed; what is owed goes out, then TCP ends
    CLOSED = "CLOSED"  #: TCP has ended

    # As cheap as it can be: an Enum's own hash is a function in Python, and every move asks for two.
    __hash__ = object.__hash__


class Trigger(Enum):
    """What moves a machine from one state to the next."""

    UPGRADE = "a request to upgrade"
    ACCEPT = "101"
    REFUSE = "a response other than 101, and close"
    LOCAL_CLOSE = "our close frame"
    PEER_CLOSE = "the peer's close frame"
    FAIL = "a violation by the peer"
    EOF = "the end of TCP"

    __hash__ = object.__hash__


HTTP, DECIDING, CONNECTING = State.HTTP, State.DECIDING, State.CONNECTING
OPEN, CLOSING, DRAINING, CLOSED = State.OPEN, State.CLOSING, State.DRAINING, State.CLOSED

UPGRADE, ACCEPT, REFUSE, EOF = Trigger.UPGRADE, Trigger.ACCEPT, Trigger.REFUSE, Trigger.EOF
LOCAL_CLOSE, PEER_CLOSE, FAIL = Trigger.LOCAL_CLOSE, Trigger.PEER_CLOSE, Trigger.FAIL

#: Every transition there is; whatever is not here cannot happen and raises ``KeyError``.
TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (HTTP, UPGRADE): DECIDING,
    (HTTP, REFUSE): DRAINING,
    (HTTP, EOF): CLOSED,
    (DECIDING, ACCEPT): OPEN,
    (DECIDING, REFUSE): DRAINING,
    (DECIDING, EOF): CLOSED,
    (CONNECTING, ACCEPT): OPEN,
    (CONNECTING, REFUSE): DRAINING,
    (CONNECTING, FAIL): DRAINING,
    (CONNECTING, EOF): CLOSED,
    (OPEN, LOCAL_CLOSE): CLOSING,
    (OPEN, PEER_CLOSE): DRAINING,
    (OPEN, FAIL): DRAINING,
    (OPEN, EOF): CLOSED,
    (CLOSING, PEER_CLOSE): DRAINING,
    (CLOSING, FAIL): DRAINING,
    (CLOSING, EOF): CLOSED,
    (DRAINING, EOF): CLOSED,
    (CLOSED, EOF): CLOSED,
}

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)
PING = int(Opcode.PING)
PONG = int(Opcode.PONG)
ABNORMAL_CLOSURE = int(CloseCode.ABNORMAL_CLOSURE)
NO_STATUS_RECEIVED = int(CloseCode.NO_STATUS_RECEIVED)

#: What a read gives: messages as ``str`` and ``bytes``, everything else as a value of its own.
Event = Any


# These bring h11, whose import takes half as long as all the rest: not before there is HTTP to speak.


def _client_http(limits: Limits) -> ClientHTTP:
    from fastws.protocol.http.client import ClientHTTP

    return ClientHTTP(limits)


def _server_http(limits: Limits, response_headers: Sequence[tuple[bytes, bytes]]) -> ServerHTTP:
    from fastws.protocol.http.server import ServerHTTP

    return ServerHTTP(limits, response_headers)


class Machine:
    """The protocol of one connection; ``close_code`` and ``close_reason`` follow section 7.1.5."""

    __slots__ = (
        "_deflater",
        "_early",
        "_http",
        "_limits",
        "_mask",
        "_reader",
        "_response_headers",
        "close_code",
        "close_reason",
        "closed_by_peer",
        "in_place",
        "state",
        "takeover",
        "threshold",
        "variant",
    )

    def __init__(
        self,
        state: State,
        limits: Limits,
        mask: MaskSource | None,
        response_headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.state = state
        #: Of the HTTP phase, which is made when something comes that is no plain request to upgrade.
        self._limits: Limits | None = limits
        self._response_headers: Sequence[tuple[bytes, bytes]] | None = response_headers
        self._http: Any = None if mask is None else _client_http(limits)
        self._mask = mask
        self._reader: Any = None
        self._early = b""
        self._deflater: Deflater | None = None
        #: Payloads from this size are compressed; 0 when compression was not negotiated.
        self.threshold = 0
        #: Frames are compressed with those before them: they must leave in the order of encoding.
        self.takeover = False
        self.in_place = False
        #: Which bytes of a broadcast this peer can be given; see ``Outbox.variant``.
        self.variant = 0 if mask is None else -1
        self.close_code = ABNORMAL_CLOSURE
        self.close_reason = ""
        self.closed_by_peer = True

    @classmethod
    def server(cls, limits: Limits, response_headers: Sequence[tuple[bytes, bytes]] = ()) -> Machine:
        return cls(HTTP, limits, None, response_headers)

    @classmethod
    def client(cls, limits: Limits, mask: MaskSource) -> Machine:
        return cls(CONNECTING, limits, mask)

    @property
    def is_client(self) -> bool:
        return self._mask is not None

    def _move(self, trigger: Trigger) -> None:
        self.state = TRANSITIONS[self.state, trigger]

    # -- bytes in -------------------------------------------------------------------------------

    def receive(self, data: bytes | memoryview, size: int = -1) -> list[Event]:
        """Take what one read gave and return all events of it, in order.

        ``data`` may be a buffer that is used again, of which only the first ``size`` bytes are
        this read's: nothing keeps a view of it.

        The caller hands each event that is neither ``str`` nor ``bytes`` to :meth:`answer` when its
        turn comes, so that what the application said to earlier events goes out before a close.
        """
        if size < 0:
            size = len(data)
        state = self.state
        if state is OPEN or state is CLOSING:
            if self._early:
                data, self._early = self._early + bytes(data[:size]), b""
                size = len(data)
            events: list[Event] = self._reader.receive(data, size)
            return events
        if state is HTTP:
            return self._receive_http(data, size)
        if state is DECIDING:
            self._early += data[:size]
        elif state is CONNECTING:
            self._http.receive(bytes(data[:size]))
            response = self._http.next_event()
            return [] if response is None else [response]
        return []

    def choose_buffer(self) -> bool:
        """Set :attr:`in_place` anew; return whether it has changed.

        It is true while the rest of a large message may be read straight into it, by :attr:`get_buffer`,
        and goes to :meth:`received`. The reader in C can do that, in the client's role.
        """
        before, self.in_place = self.in_place, getattr(self._reader, "room", 0) > 0
        return self.in_place is not before

    @property
    def get_buffer(self) -> Callable[[int], Any]:
        """For a transport, as in ``asyncio.BufferedProtocol``: the memory of the message under way."""
        get_buffer: Callable[[int], Any] = self._reader.get_buffer
        return get_buffer

    def received(self, size: int) -> list[Event]:
        """As :meth:`receive`, of ``size`` bytes that were read into the message's own buffer."""
        state = self.state
        if state is OPEN or state is CLOSING:
            events: list[Event] = self._reader.received(size)
            return events
        return []

    def _receive_http(self, data: bytes | memoryview, size: int) -> list[Event]:
        if self._http is None and self._limits is not None:
            request = read_upgrade(data, size, self._limits)
            if request is not None:
                self._move(UPGRADE)
                self._early = bytes(data[len(request.raw_head) : size])
                return [request]
        self.http.receive(bytes(data[:size]))
        return self._requests()

    def _requests(self) -> list[Event]:
        events: list[Event] = []
        while (event := self._http.next_event()) is not None:
            events.append(event)
            if isinstance(event, Request) and event.upgrade:
                self._move(UPGRADE)
                self._early = self._http.trailing()
                break
        return events

    def receive_eof(self) -> None:
        """Note the end of TCP; without a close frame the code is 1006 (section 7.1.5)."""
        self._move(EOF)
        self._http = None

    @property
    def early_bytes(self) -> int:
        """Bytes that came behind the handshake and wait for the verdict."""
        return len(self._early)

    # -- the HTTP phase, server role ------------------------------------------------------------

    @property
    def http(self) -> ServerHTTP:
        """The HTTP phase, for its response verbs. Raises ``AttributeError`` once the WebSocket is open."""
        if self._http is None:
            if self._limits is None or self._response_headers is None:
                raise AttributeError("HTTP is over")
            self._http = _server_http(self._limits, self._response_headers)
        http: ServerHTTP = self._http
        return http

    def accept(
        self,
        request: Request,
        limits: Limits,
        subprotocol: str | None = None,
        deflate: DeflatePool | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> bytes:
        """Open the WebSocket; return the 101 head. Early frames come from the next ``receive``."""
        negotiated = negotiate_deflate(request, deflate.compression) if deflate is not None else None
        params, extension = negotiated if negotiated is not None else (None, None)
        self._move(ACCEPT)
        self._open(limits, params, deflate)
        return accept_head(request, subprotocol, extension, headers)

    def refuse(self, response: Response) -> bytes:
        """Answer something other than 101; what follows is never parsed as a request."""
        data: bytes = self.http.respond(response, close=True)
        self._move(REFUSE)
        self._early = b""
        return data

    def finish_http(self) -> None:
        """The last response is given: nothing that follows is parsed."""
        self._move(REFUSE)

    # -- the HTTP phase, client role ------------------------------------------------------------

    def opened(
        self,
        response: Response,
        limits: Limits,
        *,
        key: bytes,
        subprotocols: Sequence[str] = (),
        deflate: DeflatePool | None = None,
    ) -> str | None:
        """Check the server's 101, open, and return the subprotocol it chose.

        Raises ``HandshakeError`` if the answer is not a valid one.
        """
        try:
            subprotocol, params = check_accept(
                response,
                key=key,
                subprotocols=subprotocols,
                compression=deflate.compression if deflate is not None else None,
            )
        except Exception:
            self._move(FAIL)
            raise
        self._early = self._http.trailing()
        self._move(ACCEPT)
        self._open(limits, params, deflate)
        return subprotocol

    def refused(self) -> None:
        """The server's answer was not 101."""
        self._move(REFUSE)

    def _open(self, limits: Limits, params: DeflateParams | None, deflate: DeflatePool | None) -> None:
        self._http = self._limits = self._response_headers = None
        client = self.is_client
        inflate = None
        if params is not None:
            assert deflate is not None
            inflate = deflate.inflater(params, client)
            self._deflater = deflate.deflater(params, client)
            self.threshold = max(deflate.compression.threshold, 1)
            if client:
                self.takeover = not params.client_no_context_takeover
            else:
                self.takeover = not params.server_no_context_takeover
                self.variant = -1 if self.takeover else params.server_max_window_bits
        self._reader = Reader(
            client, limits.max_message_size, limits.max_fragments, limits.max_empty_fragments, inflate
        )

    # -- the WebSocket phase --------------------------------------------------------------------

    def stream(self, max_message_size: int | None, max_empty_fragments: int) -> None:
        """Give messages out in parts from now on; only before the first frame, and without deflate."""
        assert not self.threshold
        # Few connections need it, and it brings wsproto's frames with it.
        from fastws.protocol.websocket.stream_reader import StreamReader

        reader = StreamReader(self.is_client, max_message_size, max_empty_fragments)
        if type(self._reader) is Meter:
            self._reader.reader = reader
        else:
            self._reader = reader

    def meter(self, limits: Limits, time: Callable[[], float]) -> None:
        """Limit what the peer may send in a second from now on, if that is limited at all."""
        if limits.messages_per_second is not None or limits.bytes_per_second is not None:
            self._reader = Meter(self._reader, limits.messages_per_second, limits.bytes_per_second, time)

    def answer(self, event: Event) -> bytes | None:
        """Do what the protocol itself owes for ``event``; return the frame, if there is one."""
        if type(event) is Ping:
            if self.state is not OPEN:
                return None
            return encode(PONG, event.payload, self._key(), True, False)
        if type(event) is Close:
            return self._peer_closed(event)
        if type(event) is Fail:
            return self._failed(event)
        return None

    def _peer_closed(self, event: Close) -> bytes | None:
        """A close frame is answered once, with its own code (section 5.5.1)."""
        reply = None
        if self.state is OPEN:
            self.close_code, self.close_reason = event.code, event.reason
            code = None if event.code == NO_STATUS_RECEIVED else event.code
            reply = encode_close(code, "", self._key())
        self._move(PEER_CLOSE)
        return reply

    def _failed(self, event: Fail) -> bytes | None:
        reply = None
        if self.state is OPEN:
            self.close_code, self.close_reason = event.code, event.reason
            self.closed_by_peer = False
            reply = encode_close(event.code, event.reason, self._key())
        self._move(FAIL)
        return reply

    def encode(self, message: str | bytes, compress: bool | None = None) -> bytes:
        """Return the frame of one message; ``compress=None`` goes by the negotiated threshold."""
        opcode = TEXT if isinstance(message, str) else BINARY
        if self.threshold and compress is not False and (compress or len(message) >= self.threshold):
            assert self._deflater is not None
            payload = message.encode() if isinstance(message, str) else message
            return encode(opcode, self._deflater(payload), self._key(), True, True)
        if self._mask is None:
            return encode(opcode, message, None, True, False)
        return encode(opcode, message, self._mask(), True, False)

    def key_only(self, compress: bool | None) -> bytes | None:
        """Return a fresh key if all that a message needs is to be masked (section 5.3), else None."""
        if self._mask is None or (self.threshold and compress is not False):
            return None
        return self._mask()

    def encode_fragment(self, opcode: int, payload: bytes | str, fin: bool) -> bytes:
        """Return one frame of a fragmented message (section 5.4); fragments are not compressed."""
        return encode(opcode, payload, self._key(), fin, False)

    def ping(self, payload: bytes) -> bytes:
        """Return a PING. Raises ``ValueError`` beyond 125 bytes (section 5.5)."""
        if len(payload) > 125:
            raise ValueError("the payload of a ping holds at most 125 bytes")
        return encode(PING, payload, self._key(), True, False)

    def close(self, code: int | None, reason: str) -> bytes | None:
        """Begin to close; return the close frame, or None when the machine is not open.

        Raises ``ValueError`` for a code that may not be sent or a reason beyond 123 bytes.
        """
        frame = encode_close(code, reason, self._key())
        if self.state is not OPEN:
            return None
        self.close_code = NO_STATUS_RECEIVED if code is None else code
        self.close_reason = reason
        self.closed_by_peer = False
        self._move(LOCAL_CLOSE)
        return frame

    def _key(self) -> bytes | None:
        return None if self._mask is None else self._mask()
