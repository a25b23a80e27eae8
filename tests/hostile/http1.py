"""Attacks on HTTP/1.1 that are more than bytes and a status."""

from __future__ import annotations

import time

import pytest

from tests.hostile.harness import Arena
from tests.hostile.payloads import CHUNKED, MS, NEXT, request, with_body
from tests.kit.process import MIB
from tests.live.raw import BINARY, PING, TEXT, Outcome, close_frame, frame, upgrade

# -- H3, H4: bodies, and what is none -----------------------------------------------------------------


def rest_of_a_refused_body(arena: Arena) -> None:
    for bad in ("+5", "F" * 17):
        data = with_body(CHUNKED, body=b"5\r\nxxxxx\r\n%s\r\n" % bad.encode()) + NEXT * 3
        with arena.peer() as peer:
            assert peer.exchange(data).statuses == [400]


def tiny_chunks(arena: Arena) -> None:
    body = b"1\r\nx\r\n" * 100_000 + b"0\r\nX-Trailer: dropped\r\n\r\n"
    with arena.peer() as peer, arena.bounds(cpu=200 * MS, grows=MIB):
        outcome = peer.exchange(with_body(CHUNKED, "Connection: close", body=body))
    assert outcome.statuses == [200]
    # All of the body, and the trailer never became a field.
    assert outcome.data.endswith(b"\r\n\r\n100000 False\n")


def digits_one_by_one(arena: Arena) -> None:
    """The digits of a size, and an extension, one octet at a time: none is looked at again and again."""
    body = (b"0" * 15 + b"1;" + b"e" * 200 + b"\r\nx\r\n") * 40 + b"0\r\n\r\n"
    data = with_body(CHUNKED, "Connection: close", body=body)
    with arena.peer() as peer, arena.bounds(cpu=1.0, grows=MIB):
        for position in range(len(data)):
            peer.sock.send(data[position : position + 1])
        outcome = peer.exchange(b"")
    assert outcome.data.endswith(b"\r\n\r\n40 False\n")


def frames_behind_a_refused_upgrade(arena: Arena) -> None:
    early = frame(TEXT, NEXT) + NEXT
    for head, status in (
        (upgrade("/echo", "Origin: http://elsewhere.example"), 403),
        (upgrade("/nowhere"), 404),
        (upgrade("/healthz"), 404),
        (upgrade("/basic"), 401),
        (upgrade("/echo").replace(b"Version: 13", b"Version: 12"), 426),
        (upgrade("/echo").replace(b"Key: dGhl", b"Key: dGh"), 400),
    ):
        with arena.peer() as peer:
            outcome = peer.exchange(head + early)
        assert (outcome.statuses, outcome.ended) == ([status], True), head


def frames_with_the_handshake(arena: Arena) -> None:
    early = frame(TEXT, b"early") + frame(BINARY, bytes(70_000)) + frame(PING, b"too")
    data = upgrade("/echo") + early
    for cut in (len(data), len(upgrade("/echo")), len(upgrade("/echo")) + 3, 20):
        with arena.peer() as peer:
            peer.send(data[:cut])
            time.sleep(0.01)
            peer.send(data[cut:])
            assert peer.head().startswith(b"HTTP/1.1 101 ")
            assert [peer.frame().payload for _ in range(3)] == [b"early", bytes(70_000), b"too"]


# -- H6, H7: those who take their time ----------------------------------------------------------------


def heads_byte_by_byte(arena: Arena) -> None:
    """A head that is parsed again with each byte takes minutes."""
    for size in (20_000, 15_000):
        data = request("/healthz", *["X-A: " + "x" * 4990] * (size // 5000), "Connection: close")
        # Each of these bytes is a read of its own: the rest of the bound is the kernel's.
        with arena.peer() as peer, arena.bounds(cpu=0.5, grows=MIB):
            for position in range(len(data)):
                try:
                    peer.sock.send(data[position : position + 1])
                except OSError:
                    break
            outcome = peer.exchange(b"")
        assert outcome.statuses == [431 if size > 16 * 1024 else 200]


def slowloris(arena: Arena) -> None:
    """A byte now and then, all of it has one time."""
    limit, count = arena.choose(1.5, 10.0), arena.choose(20, 1000)
    data = request("/healthz", "X-A: slow")
    began = []
    with arena.many(count) as peers:
        for peer in peers:
            peer.send(data[:1])
            began.append(time.monotonic())
        for position in (1, 2):
            time.sleep(limit / 3)
            for peer in peers:
                peer.send(data[position : position + 1])
        for peer, start in zip(peers, began, strict=True):
            outcome = peer.exchange(b"", limit)
            assert outcome.ended and outcome.statuses in ([], [408])
            assert limit - 1 < time.monotonic() - start < limit + 1.5


def slow_body(arena: Arena) -> None:
    """Less than 100 bytes a second, or nothing: 408, when the time of a body is over."""
    limit = arena.choose(1.5, 30.0)
    with arena.many(2) as (dripping, silent):
        for peer in (dripping, silent):
            peer.send(request("/upload", "Content-Length: 100000", method="POST"))
        started = time.monotonic()
        while time.monotonic() - started < limit - 0.4:
            dripping.send(b"x")
            time.sleep(0.1)
        for peer in (dripping, silent):
            outcome = peer.exchange(NEXT, 3)
            assert (outcome.statuses, outcome.ended) == ([408], True)
            assert limit - 0.5 < time.monotonic() - started < limit + 1.5


def idle_between_requests(arena: Arena) -> None:
    limit = arena.choose(1.5, 75.0)
    with arena.peer() as peer:
        peer.send(request("/healthz"))
        assert peer.response()[1] == b"ok\n"
        started = time.monotonic()
        outcome = peer.exchange(b"", limit + 3)
        assert outcome.ended and not outcome.data
        assert limit - 0.5 < time.monotonic() - started < limit + 2


# -- H8: pipelining -------------------------------------------------------------------------------------


def pipelined(arena: Arena) -> None:
    """10,000 requests from one who does not read: the server stops reading, then answers in order."""
    paths = ["/chat", "/healthz", "/nowhere"]
    # More than the sockets hold, and so are the answers.
    padding = "X-Padding: " + "x" * 1000
    data = b"".join(request(paths[number % 3], padding) for number in range(9999))
    data += request("/healthz", "Connection: close")
    with arena.peer() as peer, arena.bounds(grows=2 * MIB):
        peer.sock.settimeout(0.3)
        sent = 0
        with pytest.raises(TimeoutError):
            while True:
                sent += peer.sock.send(data[sent : sent + 65536])
                assert sent < len(data), "the server reads on"
        outcome = peer.exchange(data[sent:], 40)
    assert outcome.statuses == [200, 200, 404] * 3333 + [200]


# -- H9 to H11: what we say ---------------------------------------------------------------------------


def split_responses(arena: Arena) -> None:
    """An application puts a client's words into a head: 500, and nothing of them on the wire."""
    for where in ("value", "name", "nul", "type", "redirect"):
        with arena.peer() as peer:
            outcome = peer.exchange(request(f"/split/{where}", "Connection: close"))
        assert_clean(outcome, where)
    with arena.peer() as peer:
        assert_clean(peer.exchange(upgrade("/redirect?to=/%0d%0aX-Injected:%20yes")), "authorize")
    with arena.peer() as peer:
        good = peer.exchange(upgrade("/redirect?to=/there"))
    assert good.statuses == [302] and b"location: /there\r\n" in good.data.lower()


def assert_clean(outcome: Outcome, where: str) -> None:
    assert (outcome.statuses, outcome.ended) == ([500], True), where
    assert b"injected" not in outcome.data.lower() and b"script" not in outcome.data.lower()


def subprotocols(arena: Arena) -> None:
    """One is named only if it is ours, whatever was offered."""
    for offer, chosen in (
        ("superchat", b"superchat"),
        ("nonsense, chat", b"chat"),
        ("CHAT", None),
        ("chat\x80", None),
        ("chat;x=1", None),
        ('"chat"', None),
        ("nonsense", None),
        ("", None),
    ):
        with arena.peer() as peer:
            outcome = peer.exchange(
                upgrade("/chosen", f"Sec-WebSocket-Protocol: {offer}") + close_frame(1000)
            )
        if outcome.statuses == [400] and not offer.isalpha():
            continue
        assert outcome.statuses == [101], offer
        named = b"sec-websocket-protocol: " + (chosen or b"") in outcome.data.lower()
        assert named is (chosen is not None), offer


def forged_lines(arena: Arena) -> None:
    attacks = [
        request("/%1b[31m%0d%0aFAKE%20LINE", "Connection: close", "User-Agent: \x1b[31mred"),
        request('/"200"\\', "Connection: close"),
        request("/%e2%80%a8line%c2%85separators", "Connection: close"),
        request("/\x1b[31m", "Connection: close"),
        request("/caf\xe9", "Connection: close"),
        upgrade("/echo") + close_frame(1000, b'\x1b[31m\r\nFAKE "WS"'),
        upgrade("/echo") + close_frame(1000, "\u202e\u2028\x85".encode()),
    ]
    before = len(arena.site.child.stdout())
    for data in attacks:
        with arena.peer() as peer:
            assert peer.exchange(data).ended
    time.sleep(0.1)
    logged = arena.site.child.out.read_bytes()[before:]
    lines = logged.decode("ascii").split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(attacks)
    assert all(line.isprintable() and not line.startswith("FAKE") for line in lines)


def errors_say_nothing(arena: Arena) -> None:
    bodies = set()
    for path in ("/nowhere", "/<script>alert(1)</script>", "/%3Cscript%3E", "/files/%3Cb%3E"):
        with arena.peer() as peer:
            peer.send(request(path))
            head, body = peer.response()
            assert head.startswith(b"HTTP/1.1 404 ")
            assert b"x-content-type-options: nosniff" in head.lower()
            bodies.add(body)
    assert len(bodies) == 1
