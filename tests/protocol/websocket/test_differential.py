"""Both engines on the same streams, valid, invalid and mutated, cut anywhere: the same events and bytes.

A few seconds' worth by default; ``python -m tests.differential`` is the nightly form, of a million cases.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastws.protocol.websocket.deflate import Inflater
from fastws.protocol.websocket.events import Event
from fastws.protocol.websocket.frames import FIN, RSV1, Engine, FrameReader
from tests.protocol.websocket.cases import CASES, CUT_UTF8, INVALID_UTF8, VALID_UTF8, deflated
from tests.protocol.websocket.wire import BUILT, MASK, receive_all, wire

IS_NIGHTLY = "FASTWS_DIFFERENTIAL_EXAMPLES" in os.environ
pytestmark = [
    pytest.mark.skipif(len(BUILT) < 2, reason="the C engine is not built"),
    *([pytest.mark.timeout(0)] if IS_NIGHTLY else []),
]
EXAMPLES = settings(
    max_examples=int(os.environ.get("FASTWS_DIFFERENTIAL_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # The same in every run of CI; another million each night.
    derandomize=not IS_NIGHTLY,
)
#: Streams made of each one that hypothesis makes, which takes it longer than ten of them.
VARIANTS = int(os.environ.get("FASTWS_DIFFERENTIAL_VARIANTS", "4"))
#: How many cases really ran.
RAN: Counter[str] = Counter()

TEXTS = [text.encode() for text in VALID_UTF8] + [bad for bad, _ in INVALID_UTF8.values()] + list(CUT_UTF8)
CODES = (0, 999, 1000, 1001, 1004, 1005, 1006, 1007, 1013, 1014, 1015, 2999, 3000, 4999, 5000, 65535)

payloads = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(TEXTS),
    st.text(max_size=10).map(str.encode),
    st.sampled_from([deflated(text) for text in [*TEXTS, bytes(90), bytes(300), bytes(5000)]]),
    st.tuples(st.sampled_from(CODES), st.sampled_from([b"", b"why", *TEXTS])).map(
        lambda close: close[0].to_bytes(2, "big") + close[1]
    ),
    st.integers(0, 400).map(lambda size: b"\xc3\xa9" * (size // 2) + b"*" * (size % 2)),
)

SIZES = (0, 125, 126, 127, 65535, 65536, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
LIMITS = ((1024 * 1024, 1000, 64), (200, 5, 2), (64, 3, 1), (1, 1, 1), (2**62, 2**31, 2**31))

#: Mostly what may stand there, so that a stream lives long enough to get anywhere.
opcodes = st.one_of(st.sampled_from([0, 0, 0, 1, 1, 2, 8, 9, 10]), st.integers(0, 15))
rarely = st.integers(0, 15).map(lambda drawn: drawn == 0)


@st.composite
def frames(draw: st.DrawFn, *, client: bool) -> bytes:
    """One frame: usually right, sometimes with a bit, a length or the masking that is not."""
    payload, opcode = draw(payloads), draw(opcodes)
    if opcode >= 8:
        payload = payload[:125]
    fin = opcode >= 8 or draw(st.booleans())
    rsv = draw(st.integers(0, 7)) if draw(rarely) else 4 * (opcode in (1, 2) and draw(st.booleans()))
    masked = client if draw(rarely) else not client
    size = len(payload)
    if draw(rarely):
        size = draw(st.sampled_from(SIZES))
    widths = [(0, 125), (2, 0xFFFF), (8, 2**64 - 1)]
    fitting = [width for width, most in widths if size <= most]
    width = draw(st.sampled_from(fitting)) if draw(rarely) else fitting[0]
    second = {0: size, 2: 126, 8: 127}[width]
    head = bytes([fin << 7 | rsv << 4 | opcode, masked << 7 | second]) + size.to_bytes(8, "big")[8 - width :]
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


@st.composite
def streams(draw: st.DrawFn, *, client: bool) -> bytes:
    """Some frames, or a case of the tables; then perhaps bytes changed, removed or put in."""
    cases = st.sampled_from(CASES).map(lambda case: wire(case.frames, client=client))
    parts = draw(st.lists(st.one_of(frames(client=client), cases), max_size=12))
    stream = bytearray(b"".join(parts)[:2000])
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2, 5]))):
        at = draw(st.integers(0, len(stream)))
        stream[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(stream)


@dataclass(frozen=True)
class Peer:
    """What one reader is given."""

    client: bool
    limits: tuple[int, int, int]
    inflates: bool
    stream: bytes
    cuts: list[int]

    def reader(self, engine: Engine) -> FrameReader:
        return engine.Reader(
            *self.limits, Inflater(takeover=True) if self.inflates else None, client=self.client
        )

    def pieces(self) -> list[bytes]:
        edges = [0, *sorted(self.cuts), len(self.stream)]
        return [self.stream[a:b] for a, b in pairwise(edges)]


@st.composite
def peers(draw: st.DrawFn) -> Peer:
    client = draw(st.booleans())
    stream = draw(streams(client=client))
    cuts = draw(st.lists(st.integers(0, len(stream)), max_size=6))
    return Peer(client, draw(st.sampled_from(LIMITS)), draw(st.booleans()), stream, cuts)


def run(reader: FrameReader, pieces: list[bytes]) -> tuple[list[Event], bool]:
    return [event for piece in pieces for event in receive_all(reader, piece)], reader.pending


def mutated(peer: Peer, random: Random) -> Peer:
    """The same with some bytes changed, removed, doubled or put in, and cut elsewhere."""
    stream = bytearray(peer.stream)
    for _ in range(random.choice((0, 1, 1, 2, 4))):
        at = random.randrange(len(stream) + 1)
        put = random.choice((b"", random.randbytes(1), random.randbytes(3), stream[at : at + 20]))
        stream[at : at + random.choice((0, 1, 1, 2, 8))] = put
    cuts = [random.randrange(len(stream) + 1) for _ in range(random.randrange(8))]
    limits, inflates = random.choice(LIMITS), random.random() < 0.5
    return replace(peer, stream=bytes(stream), cuts=cuts, limits=limits, inflates=inflates)


def check(peer: Peer, *cuts: list[bytes]) -> None:
    outcomes = [run(peer.reader(engine), pieces) for engine in BUILT for pieces in cuts]
    assert all(outcome == outcomes[0] for outcome in outcomes), (peer, outcomes)
    RAN["readers"] += 1


@EXAMPLES
@given(peers(), st.integers(0, 2**64 - 1))
def test_readers_agree(peer: Peer, seed: int) -> None:
    """Over engines and cuts: events, codes, our words for them, and whether something is held."""
    single = [peer.stream[at : at + 1] for at in range(len(peer.stream))]
    check(peer, [peer.stream], peer.pieces(), single)
    random = Random(seed)
    for _ in range(VARIANTS):
        variant = mutated(peer, random)
        check(variant, [variant.stream], variant.pieces())


@EXAMPLES
@given(
    opcodes,
    st.one_of(payloads, st.text(max_size=300), st.binary(max_size=300), st.integers(0, 70_000).map(bytes)),
    st.one_of(st.none(), st.binary(min_size=4, max_size=4), st.binary(max_size=5)),
    st.one_of(st.sampled_from([0, FIN, RSV1, FIN | RSV1]), st.integers(-1, 256)),
)
def test_encoders_agree(opcode: int, payload: bytes | str, mask: bytes | None, flags: int) -> None:
    """The same bytes, or the same refusal; and what was made is read back."""
    made = []
    for engine in BUILT:
        try:
            made.append(engine.encode(opcode, payload, mask, flags))
        except ValueError:
            made.append(b"")
    RAN["encoders"] += 1
    assert made[0] == made[1]
    if made[0] and opcode == 2 and flags == FIN:
        sent = payload.encode() if isinstance(payload, str) else payload
        for engine in BUILT:
            assert engine.Reader(2**20, 9, 9, None, client=mask is None).receive(made[0]) == [sent]


def test_as_many_cases_ran_as_were_asked_for() -> None:
    """Behind the others: hypothesis may stop early, and then a night would have tried less than it says."""
    if len(RAN) < 2:
        pytest.skip("the others have not run here before")
    print(f"cases: {RAN['readers']} {RAN['encoders']}")
    # A few are drawn twice, or cannot be drawn.
    assert RAN["readers"] >= 0.9 * EXAMPLES.max_examples * (1 + VARIANTS)
    assert RAN["encoders"] >= 0.9 * EXAMPLES.max_examples
