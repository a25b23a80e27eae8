"""The machine of one connection: bytes in, events and bytes out, and every transition there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Any

import pytest

from fastws.config import Compression, Limits
from fastws.errors import HandshakeError
from fastws.protocol.http.events import EndOfBody, Refusal
from fastws.protocol.http.messages import Request, Response
from fastws.protocol.websocket import frame_phase, frames
from fastws.protocol.websocket.deflate import DeflatePool
from fastws.protocol.websocket.events import Close, Fail, Fragment, Ping, Pong
from fastws.protocol.websocket.frames import Engine
from fastws.protocol.websocket.machine import Machine
from fastws.protocol.websocket.states import TRANSITIONS, State, Trigger
from fastws.testing.wire import ACCEPT, BINARY, CLOSE, CONTINUATION, KEY, PING, PONG, TEXT
from tests.kit import Frame, frame, handshake, read_frames, read_response
from tests.protocol.websocket.wire import ENGINES
from tests.rows import all_rows

LIMITS = Limits()
MASK = b"\x01\x02\x03\x04"
SWITCH = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT}\r\n"
)


@pytest.fixture(params=ENGINES, autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Every test here runs on both engines."""
    engine: Engine = request.param
    monkeypatch.setattr(frame_phase, "Reader", engine.Reader)
    monkeypatch.setattr(frame_phase, "encode", engine.encode)
    monkeypatch.setattr(frames, "encode", engine.encode)
    yield engine


def mask() -> bytes:
    return MASK


def asking(*headers: str, early: bytes = b"") -> tuple[Machine, Request]:
    """A server's machine that waits for the verdict on a request to upgrade."""
    server = Machine.server(LIMITS, [(b"X-Server", b"test")])
    (request,) = server.receive(handshake("/chat", *headers) + early)
    return server, request


def open_server(*headers: str, early: bytes = b"", compression: Compression | None = None) -> Machine:
    server, request = asking(*headers, early=early)
    server.accept(request, LIMITS, deflate=None if compression is None else DeflatePool(compression))
    return server


def open_client(*lines: str, early: bytes = b"", compression: Compression | None = None) -> Machine:
    client = Machine.client(LIMITS, mask)
    (response,) = client.receive(
        (SWITCH + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode() + early
    )
    client.opened(
        response, LIMITS, key=KEY.encode(), deflate=None if compression is None else DeflatePool(compression)
    )
    return client


def only_frame(data: bytes | None) -> Frame:
    assert data is not None
    (frame,), rest = read_frames(data)
    assert rest == b""
    return frame


# -- the table ----------------------------------------------------------------------------------


def in_state(state: State) -> Machine:
    """A machine brought to ``state`` by what a peer or an application does."""
    if state is State.HTTP:
        return Machine.server(LIMITS)
    if state is State.DECIDING:
        return asking()[0]
    if state is State.CONNECTING:
        return Machine.client(LIMITS, mask)
    if state is State.OPEN:
        return open_server()
    one = open_server()
    if state is State.CLOSING:
        one.close(1000, "")
    elif state is State.DRAINING:
        one.answer(Close(1000, ""))
    else:
        one.receive_eof()
    return one


def pull(one: Machine, trigger: Trigger) -> None:
    """Do, through the public verbs, what is behind ``trigger``."""
    if trigger is Trigger.UPGRADE:
        one.receive(handshake())
    elif trigger is Trigger.ACCEPT and one.is_client:
        head = (SWITCH + "\r\n").encode()
        one.opened(one.receive(head)[0], LIMITS, key=KEY.encode())
    elif trigger is Trigger.ACCEPT:
        one.accept(Request("GET", "/", raw_head=handshake(), upgrade=True), LIMITS)
    elif trigger is Trigger.REFUSE and one.is_client:
        one.refused()
    elif trigger is Trigger.REFUSE:
        one.refuse(Response(403))
    elif trigger is Trigger.LOCAL_CLOSE:
        one.close(1000, "")
    elif trigger is Trigger.PEER_CLOSE:
        one.answer(Close(1000, ""))
    elif trigger is Trigger.FAIL and one.state is State.CONNECTING:
        one.opened(Response(101), LIMITS, key=KEY.encode())
    elif trigger is Trigger.FAIL:
        one.answer(Fail(1002, "unknown opcode"))
    else:
        one.receive_eof()


def test_transitions() -> None:
    """What stands in the table happens; what does not leaves the state as it was."""
    with all_rows() as row:
        for state, trigger in product(State, Trigger):
            with row(state.name, trigger.name):
                moves_as_the_table_says(state, trigger)


def moves_as_the_table_says(state: State, trigger: Trigger) -> None:
    one = in_state(state)
    assert one.state is state
    expected = TRANSITIONS.get((state, trigger), state)
    if (state, trigger) in TRANSITIONS and trigger is not Trigger.FAIL:
        pull(one, trigger)
    else:
        with suppress(KeyError, AttributeError, HandshakeError):
            pull(one, trigger)
    assert one.state is expected


def test_every_state_can_be_left_and_reached() -> None:
    targets = set(TRANSITIONS.values())
    assert targets == set(State) - {State.HTTP, State.CONNECTING}
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert {trigger for _, trigger in TRANSITIONS} == set(Trigger)
    assert all(TRANSITIONS[state, Trigger.EOF] is State.CLOSED for state in State)


# -- HTTP, server role --------------------------------------------------------------------------


def test_plain_requests_stay_http() -> None:
    server = Machine.server(LIMITS, [(b"X-Server", b"test")])
    first, end = server.receive(
        memoryview(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n")
    )
    assert (first.path, end) == ("/a", EndOfBody())
    assert server.receive(b"") == []
    answer, rest = read_response(server.http.respond(Response(200, "ok")))
    assert (answer.status, answer.headers["x-server"], answer.body, rest) == (200, "test", b"ok", b"")
    second, _ = server.receive(b"")
    assert second.path == "/b"
    assert server.state is State.HTTP


def test_a_bad_request_is_an_event() -> None:
    server = Machine.server(LIMITS)
    (refusal,) = server.receive(b"GET / HTTP/9.9\r\n\r\n")
    assert isinstance(refusal, Refusal)
    data = server.refuse(refusal.response)
    assert read_response(data)[0].status == 505
    assert server.state is State.DRAINING
    assert server.receive(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n") == []


def test_nothing_is_parsed_behind_the_last_response() -> None:
    server = Machine.server(LIMITS)
    server.receive(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    server.http.respond(Response())
    server.finish_http()
    assert server.state is State.DRAINING
    assert server.receive(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n") == []


def test_a_refused_upgrade_is_never_followed_by_a_request() -> None:
    server, request = asking(early=b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
    assert request.upgrade
    answer, _ = read_response(server.refuse(Response(403)))
    assert (answer.status, answer.headers["connection"]) == (403, "close")
    assert server.early_bytes == 0
    assert server.receive(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n") == []


def test_a_request_to_upgrade_in_two_reads() -> None:
    """One read is enough for the reader in C; this one goes through the gate."""
    server = Machine.server(LIMITS)
    data = handshake()
    assert server.receive(data[:40]) == []
    (request,) = server.receive(data[40:] + b"early")
    assert (request.raw_head, request.upgrade) == (data, True)
    assert (server.state, server.early_bytes) == (State.DECIDING, 5)


def test_early_frames_wait_for_the_verdict() -> None:
    server, request = asking(early=frame(TEXT, "one") + frame(TEXT, "two")[:3])
    assert server.receive(frame(TEXT, "two")[3:]) == []
    assert server.early_bytes == len(frame(TEXT, "one") + frame(TEXT, "two"))
    head = server.accept(request, LIMITS, subprotocol="v1", headers=[(b"X-More", b"yes")])
    answer, _ = read_response(head)
    assert answer.status == 101
    assert answer.headers["sec-websocket-accept"] == ACCEPT
    assert answer.headers["sec-websocket-protocol"] == "v1"
    assert answer.headers["x-more"] == "yes"
    assert server.receive(b"") == ["one", "two"]
    assert server.early_bytes == 0
    assert server.receive(frame(TEXT, "three")) == ["three"]


# -- HTTP, client role --------------------------------------------------------------------------


def test_a_client_opens_and_keeps_early_frames() -> None:
    client = Machine.client(LIMITS, mask)
    assert client.receive(SWITCH.encode()) == []
    (response,) = client.receive(b"Sec-WebSocket-Protocol: v2\r\n\r\n" + frame(TEXT, "early", mask=None))
    assert client.opened(response, LIMITS, key=KEY.encode(), subprotocols=["v2"]) == "v2"
    assert client.receive(b"") == ["early"]


def test_a_client_is_refused() -> None:
    client = Machine.client(LIMITS, mask)
    (response,) = client.receive(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    assert (response.status, response.body) == (403, b"no")
    client.refused()
    assert client.receive(frame(TEXT, "x", mask=None)) == []
    assert client.state is State.DRAINING


def test_a_client_checks_the_101() -> None:
    client = Machine.client(LIMITS, mask)
    (response,) = client.receive((SWITCH + "\r\n").encode())
    with pytest.raises(HandshakeError, match="Accept"):
        client.opened(response, LIMITS, key=b"AAAAAAAAAAAAAAAAAAAAAA==")
    assert client.state is State.DRAINING


# -- frames out ---------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [open_server, open_client])
def test_messages(make: Any) -> None:
    one: Machine = make()
    masked = one.is_client
    assert only_frame(one.encode("hé")) == Frame(TEXT, "hé".encode(), masked=masked)
    assert only_frame(one.encode(b"\xff", True)) == Frame(BINARY, b"\xff", masked=masked)
    assert only_frame(one.encode("x" * 5000)).rsv1 is False
    assert only_frame(one.encode_fragment(TEXT, "a", False)) == Frame(TEXT, b"a", fin=False, masked=masked)
    assert only_frame(one.encode_fragment(CONTINUATION, "b", True)) == Frame(
        CONTINUATION, b"b", masked=masked
    )
    assert only_frame(one.ping(b"p" * 125)) == Frame(PING, b"p" * 125, masked=masked)
    with pytest.raises(ValueError, match="125"):
        one.ping(b"p" * 126)


OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
AGREED = (
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"
)


@pytest.mark.parametrize("side", ["server", "client"])
def test_compression_begins_at_the_threshold(side: str) -> None:
    settings = Compression(threshold=100)
    one = (
        open_server(OFFER, compression=settings)
        if side == "server"
        else open_client(AGREED, compression=settings)
    )
    assert only_frame(one.encode("x" * 99)).rsv1 is False
    big = only_frame(one.encode("x" * 100))
    assert big.rsv1 is True
    assert len(big.payload) < 20
    assert only_frame(one.encode(b"y" * 100))[0] == BINARY
    assert only_frame(one.encode("x" * 1000, False)).rsv1 is False
    assert only_frame(one.encode("x", True)).rsv1 is True
    # The peer's answer to it, in the other direction.
    assert one.receive(frame(TEXT, big.payload, rsv1=True, mask=None if one.is_client else MASK)) == [
        "x" * 100
    ]


def test_a_threshold_of_nothing_compresses_everything() -> None:
    one = open_server(OFFER, compression=Compression(threshold=0))
    assert only_frame(one.encode("x")).rsv1 is True


def test_variants() -> None:
    """Who can be given which bytes of a broadcast: see ``FramePhase.frame_variant``."""
    assert open_server().frame_variant == 0
    assert open_server(OFFER, compression=Compression()).frame_variant == 15
    small = OFFER.replace("client", "server") + "=10"
    assert open_server(small, compression=Compression()).frame_variant == 10
    assert open_server(OFFER, compression=Compression(context_takeover=True)).frame_variant == -1
    assert open_client().frame_variant == -1


def test_context_takeover_compresses_with_what_came_before() -> None:
    server = open_server(OFFER, compression=Compression(threshold=0, context_takeover=True))
    first, second = (
        only_frame(server.encode("hello world, hello")),
        only_frame(server.encode("hello world, hello")),
    )
    assert len(second.payload) < len(first.payload)
    client = open_client(
        "Sec-WebSocket-Extensions: permessage-deflate", compression=Compression(context_takeover=True)
    )
    for one in (first, second):
        assert client.receive(frame(TEXT, one.payload, rsv1=True, mask=None)) == ["hello world, hello"]


# -- duties -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [open_server, open_client])
def test_a_ping_is_answered_with_its_payload(make: Any) -> None:
    one: Machine = make()
    assert only_frame(one.answer(Ping(b"abc"))) == Frame(PONG, b"abc", masked=one.is_client)
    assert one.answer(Pong(b"abc")) is None
    one.close(1000, "")
    assert one.answer(Ping(b"abc")) is None


@pytest.mark.parametrize(("code", "reply"), [(1000, 1000), (1001, 1001), (4999, 4999), (1005, 1005)])
def test_a_close_is_answered_with_its_code_and_reason(code: int, reply: int) -> None:
    server = open_server()
    reason = "" if code == 1005 else "bye"
    answer = only_frame(server.answer(Close(code, reason)))
    assert (answer.opcode, answer.close_code, answer.payload[2:]) == (CLOSE, reply, reason.encode())
    assert (server.close_code, server.close_reason, server.closed_by_peer) == (code, reason, True)
    assert server.state is State.DRAINING
    assert server.receive(frame(TEXT, "late")) == []


def test_a_close_is_answered_once() -> None:
    server = open_server()
    assert only_frame(server.close(4000, "done")).close_reason == "done"
    assert server.close(4001, "again") is None
    assert server.answer(Close(1000, "theirs")) is None
    assert (server.close_code, server.close_reason, server.closed_by_peer) == (4000, "done", False)
    assert server.state is State.DRAINING


def test_messages_still_come_while_closing() -> None:
    server = open_server()
    server.close(1000, "")
    events = server.receive(frame(TEXT, "sent before") + frame(CLOSE, b"\x03\xe8"))
    assert events == ["sent before", Close(1000, "")]


def test_a_close_without_a_code() -> None:
    server = open_server()
    assert only_frame(server.close(None, "")).payload == b""
    assert server.close_code == 1005


def test_a_violation_closes_with_its_code() -> None:
    server = open_server()
    (event,) = server.receive(b"\x83\x80abcd")
    failed = only_frame(server.answer(event))
    assert (failed.close_code, failed.close_reason) == (1002, "unknown opcode")
    assert (server.close_code, server.closed_by_peer) == (1002, False)
    assert server.state is State.DRAINING


def test_a_violation_while_closing_changes_nothing() -> None:
    server = open_server()
    server.close(1000, "bye")
    assert server.answer(Fail(1002, "unknown opcode")) is None
    assert (server.close_code, server.state) == (1000, State.DRAINING)


@pytest.mark.parametrize(
    ("code", "reason"), [(1005, ""), (1006, ""), (999, ""), (5000, ""), (1000, "x" * 124), (None, "x")]
)
def test_a_close_that_may_not_be_sent(code: int | None, reason: str) -> None:
    server = open_server()
    with pytest.raises(ValueError, match="close"):
        server.close(code, reason)
    assert server.state is State.OPEN


def test_the_end_without_a_close_frame() -> None:
    server = open_server()
    server.receive_eof()
    assert (server.close_code, server.close_reason, server.closed_by_peer) == (1006, "", True)
    assert server.receive(frame(TEXT, "late")) == []
    server.receive_eof()
    assert server.state is State.CLOSED


def test_only_the_first_bytes_of_a_buffer_count() -> None:
    buffer = memoryview(bytearray(frame(TEXT, "one") + frame(TEXT, "old")))
    server = Machine.server(LIMITS)
    head = handshake()
    server.receive(memoryview(head + b"rest"), len(head))
    assert server.early_bytes == 0
    server.receive(buffer, 3)
    server.accept(Request("GET", "/", raw_head=head, upgrade=True), LIMITS)
    size = len(frame(TEXT, "one"))
    assert server.receive(buffer[3:], size - 3) == ["one"]
    assert server.receive(buffer, size) == ["one"]


def test_limits_are_those_of_the_route() -> None:
    server, request = asking()
    server.accept(request, Limits(max_message_size=10))
    assert server.receive(frame(TEXT, "x" * 10)) == ["x" * 10]
    (event,) = server.receive(frame(TEXT, "x" * 11))
    assert event == Fail(1009, "message too big")


def test_messages_in_parts_from_now_on() -> None:
    server = open_server()
    server.stream(None, 2)
    assert server.receive(frame(TEXT, "ab", fin=False)) == [Fragment("ab", False)]
    assert server.receive(frame(CONTINUATION, "c")) == [Fragment("c", True)]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "limits", [{"messages_per_second": 2}, {"bytes_per_second": 2 * len(frame(BINARY, b"x"))}]
)
def test_a_meter_holds_for_whole_messages_and_for_parts(streamed: bool, limits: dict[str, int]) -> None:
    server = open_server()
    server.limit_rate(Limits(**limits), lambda: 0.0)
    if streamed:
        server.stream(None, 2)
    events = server.receive(frame(BINARY, b"x") * 3)
    assert type(events[-1]) is Fail
    assert events[-1].code == 1008
    assert len(b"".join(event.data if streamed else event for event in events[:-1])) == 2


def test_without_limits_a_second_there_is_no_meter() -> None:
    server = open_server()
    server.limit_rate(Limits(), lambda: pytest.fail("asked for the time"))
    assert server.receive(frame(BINARY, b"x") * 3) == [b"x"] * 3


def test_a_request_in_two_pieces_is_one_to_upgrade() -> None:
    server, head, data = Machine.server(LIMITS), handshake(), frame(TEXT, "early")
    assert server.receive(head[:20]) == []
    (request,) = server.receive(head[20:] + data)
    assert server.state is State.DECIDING
    assert server.early_bytes == len(data)
    server.accept(request, LIMITS)
    assert server.receive(b"") == ["early"]


# -- large messages, read and sent without a copy ---------------------------------------------------


def test_the_rest_of_a_large_message_is_read_in_place(engine: Engine) -> None:
    """By the reader in C, in the client's role; not once nothing is parsed any more."""
    payload = bytes(range(251)) * 1000
    data = frame(BINARY, payload, mask=None)
    client = open_client()
    assert not client.choose_buffer()
    assert client.receive(data[:100_000]) == []
    changed = client.choose_buffer()
    assert changed == client.in_place == (engine.name == "c")
    if not client.in_place:
        return
    assert not client.choose_buffer()
    rest = data[100_000:]
    with memoryview(client.get_buffer(-1)) as view:
        view[:] = rest
        assert client.received(len(rest)) == [payload]
    assert client.choose_buffer() and not client.in_place
    client.receive(data[:100_000])
    client.answer(Close(1000, ""))
    assert client.received(1) == []


def test_a_message_that_only_has_to_be_masked() -> None:
    assert open_client().key_only(None) == mask()
    assert open_client().key_only(True) == mask()
    assert open_server().key_only(None) is None
    compressing = open_client("Sec-WebSocket-Extensions: permessage-deflate", compression=Compression())
    assert compressing.key_only(None) is None and compressing.key_only(True) is None
    assert compressing.key_only(False) == mask()
