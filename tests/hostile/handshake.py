"""Attacks on the handshake: offers, origins, secrets, and heads at random."""

from __future__ import annotations

import ast
import base64
import inspect
import math
import random
import re
import time
from collections.abc import Callable
from statistics import fmean, variance
from typing import Any

import fastws
import fastws.web.auth
from fastws import Request, basic_auth, token_auth
from tests.hostile.harness import LONG, Arena, TooSlow
from tests.hostile.payloads import MS
from tests.live.raw import (
    TEXT,
    Peer,
    close_frame,
    frame,
    upgrade,
)

# -- W9, W10: what is offered in a handshake ----------------------------------------------------------

OFFERS = [
    "permessage-deflate; server_max_window_bits=7",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_max_window_bits=x",
    "permessage-deflate; server_max_window_bits",
    "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
    "permessage-deflate; client_max_window_bits=010",
    "permessage-deflate; server_no_context_takeover=1",
    "permessage-deflate; constructor",
    "constructor",
    "__proto__; permessage-deflate",
    "permessage-deflate; server_max_window_bits=999999999999999999999999",
    "permessage-deflate; client_max_window_bits=+9",
    "permessage-deflate; client_max_window_bits=\xb2",
    'permessage-deflate; server_max_window_bits="1\\',
    "permessage-deflate;; ,,",
    "x-webkit-deflate-frame",
]


def offers_that_are_none(arena: Arena) -> None:
    for offer in OFFERS:
        with arena.peer() as peer:
            peer.send(upgrade("/echo", f"Sec-WebSocket-Extensions: {offer}"))
            head = peer.head()
            assert head.startswith(b"HTTP/1.1 101 "), offer
            assert b"sec-websocket-extensions" not in head.lower(), offer
            peer.send(frame(TEXT, b"x"))
            assert peer.frame().payload == b"x"


def backtracking(arena: Arena) -> None:
    """Values on which a careless pattern takes quadratic or exponential time."""
    values = [
        "b" + " " * 30_000 + "x",
        "b" + " " * 66_000 + "x",
        "b" + " " * 8_000 + "x",
        "permessage-deflate; a=" + '"' + "\\c" * 4_000,
        "permessage-deflate; a=" + '"' + "\\" * 8_001,
        "a" + "," * 8_000,
        "a" + ";" * 8_000,
        "a;b=" * 2_000,
        "\t ," * 2_700,
        ", ".join(["permessage-deflate; client_max_window_bits"] * 180),
        "a" * 8_100,
    ]
    names = ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Connection", "Upgrade"]
    for name in names:
        for value in values:
            with arena.peer() as peer, arena.bounds(cpu=5 * MS):
                outcome = peer.exchange(upgrade("/echo", f"{name}: {value}") + close_frame(1000))
            assert outcome.statuses[0] in (101, 400, 426, 431), (name, value[:30], outcome.statuses)
            assert outcome.ended


# -- W11: chance ---------------------------------------------------------------------------------------


def random_head(chance: random.Random) -> bytes:
    """A handshake that something has happened to."""
    high = "".join(chr(chance.randrange(0x80, 0x100)) for _ in range(chance.randrange(1, 20)))
    names = ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Origin", "Cookie", "Host", "User-Agent"]
    names += ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Connection", "Upgrade", "X-Forwarded-For"]
    head = upgrade("/chosen", *[f"{chance.choice(names)}: {high}" for _ in range(chance.randrange(3))])
    kind = chance.randrange(8)
    if kind == 0:
        return upgrade("/echo", *[f"X-{number}: {high}" for number in range(chance.choice([90, 101, 2000]))])
    if kind == 1:  # a value is exchanged
        name = chance.choice(names)
        lines = head.split(b"\r\n")
        lines = [
            f"{name}: {high}".encode("latin-1") if line.lower().startswith(name.lower().encode()) else line
            for line in lines
        ]
        return b"\r\n".join(lines)
    if kind in (2, 3, 4):  # some octets are exchanged
        octets = bytearray(head)
        for _ in range(chance.randrange(1, 6)):
            octets[chance.randrange(len(octets))] = chance.randrange(256)
        return bytes(octets)
    if kind == 5:  # a line is missing, or is there twice
        lines = head.split(b"\r\n")
        at = chance.randrange(len(lines))
        return b"\r\n".join(
            lines[:at] + lines[at + 1 :] if chance.random() < 0.5 else lines[:at] + lines[at - 1 :]
        )
    if kind == 6:
        return head[: chance.randrange(len(head))]
    return head


def random_handshakes(arena: Arena) -> None:
    for _ in range(arena.choose(400, 10_000 // 3)):
        head = random_head(arena.chance)
        with arena.peer() as peer:
            if arena.chance.random() < 0.2:
                peer.send(head[: len(head) // 2])
                peer.reset()
                continue
            peer.send(head)
            peer.sock.shutdown(1)  # what is cut short need not wait for its time
            outcome = peer.exchange(b"", 3)
        assert outcome.ended, head
        for status in outcome.statuses:
            assert status in (101, 505) or 400 <= status < 500, (status, head)


# -- W19, W20: origins and secrets ---------------------------------------------------------------------

FOREIGN = [
    "http://elsewhere.example",
    "null",
    "http://{host}.evil.example",
    "http://{name}evil.example",
    "http://evil.example/{host}",
    "https://{name}`evil.example",
    "https://{name}$evil.example",
    "http://{name}:1",
    "http://{name}",
    "http://user@{host}",
    "{host}",
    "http://{host}, http://{host}",
    "http://{host} ",
    "http://{host}/",
    "http://{host}:",
    "http://0x7f.1:{port}",
    "http://[::ffff:127.0.0.1]:{port}",
    "http://test.host",
    "file://",
    "",
]


HARMLESS = {"http://{host} "}  # white space around a value is none of it (RFC 9110, section 5.5)


def foreign_origins(arena: Arena) -> None:
    host = f"127.0.0.1:{arena.port}"
    for origin in FOREIGN:
        value = origin.format(host=host, name="127.0.0.1", port=arena.port)
        with arena.peer() as peer:
            outcome = peer.exchange(upgrade("/ws", f"Origin: {value}", host=host), 2)
        if origin not in HARMLESS:
            assert (outcome.statuses, outcome.ended) == ([403], True), origin
    with arena.peer() as peer:
        two = upgrade("/ws", f"Origin: http://{host}", "Origin: http://evil.example", host=host)
        assert peer.exchange(two, 2).statuses in ([400], [403])
    for fields in ([], [f"Origin: http://{host}"]):
        with arena.peer() as peer:
            peer.send(upgrade("/ws", *fields, host=host))
            assert peer.head().startswith(b"HTTP/1.1 101 ")


def required_origin(arena: Arena) -> None:
    with arena.servers.start("--require-origin", engine=arena.engine, traced=False) as site:
        host = f"127.0.0.1:{site.port}"
        for fields, status in (([], 403), ([f"Origin: http://{host}"], 101)):
            with Peer(site.port) as peer:
                peer.send(upgrade("/ws", *fields, host=host))
                assert peer.head().startswith(b"HTTP/1.1 %d " % status)


def welch(one: list[float], other: list[float]) -> float:
    """Welch's t of two samples, without the slowest tenth, which belongs to the machine."""
    samples = [sorted(each)[: len(each) * 9 // 10] for each in (one, other)]
    spread = sum(variance(each) / len(each) for each in samples)
    return abs(fmean(samples[0]) - fmean(samples[1])) / math.sqrt(spread)


def no_comparison_that_stops(arena: Arena) -> None:
    """What is compared with a secret is compared by ``compare_digest`` alone."""
    tree = ast.parse(inspect.getsource(fastws.web.auth._Secrets))
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.Compare, ast.BoolOp))]
    calls = [node.func.attr for node in ast.walk(tree) if hasattr(getattr(node, "func", None), "attr")]
    assert calls.count("compare_digest") == 2


def guesses(arena: Arena) -> None:
    """How long a refusal takes says nothing of how near a guess was: in the long form, on a calm machine."""
    if not LONG:
        return
    basic, token = basic_auth("x", {"ann": "the-password-of-ann"}), token_auth("the-token-of-somebody")

    def asks(value: str) -> Request:
        return Request("GET", "/", headers=[("Authorization", value)])

    def with_basic(user: str, password: str) -> Request:
        return asks("Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())

    def word(size: int) -> str:
        return "".join(arena.chance.choices("abcdefghijklmnopqrstuvwxyz-", k=size))

    # Fresh guesses each time: two fixed ones would differ by where they lie in memory. But one user, for
    # many would differ from one by what the caches hold.
    kinds: list[tuple[Any, Callable[[], Request], Callable[[], Request]]] = [
        (
            basic,
            lambda: with_basic("ann", "the-password-of-an" + word(1).upper()),
            lambda: with_basic("ann", word(19)),
        ),
        (basic, lambda: with_basic("ann", word(19)), lambda: with_basic("bob", word(19))),
        (
            token,
            lambda: asks("Bearer the-token-of-somebod" + word(1).upper()),
            lambda: asks("Bearer " + word(21).upper()),
        ),
    ]
    clock = time.perf_counter
    for authorize, near, far in kinds:
        taken: tuple[list[float], list[float]] = ([], [])
        kind = [arena.chance.random() < 0.5 for _ in range(40_000)]
        # Made before the first is timed, for what making one leaves behind is measured too.
        guesses = [(which, near() if which else far()) for which in kind]
        for which, guess in guesses:
            started = clock()
            verdict = authorize(guess)
            taken[which].append(clock() - started)
            assert verdict is not None
        if (t := welch(*taken)) > 4.5:
            raise TooSlow(f"t is {t:.1f}: a refusal tells how near {near().headers} was")


def refusals(arena: Arena) -> None:
    """A real server: every wrong guess gets the same bytes but the date, and the right one gets in."""
    answers = set()
    for value in ("YW5uOnRoZS1wYXNzd29yeA==", "Ym9iOnRoZS1wYXNzd29yZA==", "YW5uOg=="):
        with arena.peer() as peer:
            outcome = peer.exchange(upgrade("/basic", f"Authorization: Basic {value}"))
        assert (outcome.statuses, outcome.ended) == ([401], True), outcome
        # A second may begin between two of them.
        answer, dates = re.subn(rb"\r\nDate: [^\r\n]+", b"", outcome.data)
        assert dates == 1
        answers.add(answer)
    assert len(answers) == 1
    with arena.peer() as peer:
        peer.upgrade("/basic", "Authorization: Basic YW5uOnRoZS1wYXNzd29yZA==")
    for path in ("/token", "/token?token=the-tokem"):
        with arena.peer() as peer:
            assert peer.exchange(upgrade(path)).statuses == [401]
    with arena.peer() as peer:
        peer.upgrade("/token?token=the-token")
    assert "the-toke" not in arena.site.log()
