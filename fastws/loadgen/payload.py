"""The message of a run as it goes over the wire: compressed, masked, and with room for a stamp."""

from __future__ import annotations

import os
import random
import struct
import zlib
from dataclasses import dataclass

from fastws.loadgen.plan import STAMP_FIELD, STAMP_SIZE, Plan
from fastws.protocol.websocket.frames import Opcode

__all__ = ["Payload", "make_payload"]

#: `_loadgen_client.c` writes eight digits over the zeros, `_loadgen_message.c` looks for the mark.
STAMP = b"~" + b"0" * (STAMP_SIZE - 1)
NO_STAMP = -1
SEED = 6455
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
    """A frame. The digits of its stamp begin at ``stamp_at`` and are masked with ``stamp_mask``."""

    frame: bytes
    stamp_at: int
    stamp_mask: bytes
    #: Bytes of the message, before compression.
    size: int


def make_payload(plan: Plan, mask: bytes | None = None) -> Payload:
    """Make the frame of ``plan``'s message. By default ``mask`` is random, and never zero."""
    before, after = message(plan)
    stamp = STAMP if plan.stamped else b""
    size = len(before) + len(stamp) + len(after)
    if plan.deflate:
        before, stamp_part, after = compressed(before, stamp, after)
    else:
        stamp_part = stamp
    body = before + stamp_part + after
    mask = mask or os.urandom(3) + b"\x5a"
    head = header(plan, len(body))
    frame = head + mask + masked(body, mask)
    if not stamp:
        return Payload(frame, NO_STAMP, bytes(STAMP_SIZE - 1), size)
    in_body = len(before) + len(stamp_part) - (STAMP_SIZE - 1)
    stamp_mask = bytes(mask[(in_body + i) % 4] for i in range(STAMP_SIZE - 1))
    return Payload(frame, len(head) + 4 + in_body, stamp_mask, size)


def message(plan: Plan) -> tuple[bytes, bytes]:
    """What stands before the stamp, and what after it."""
    if plan.message is not None:
        before, found, after = plan.message.partition(STAMP_FIELD)
        if not found or plan.stamped:
            return before.encode(), after.encode()
        # This scenario reads no stamp, but the message keeps its form.
        return (before + STAMP.decode() + after).encode(), b""
    size = plan.size - (STAMP_SIZE if plan.stamped else 0)
    return b"", filler(size, binary=plan.binary, without=plan.merged_by)


def filler(size: int, *, binary: bool, without: str | None = None) -> bytes:
    """``size`` bytes, the same in each run: noise, or text that compresses as JSON does.

    The character ``without`` is not among them.
    """
    rng = random.Random(SEED)
    if binary:
        noise = rng.randbytes(size)
        return noise if without is None else noise.replace(without.encode(), b"\xff")
    text = ""
    while len(text) < size:
        text += f'{{"id":{rng.randrange(10**6)},"user":"{rng.choice(WORDS)}","text":"'
        text += " ".join(rng.choices(WORDS, k=8)) + '"} '
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
    """The parts of one deflate stream (RFC 7692, section 7.2.1) in which the stamp can be changed in place.

    The stamp is a stored block (RFC 1951, section 3.2.4). What stands before it and after it is compressed
    alone, so that no reference points into the stamp.
    """
    if not stamp:
        return b"", b"", deflated(before + after).removesuffix(b"\0\0\xff\xff")
    length = len(stamp)
    block = b"\0" + struct.pack("<HH", length, length ^ 0xFFFF) + stamp
    return deflated(before) if before else b"", block, deflated(after).removesuffix(b"\0\0\xff\xff")


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
