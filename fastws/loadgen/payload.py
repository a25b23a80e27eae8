"""The message of a run as it goes over the wire: compressed, masked, with room for a stamp or a nonce."""

from __future__ import annotations

import os
import random
import struct
import zlib
from dataclasses import dataclass

from fastws.loadgen.plan import STAMP_FIELD, STAMP_SIZE, Plan, Scenario
from fastws.protocol.websocket.frames import Opcode

__all__ = ["Payload", "make_payload"]

#: `_loadgen_client.c` writes eight digits over the zeros, `_loadgen_message.c` looks for the mark.
STAMP = b"~" + b"0" * (STAMP_SIZE - 1)
NO_STAMP = -1
#: Most digits of a nonce; a smaller message has fewer.
NONCE_SIZE = STAMP_SIZE - 1
#: The digits, `STAMP_ALPHABET` in `_loadgen_message.c`.
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
SEED = 6455
#: A longer text repeats itself after so many characters, which is more than deflate looks back (32 KiB).
REPEATED_SIZE = 1 << 20
WORDS = (
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "omega",
)


@dataclass(frozen=True, slots=True)
class Payload:
    """A frame. The digits of its stamp begin at ``stamp_at``, those of its nonce at ``nonce_at``.

    A frame has one of them or none. ``stamp_mask`` masks the digits.
    """

    frame: bytes
    stamp_at: int
    stamp_mask: bytes
    #: Bytes of the message, before compression.
    size: int
    nonce_at: int = 0
    #: Where the nonce begins in the message, before compression.
    nonce_offset: int = 0
    #: Digits of the nonce. 0: there is none.
    nonce_len: int = 0


def make_payload(plan: Plan, mask: bytes | None = None) -> Payload:
    """Make the frame of ``plan``'s message. By default ``mask`` is random, and never zero."""
    before, slot, after = message(plan)
    size, offset = len(before) + len(slot) + len(after), len(before)
    if plan.deflate:
        before, block, after = compressed(before, slot, after)
    else:
        block = slot
    body = before + block + after
    mask = mask or os.urandom(3) + b"\x5a"
    head = header(plan, len(body))
    frame = head + mask + masked(body, mask)
    digits = min(len(slot), NONCE_SIZE)
    in_body = len(before) + len(block) - digits
    digits_mask = bytes(mask[(in_body + i) % 4] for i in range(NONCE_SIZE))
    at = len(head) + 4 + in_body
    if plan.stamped:
        return Payload(frame, at, digits_mask, size)
    return Payload(frame, NO_STAMP, digits_mask, size, at if digits else 0, offset, digits)


def message(plan: Plan) -> tuple[bytes, bytes, bytes]:
    """The message in three parts. The middle one is the stamp, or zeros for the nonce."""
    if plan.message is not None:
        return own_message(plan, plan.message)
    if plan.stamped:
        return b"", STAMP, filler(plan.size - STAMP_SIZE, binary=plan.binary, without=plan.merged_by)
    content = filler(plan.size, binary=plan.binary, without=plan.merged_by)
    digits = min(plan.size, NONCE_SIZE) if has_nonce(plan) else 0
    return b"", b"0" * digits, content[digits:]


def own_message(plan: Plan, text: str) -> tuple[bytes, bytes, bytes]:
    """The user's own message. It keeps its form also where the scenario reads neither stamp nor nonce."""
    before, found, after = text.partition(STAMP_FIELD)
    if not found:
        return before.encode(), b"", b""
    if plan.stamped:
        return before.encode(), STAMP, after.encode()
    mark, digits = STAMP[:1], STAMP[1:]
    if has_nonce(plan):
        return before.encode() + mark, digits, after.encode()
    return before.encode() + STAMP + after.encode(), b"", b""


def has_nonce(plan: Plan) -> bool:
    """Whether each client has to find its own nonce in the answers to its messages."""
    separated = plan.merged_by is not None and plan.merged_by in ALPHABET
    return plan.scenario is Scenario.ECHO and not plan.any_reply and not separated


def filler(size: int, *, binary: bool, without: str | None = None) -> bytes:
    """``size`` bytes, the same in each run: noise, or text that compresses as JSON does.

    The character ``without`` is not among them.
    """
    rng = random.Random(SEED)
    if binary:
        noise = rng.randbytes(size)
        return noise if without is None else noise.replace(without.encode(), b"\xff")
    rows: list[str] = []
    length = 0
    while length < min(size, REPEATED_SIZE):
        row = f'{{"id":{rng.randrange(10**6)},"user":"{rng.choice(WORDS)}","text":"'
        rows.append(row + " ".join(rng.choices(WORDS, k=8)) + '"} ')
        length += len(rows[-1])
    text = "".join(rows)
    text *= -(-size // len(text)) if text else 1
    # The last character is no white space, which a chat would trim.
    text = (text[: size - 1] + ".")[:size]
    return (text if without is None else text.replace(without, "_")).encode()


def header(plan: Plan, length: int) -> bytes:
    """RFC 6455, section 5.2; RSV1 for compressed messages (RFC 7692, section 6)."""
    opcode = Opcode.BINARY if plan.binary else Opcode.TEXT
    first = 0x80 | (0x40 if plan.deflate else 0) | opcode
    if length < 126:
        return struct.pack("!BB", first, 0x80 | length)
    if length < 1 << 16:
        return struct.pack("!BBH", first, 0x80 | 126, length)
    return struct.pack("!BBQ", first, 0x80 | 127, length)


def masked(body: bytes, mask: bytes) -> bytes:
    repeated = (mask * (len(body) // 4 + 1))[: len(body)]
    return (int.from_bytes(body) ^ int.from_bytes(repeated)).to_bytes(len(body))


def compressed(before: bytes, stamp: bytes, after: bytes) -> tuple[bytes, bytes, bytes]:
    """The parts of one deflate stream (RFC 7692, section 7.2.1). The stamp can be changed in place.

    The stamp, or the nonce, is a stored block (RFC 1951, section 3.2.4). What stands before it and after it
    is compressed alone, so that no reference points into it.
    """
    if not stamp:
        return b"", b"", deflated(before + after).removesuffix(b"\0\0\xff\xff")
    length = len(stamp)
    block = b"\0" + struct.pack("<HH", length, length ^ 0xFFFF) + stamp
    return deflated(before) if before else b"", block, deflated(after).removesuffix(b"\0\0\xff\xff")


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
