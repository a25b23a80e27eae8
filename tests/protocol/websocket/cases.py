"""Frames and what they must give: the classes of Autobahn's groups, and what hostile peers send."""

from __future__ import annotations

import zlib
from typing import Any

from fastws.protocol.websocket.events import Close, Event, Fail, Ping, Pong
from tests.protocol.websocket.wire import Case, Frame, frame, sized

TEXT, BINARY, MORE = 0x81, 0x82, 0x80

UNKNOWN = Fail(1002, "unknown opcode")
RESERVED = Fail(1002, "reserved bit set")
TOO_BIG = Fail(1009, "message too big")
BAD_UTF8 = Fail(1007, "invalid UTF-8")
BAD_CODE = Fail(1002, "invalid close code")
NOT_MINIMAL = Fail(1002, "length not minimal")
OUT_OF_RANGE = Fail(1002, "length out of range")
NOTHING_TO_CONTINUE = Fail(1002, "continuation without a message")
MESSAGE_INSIDE = Fail(1002, "new message inside a message")
TOO_MANY = Fail(1008, "too many fragments")
TOO_MANY_EMPTY = Fail(1008, "too many empty fragments")


def _sizes() -> list[Case]:
    """Group 1, and both ends of each form of the length."""
    cases = [
        Case("text-hello", [frame("81 05", b"Hello")], ["Hello"]),
        Case("text-empty", [frame("81 00")], [""]),
        Case("binary-empty", [frame("82 00")], [b""]),
        Case("both-kinds", [frame("81 01", b"a"), frame("82 01", b"\xff"), frame("81 00")],
             ["a", b"\xff", ""]),
        Case("beginning-of-a-header", [frame("81 7e 01")], [], pending="frame"),
        Case("beginning-of-a-payload", [frame("82 05", b"Hel")], [], pending="frame"),
        Case("beginning-of-a-ping", [frame("89 05", b"Hel")], [], pending="frame"),
    ]  # fmt: skip
    for size, head in (
        (1, "01"), (3, "03"), (4, "04"), (7, "07"), (8, "08"), (15, "0f"), (63, "3f"), (64, "40"),
        (125, "7d"), (126, "7e 007e"), (127, "7e 007f"), (128, "7e 0080"), (65535, "7e ffff"),
        (65536, "7f 0000000000010000"),
    ):  # fmt: skip
        cases += [
            Case(f"text-{size}", [frame("81" + head, b"*" * size)], ["*" * size]),
            Case(f"binary-{size}", [frame("82" + head, b"\xfe" * size)], [b"\xfe" * size]),
        ]
    return cases


def _control() -> list[Case]:
    """Group 2, and W14."""
    return [
        Case("ping-empty", [frame("89 00")], [Ping(b"")]),
        Case("ping-text", [frame("89 05", b"Hello")], [Ping(b"Hello")]),
        Case("ping-binary", [frame("89 04", b"\x00\xff\xfe\xfd")], [Ping(b"\x00\xff\xfe\xfd")]),
        Case("ping-125", [frame("89 7d", b"\xfe" * 125)], [Ping(b"\xfe" * 125)]),
        Case("ping-126", [frame("89 7e 007e", b"\xfe" * 126)], [Fail(1002, "control frame too long")]),
        Case("ping-65536", [frame("89 7f 0000000000010000")], [Fail(1002, "control frame too long")]),
        Case("pong-unsolicited", [frame("8a 00"), frame("8a 02", b"hi")], [Pong(b""), Pong(b"hi")]),
        Case("pong-then-ping", [frame("8a 01", b"a"), frame("89 01", b"b")], [Pong(b"a"), Ping(b"b")]),
        Case("pings", [frame("89 01", b"%d" % i) for i in range(10)], [Ping(b"%d" % i) for i in range(10)]),
        Case("ping-fragmented", [frame("09 01", b"a")], [Fail(1002, "fragmented control frame")]),
        Case("pong-fragmented", [frame("0a 00")], [Fail(1002, "fragmented control frame")]),
        Case("close-fragmented", [frame("08 02", b"\x03\xe8")], [Fail(1002, "fragmented control frame")]),
        Case("close-126", [frame("88 7e 007e")], [Fail(1002, "control frame too long")]),
    ]


def _reserved() -> list[Case]:
    """Groups 3 and 4, W6 and W9: opcodes 3 to 7 and 11 to 15, RSV bits alone and together."""
    after_text = frame("81 05", b"Hello")
    cases = [
        Case(f"opcode-{op:x}-{size}", [after_text, frame(f"8{op:x}" + size)], ["Hello", UNKNOWN])
        for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
        for size in ("00", "7f 0000010000000000")
    ]
    cases += [
        Case(f"rsv{rsv}-{opcode:x}", [after_text, frame(f"{8 | rsv:x}{opcode:x} 00")], ["Hello", RESERVED])
        for rsv in range(1, 8)
        for opcode in (1, 2, 8, 9, 10)
    ]
    return [
        *cases,
        Case("rsv1-continuation", [frame("01 01", b"a"), frame("c0 01", b"b")], [RESERVED], deflate=True),
        Case("rsv1-ping", [frame("c9 00")], [RESERVED], deflate=True),
        Case("rsv1-close", [frame("c8 00")], [RESERVED], deflate=True),
        Case("rsv2-with-deflate", [frame("e1 00")], [RESERVED], deflate=True),
        Case("rsv3-with-deflate", [frame("91 00")], [RESERVED], deflate=True),
        # The opcode is judged first, and the length of a control frame before its RSV bits.
        Case("rsv1-unknown-opcode", [frame("c3 00")], [UNKNOWN]),
        Case("rsv1-long-ping", [frame("c9 7e")], [Fail(1002, "control frame too long")]),
        Case("rsv2-not-minimal", [frame("a1 7e 0001")], [NOT_MINIMAL]),
    ]


def _fragments() -> list[Case]:
    """Group 5, and the counts of W1, W2 and W2b."""
    first, last = frame("01 01", b"a"), frame("80 01", b"b")
    pings = [frame("89 01", b"p"), frame("89 00")]
    empty, more = frame("00 00"), frame("00 01", b"-")
    return [
        Case("two-fragments", [first, last], ["ab"]),
        Case("binary-fragments", [frame("02 02", b"\xff\x00"), frame("00 01", b"x"), last], [b"\xff\x00xb"]),
        Case("fragments-and-pings", [first, *pings, more, *pings, last],
             [Ping(b"p"), Ping(b""), Ping(b"p"), Ping(b""), "a-b"]),
        Case("fragments-and-pong", [first, frame("8a 00"), last], [Pong(b""), "ab"]),
        Case("fragments-all-empty", [frame("01 00"), empty, frame("80 00")], [""]),
        Case("binary-fragments-all-empty", [frame("02 00"), frame("80 00")], [b""]),
        Case("fragments-two-messages", [first, last, first, last], ["ab", "ab"]),
        Case("fragments-without-end", [first, more], [], pending="message"),
        Case("fragment-empty-without-end", [frame("01 00")], [], pending="message"),
        Case("fragments-then-close", [first, frame("88 00")], [Close(1005, "")]),
        Case("continuation-first", [last], [NOTHING_TO_CONTINUE]),
        Case("continuation-first-not-final", [frame("00 01", b"x"), last], [NOTHING_TO_CONTINUE]),
        Case("continuation-after-a-message", [first, last, last], ["ab", NOTHING_TO_CONTINUE]),
        Case("text-inside", [first, frame("81 01", b"x")], [MESSAGE_INSIDE]),
        Case("binary-inside", [frame("01 00"), frame("02 01", b"x")], [MESSAGE_INSIDE]),
        Case("most-fragments", [first, *[more] * 8, last], ["a--------b"], {"max_fragments": 10}),
        Case("too-many-fragments", [first, *[more] * 9, last], [TOO_MANY], {"max_fragments": 10}),
        Case("too-many-is-told-before-too-big", [first, frame("80 7e 7fff")], [TOO_MANY],
             {"max_fragments": 1, "max_message_size": 4}),
        Case("fragments-count-anew", [first, last] * 10, ["ab"] * 10, {"max_fragments": 2}),
        Case("most-empty", [first, *[empty] * 4, more, *[empty] * 4, last], ["a-b"]),
        Case("too-many-empty", [first, *[empty] * 5], [TOO_MANY_EMPTY]),
        Case("too-many-empty-from-the-start", [frame("01 00"), *[empty] * 4], [TOO_MANY_EMPTY]),
        Case("empty-messages-do-not-count", [frame("81 00")] * 10, [""] * 10),
        Case("empty-counts-anew", [frame("01 00"), empty, frame("80 00")] * 3, [""] * 3,
             {"max_empty_fragments": 3}),
    ]  # fmt: skip


VALID_UTF8 = (
    "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!!", "\u03ba\u1f79\u03c3\u03bc\u03b5", "\u0000",
    "\u007f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\uffff", "\U00010000",
    "\U0001ffff", "\U0010ffff", "\ufeff", "a\u20acb", "\U0001f600" * 3,
)  # fmt: skip

#: Bytes that no UTF-8 text holds, each wrong from the byte at the second place on.
INVALID_UTF8 = {
    "continuation-alone": (b"\x80", 1),
    "continuation-after-text": (b"abc\xbf", 4),
    "lead-without-continuation": (b"\xc3a", 2),
    "lead-then-lead": (b"\xe2\xe2", 2),
    "three-of-four": (b"\xf0\x9f\x98a", 4),
    "overlong-2": (b"\xc0\xaf", 1),
    "overlong-2-highest": (b"\xc1\xbf", 1),
    "overlong-3": (b"\xe0\x9f\xbf", 2),
    "overlong-4": (b"\xf0\x8f\xbf\xbf", 2),
    "surrogate-first": (b"\xed\xa0\x80", 2),
    "surrogate-last": (b"\xed\xbf\xbf", 2),
    "surrogate-pair": (b"\xed\xa1\x80\xed\xbe\x80", 2),
    "above-10ffff": (b"\xf4\x90\x80\x80", 2),
    "five-bytes": (b"\xf8\x88\x80\x80\x80", 1),
    "six-bytes": (b"\xfc\x84\x80\x80\x80\x80", 1),
    "fe": (b"\xfe", 1),
    "ff": (b"\xff", 1),
    "after-valid": (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", 13),
    "after-64-ascii": (b"." * 64 + b"\x80" + b"." * 64, 65),
}

#: Texts that stop inside a character: good so far, bad as a whole.
CUT_UTF8 = (b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"ok\xf4\x8f\xbf", b"\xce\xba\xe1\xbd")


def _utf8() -> list[Case]:
    """Group 6, and W16."""
    cases = []
    for number, text in enumerate(VALID_UTF8):
        raw = text.encode()
        cases.append(Case(f"utf8-{number}", [sized(TEXT, raw)], [text]))
        cases += [
            Case(f"utf8-{number}-at-{cut}", [sized(0x01, raw[:cut]), frame("89 00"), sized(MORE, raw[cut:])],
                 [Ping(b""), text])
            for cut in range(1, min(len(raw), 8))
        ]  # fmt: skip
        single = [sized(0x00 if at else 0x01, raw[at : at + 1]) for at in range(len(raw))]
        cases.append(Case(f"utf8-{number}-bytes", [*single, frame("80 00")], [text]))
    for name, (raw, bad) in INVALID_UTF8.items():
        cases += [
            Case(f"bad-utf8-{name}", [sized(TEXT, raw)], [BAD_UTF8]),
            Case(f"bad-utf8-{name}-fragmented", [sized(0x01, raw[:1]), sized(MORE, raw[1:])], [BAD_UTF8]),
            # Found at the byte that shows it, with the rest of the message still to come.
            Case(f"bad-utf8-{name}-unfinished", [Frame(b"\x01\x7e\x40\x00", raw[:bad])], [BAD_UTF8]),
            Case(f"no-utf8-needed-{name}", [sized(BINARY, raw)], [raw]),
        ]
    for raw in CUT_UTF8:
        cases += [
            Case(f"cut-utf8-{raw.hex()}", [sized(TEXT, raw)], [BAD_UTF8]),
            Case(f"cut-utf8-{raw.hex()}-fragmented", [sized(0x01, raw), frame("80 00")], [BAD_UTF8]),
            Case(f"cut-utf8-{raw.hex()}-unfinished", [sized(0x01, raw)], [], pending="message"),
        ]
    return cases


def close(code: int, reason: bytes = b"") -> Frame:
    return sized(0x88, code.to_bytes(2, "big") + reason)


def _close() -> list[Case]:
    """Group 7, and W15."""
    good = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
    bad = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    after = [frame("81 01", b"x"), frame("89 00"), frame("83 00"), frame("88 00")]
    return [
        *(Case(f"close-{code}", [close(code, b"bye")], [Close(code, "bye")]) for code in good),
        *(Case(f"close-{code}", [close(code)], [BAD_CODE]) for code in bad),
        Case("close-empty", [frame("88 00")], [Close(1005, "")]),
        Case("close-one-byte", [frame("88 01", b"\x03")], [Fail(1002, "close frame of one byte")]),
        Case("close-without-reason", [close(1000)], [Close(1000, "")]),
        Case("close-123", [close(1000, b"*" * 123)], [Close(1000, "*" * 123)]),
        Case("close-124", [sized(0x88, b"\x03\xe8" + b"*" * 124)], [Fail(1002, "control frame too long")]),
        Case("close-utf8", [close(1001, "\u20ac\0\U0001f600".encode())], [Close(1001, "\u20ac\0\U0001f600")]),
        Case("close-1014-123", [close(1014, b"*" * 123)], [Close(1014, "*" * 123)]),
        Case("close-1014-bad-utf8", [close(1014, b"\xce\xba\xed\xa0\x80")], [BAD_UTF8]),
        Case("close-1014-without-reason", [close(1014)], [Close(1014, "")]),
        Case("close-bad-utf8", [close(1000, b"\xce\xba\xed\xa0\x80")], [BAD_UTF8]),
        Case("close-cut-utf8", [close(1000, b"\xe2\x82")], [BAD_UTF8]),
        Case("close-bad-code-and-utf8", [close(1005, b"\xff")], [BAD_CODE]),
        Case("nothing-after-close", [frame("81 01", b"a"), close(1000), *after], ["a", Close(1000, "")]),
        Case("nothing-after-fail", [frame("83 00"), *after], [UNKNOWN]),
    ]


def _lengths() -> list[Case]:
    """Group 9, W4 and W5: a verdict on the header, also where a sum with the message would overflow."""
    begun = [frame("02 01", b"x")]
    small = {"max_message_size": 10}
    cases = [
        Case("biggest", [frame("82 0a", b"x" * 10)], [b"x" * 10], small),
        Case("biggest-in-two", [frame("02 05", b"x" * 5), frame("80 05", b"x" * 5)], [b"x" * 10], small),
        Case("too-big", [frame("82 0b")], [TOO_BIG], small),
        Case("too-big-in-two", [frame("02 05", b"x" * 5), frame("80 06")], [TOO_BIG], small),
        Case("1-GiB", [frame("82 7f 0000000040000000")], [TOO_BIG]),
        Case("biggest-unlimited", [frame("82 7f 0000000040000000", b"x")], [],
             {"max_message_size": 2**62}, pending="frame"),
        Case("65536-in-64", [sized(0x02, b"x" * 64), *[sized(0x00, b"x" * 64)] * 1023, frame("80 00")],
             [b"x" * 65536], {"max_fragments": 1025}),
    ]  # fmt: skip
    for name, head, verdict in (
        ("2^63", "7f 8000000000000000", OUT_OF_RANGE),
        ("2^64-1", "7f ffffffffffffffff", OUT_OF_RANGE),
        ("2^63-1", "7f 7fffffffffffffff", TOO_BIG),
        ("2^32", "7f 0000000100000000", TOO_BIG),
        ("125-in-16", "7e 007d", NOT_MINIMAL),
        ("0-in-16", "7e 0000", NOT_MINIMAL),
        ("65535-in-64", "7f 000000000000ffff", NOT_MINIMAL),
        ("1-in-64", "7f 0000000000000001", NOT_MINIMAL),
    ):
        cases += [
            Case(f"length-{name}", [frame("82" + head)], [verdict]),
            Case(f"length-{name}-text", [frame("01" + head)], [verdict]),
            Case(f"length-{name}-inside", [*begun, frame("80" + head)], [verdict]),
        ]
    return cases


def deflated(data: bytes, *, level: int = 6, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """The payload of a compressed message, as a sender without context takeover makes it."""
    stream = zlib.compressobj(level, zlib.DEFLATED, -15)
    raw = stream.compress(data) + stream.flush(flush)
    return raw.removesuffix(b"\x00\x00\xff\xff")


def _deflate() -> list[Case]:
    """Groups 12 and 13, W7 and W8. The literal bytes are those of RFC 7692, section 7.2.3."""
    hello, stored = bytes.fromhex("f248cdc9c90700"), bytes.fromhex("000500faff48656c6c6f00")
    final, two = bytes.fromhex("f348cdc9c9070000"), bytes.fromhex("f24805000000ffffcac9c90700")
    bomb, limit, noise = deflated(bytes(50_000)), {"max_message_size": 1000}, bytes(range(256)) * 4
    bad = Fail(1007, "invalid deflate data")

    def case(name: str, frames: list[Frame], events: list[Event], limits: Any = None) -> Case:
        return Case(f"deflate-{name}", frames, events, limits or {}, deflate=True)

    return [
        case("hello", [frame("c1 07", hello)], ["Hello"]),
        case("hello-binary", [frame("c2 07", hello)], [b"Hello"]),
        case("hello-stored", [frame("c1 0b", stored)], ["Hello"]),
        case("hello-final-block", [frame("c1 08", final)] * 2, ["Hello"] * 2),
        case("hello-two-blocks", [frame("c1 0d", two)], ["Hello"]),
        case("fragments", [frame("41 03", hello[:3]), frame("89 00"), frame("80 04", hello[3:])],
             [Ping(b""), "Hello"]),
        case("plain-beside", [frame("c1 07", hello), frame("81 01", b"x"), frame("c1 07", hello)],
             ["Hello", "x", "Hello"]),
        case("plain-fragments", [frame("01 01", b"x"), frame("80 01", b"y"), frame("c1 07", hello)],
             ["xy", "Hello"]),
        case("empty", [frame("c1 01", b"\x00")], [""]),
        case("no-bytes", [frame("c1 00")], [""]),
        case("empty-first-fragment", [frame("41 00"), frame("00 07", hello), frame("80 00")], ["Hello"]),
        case("stored-noise", [sized(0xC2, deflated(noise, level=0))], [noise], {"max_message_size": 1024}),
        case("65536", [sized(0xC2, deflated(b"*-" * 32768))], [b"*-" * 32768]),
        case("bad-utf8", [sized(0xC1, deflated(b"\xed\xa0\x80"))], [BAD_UTF8]),
        case("bad-data", [frame("c1 03", b"\xff\xff\xff")], [bad]),
        case("bad-distance", [frame("c2 04", b"\x4a\x04\x11\x00")], [bad]),
        case("bomb", [sized(0xC2, bomb)], [TOO_BIG], limit),
        case("bomb-in-fragments", [sized(0x42, bomb[:10]), sized(0x00, bomb[10:20]), sized(MORE, bomb[20:])],
             [TOO_BIG], limit),
        case("biggest", [sized(0xC2, deflated(bytes(1000)))], [bytes(1000)], limit),
        case("one-too-big", [sized(0xC2, deflated(bytes(1001)))], [TOO_BIG], limit),
        # 1,000 and an eighth and 1 KiB: then the header alone is enough.
        case("most-compressed", [Frame(b"\xc2\x7e\x08\x65", b"\0" * 2149)], [bad], limit),
        case("too-much-compressed", [frame("c2 7e 0866")], [TOO_BIG], limit),
        case("too-much-in-two", [frame("42 7e 0400", b"\0" * 1024), frame("80 7e 0466")], [TOO_BIG], limit),
        case("no-slack-for-plain", [frame("82 7e 03e9")], [TOO_BIG], limit),
        case("too-many-final-blocks", [sized(0xC2, b"\x03\x00" * 1000)], [bad]),
    ]  # fmt: skip


CASES = [*_sizes(), *_control(), *_reserved(), *_fragments(), *_utf8(), *_close(), *_lengths(), *_deflate()]
