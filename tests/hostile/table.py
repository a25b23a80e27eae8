"""The table: what strangers send, and what must come back. A new advisory is a new row, or a line in one.

``Frames`` are bytes on an open WebSocket and the close codes of which one answers them; ``Refused`` are
requests and the statuses of which one answers them, before the connection ends. What takes more words
is a function. Beside each row a normal client echoes 20 times a second: no errors, p99 below 100 ms; at
its end memory, open files, process and log are what they were (``harness.py``). Bounds of time and CPU
bind the C engine.
"""

from __future__ import annotations

from tests.hostile import handshake, http1, machine, static, tls, websocket
from tests.hostile.harness import Frames, Refused, Row
from tests.hostile.payloads import (
    CHUNKED,
    DEFLATE,
    LIMIT,
    MS,
    bomb,
    fragments,
    in_fragments,
    literal,
    request,
    with_body,
)
from tests.kit.process import MIB
from tests.live.raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close_frame,
    frame,
    header,
    upgrade,
)

__all__ = ["ROWS"]

#: For rows that take chances.
SEEDS = (1, 2, 3)

#: Two messages of the largest size.
BOMB = 2 * LIMIT

WEBSOCKET = [
    Row(
        "W1",
        "fragment bomb",
        "CVE-2014-0193, CVE-2026-48779, CVE-2026-62389, ws#2331",
        send="300,000 fragments of one byte without an end; 100 messages just below the limit",
        expect="1008 or 1009 in 1 s, 2 MiB; 50 MiB",
        attacks=[
            Frames(
                "300,000 fragments",
                lambda: fragments(BINARY, b"x", 300_000),
                (1008, 1009),
                1,
                2 * MIB,
            ),
            websocket.unfinished_messages,
        ],
    ),
    Row(
        "W2",
        "flood of empty fragments",
        "CVE-2026-12151, ws 8.21.1",
        send="300,000 empty continuations, of a text and of a compressed message",
        expect="1008 in 1 s, 1 MiB",
        attacks=[
            Frames("300,000", lambda: fragments(BINARY, b"", 300_000), (1008,), 1, MIB),
            Frames(
                "65, with pings between them",
                lambda: frame(TEXT, b"x", fin=False) + (frame(CONTINUATION, fin=False) + frame(PONG)) * 65,
                (1008,),
            ),
            Frames(
                "compressed",
                lambda: frame(TEXT, b"", fin=False, rsv=4) + frame(CONTINUATION, fin=False) * 300_000,
                (1008,),
                1,
                MIB,
                (DEFLATE,),
            ),
        ],
    ),
    Row(
        "W2b",
        "counter that is never set back",
        "ws#2333",
        send="100,000 messages, 10,000 of two fragments, on one connection",
        expect="all echoed, still open",
        attacks=[websocket.no_flood],
    ),
    Row(
        "W3",
        "tiny reads",
        "CVE-2026-123817",
        send="1 MiB in writes of one byte (short form: 128 KiB)",
        expect="echoed, 2 MiB, 5 s of CPU",
        attacks=[websocket.byte_by_byte],
    ),
    Row(
        "W4",
        "frame that is announced and never comes",
        "CVE-2026-54274, CVE-2016-10542, CVE-2026-44545",
        send="headers of frames beyond the limit, alone and in a message",
        expect="1009 on the header",
        attacks=[
            Frames("1 GiB", literal(header(BINARY, 1 << 30)), (1009,)),
            Frames("a byte too much", literal(header(TEXT, LIMIT + 1)), (1009,)),
            Frames(
                "a byte too much in all",
                literal(fragments(BINARY, b"xx", 2) + header(CONTINUATION, LIMIT - 3)),
                (1009,),
            ),
            Frames("compressed", literal(header(TEXT, 1 << 30, rsv=4)), (1009,), fields=(DEFLATE,)),
        ],
    ),
    Row(
        "W5",
        "length that overflows",
        "CVE-2020-27813, CVE-2020-13935, PYSEC-2026-4395, CVE-2026-1528, IXWebSocket#118",
        send="2**63, 2**63-1, 2**64-1, alone and in a message; lengths longer than they need be",
        expect="1002 or 1009 in 50 ms, then idle",
        attacks=[
            *[
                Frames(f"{size:#x} bytes {place}", literal(before + header(opcode, size)), (1002, 1009))
                for size in (1 << 63, (1 << 63) - 1, (1 << 64) - 1, (1 << 63) | 5, 1 << 32, (1 << 31) - 1)
                for place, before, opcode in (
                    ("alone", b"", BINARY),
                    ("in a message", frame(BINARY, b"x", fin=False), 0),
                )
            ],
            Frames("125 in 16 bits", literal(b"\x82\xfe\x00\x7d" + bytes(129)), (1002,)),
            Frames("0 in 16 bits", literal(b"\x82\xfe\x00\x00" + bytes(4)), (1002,)),
            Frames(
                "65,535 in 64 bits", literal(b"\x82\xff" + (65535).to_bytes(8, "big") + bytes(4)), (1002,)
            ),
            Frames("0 in 64 bits", literal(b"\x82\xff" + bytes(12)), (1002,)),
            lambda arena: arena.idle(),
        ],
    ),
    Row(
        "W6",
        "unknown opcode with a huge length",
        "CVE-2026-19204",
        send="opcodes 3-7 and 11-15 with 2**40 bytes, with none, and in a message",
        expect="1002 at once",
        attacks=[
            Frames(f"opcode {opcode} {what}", literal(data), (1002,))
            for opcode in (*range(3, 8), *range(11, 16))
            for what, data in (
                ("with 2**40 bytes", header(opcode, 1 << 40)),
                ("with none", frame(opcode)),
                ("in a message", frame(TEXT, b"x", fin=False) + frame(opcode, b"x")),
            )
        ],
    ),
    Row(
        "W7",
        "deflate bomb",
        "CVE-2018-1000518, CVE-2026-27571, -39804, -77528, -54464, -1526",
        send="50 KB that become 50 MiB, whole, in 1,000 fragments, and behind good messages",
        expect="1009, 2 MiB, 100 ms",
        attacks=[
            Frames("whole", lambda: frame(BINARY, bomb(), rsv=4), (1009,), 100 * MS, BOMB, (DEFLATE,)),
            Frames("in fragments", lambda: in_fragments(bomb(), 1000), (1009,), 100 * MS, BOMB, (DEFLATE,)),
            Frames("as text", lambda: frame(TEXT, bomb(), rsv=4), (1009,), 100 * MS, BOMB, (DEFLATE,)),
            Frames(
                "a byte too much",
                lambda: frame(BINARY, websocket.deflated(bytes(LIMIT + 1)), rsv=4),
                (1009,),
                100 * MS,
                BOMB,
                (DEFLATE,),
            ),
        ],
    ),
    Row(
        "W8",
        "blocks that inflate to nothing",
        "CVE-2026-128131",
        send="1 MiB of empty stored, final, fixed and dynamic blocks",
        expect="100 ms; ten times the size, at most 15 times the CPU",
        attacks=[websocket.inflating_is_linear],
    ),
    Row(
        "W9",
        "reserved bits, bad extensions",
        "CVE-2026-59881, CVE-2026-2229, NSP-550",
        send="RSV bits that were not agreed on; offers that are none",
        expect="1002; 101 without the extension",
        attacks=[
            *[
                Frames(f"RSV {bits:03b}, not agreed on", literal(frame(TEXT, b"x", rsv=bits)), (1002,))
                for bits in range(1, 8)
            ],
            *[
                Frames(
                    f"RSV1 on opcode {opcode}",
                    literal(frame(opcode, b"\x03\xe8", rsv=4)),
                    (1002,),
                    fields=(DEFLATE,),
                )
                for opcode in (CLOSE, PING, PONG)
            ],
            Frames(
                "RSV1 on a continuation",
                literal(frame(TEXT, b"x", fin=False, rsv=4) + frame(CONTINUATION, b"x", rsv=4)),
                (1002,),
                fields=(DEFLATE,),
            ),
            Frames(
                "RSV1 on a plain message's end",
                literal(frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", rsv=4)),
                (1002,),
                fields=(DEFLATE,),
            ),
            Frames("RSV2 beside RSV1", literal(frame(TEXT, b"x", rsv=6)), (1002,), fields=(DEFLATE,)),
            Frames(
                "what does not inflate",
                literal(frame(TEXT, b"\x07\xff\xff\xff", rsv=4)),
                (1002, 1007),
                fields=(DEFLATE,),
            ),
            handshake.offers_that_are_none,
        ],
    ),
    Row(
        "W10",
        "patterns that backtrack",
        "CVE-2021-32640, CVE-2020-7662, CVE-2020-7663",
        send="30,000 and 66,000 spaces, unclosed quotes, commas, in four fields",
        expect="431 or 101, 5 ms",
        attacks=[handshake.backtracking],
    ),
    Row(
        "W11",
        "handshake that crashes",
        "CVE-2024-37890, CVE-2026-42544, CVE-2026-61666, CVE-2022-41940, CVE-2022-21676, GHSA-q9mw-68c2-j6m5",
        send="10,000 handshakes that something has happened to (short form: 1,200)",
        expect="101, 4xx or the end",
        attacks=[handshake.random_handshakes],
        stage="hasty",
        seeds=SEEDS,
        logs="refuses the origin",
    ),
    Row(
        "W12",
        "flood of pings",
        "ws 8.23.0, CVE-2026-11586, GHSA-9fm3-97px-rjf6, CVE-2021-3690, CVE-2016-10518",
        send="21 MB of pings from one who never reads; of pongs; of small messages",
        expect="2 MiB; the others have their turns",
        attacks=[websocket.pings_unread, websocket.pongs_unasked, websocket.flooder],
    ),
    Row(
        "W13",
        "masks",
        "RFC 6455, sections 5.1 and 5.3",
        send="frames without a mask; to our client, frames with one; 10,000 frames of our client",
        expect="1002; keys without a pattern",
        attacks=[
            Frames("text", literal(frame(TEXT, b"x", mask=None)), (1002,)),
            Frames("close", literal(frame(CLOSE, b"\x03\xe8", mask=None)), (1002,)),
            Frames("ping", literal(frame(PING, mask=None)), (1002,)),
            Frames(
                "the second fragment",
                literal(frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", mask=None)),
                (1002,),
            ),
            websocket.client_takes_no_mask,
            websocket.client_masks_at_random,
        ],
    ),
    Row(
        "W14",
        "rules of control frames and fragments",
        "RFC 6455, sections 5.4 and 5.5",
        send="control frames that are long or fragments; messages inside messages",
        expect="1002",
        attacks=[
            *[
                Frames(f"opcode {opcode} {what}", literal(data), (1002,))
                for opcode in (CLOSE, PING, PONG)
                for what, data in (
                    ("of 126 bytes", frame(opcode, b"\x03\xe8" + bytes(124))),
                    ("of 2**40 bytes", header(opcode, 1 << 40)),
                    ("that is a fragment", frame(opcode, b"\x03\xe8", fin=False)),
                )
            ],
            Frames("a continuation of nothing", literal(frame(CONTINUATION, b"x")), (1002,)),
            Frames("a fragment of nothing", literal(frame(CONTINUATION, b"x", fin=False)), (1002,)),
            Frames(
                "a message inside a message", literal(fragments(TEXT, b"x", 2) + frame(TEXT, b"y")), (1002,)
            ),
            Frames(
                "a fragment inside a message",
                literal(fragments(TEXT, b"x", 2) + frame(BINARY, b"y", fin=False)),
                (1002,),
            ),
        ],
    ),
    Row(
        "W15",
        "edges of the close",
        "CVE-2026-45736",
        send="closes that are none; data behind one; a close whose sender stays; closes of ours",
        expect="1002, 1007; closed in 5 s; our bytes are what was given",
        attacks=[
            Frames("a close of one byte", literal(frame(CLOSE, b"\x03")), (1002,)),
            *[
                Frames(f"a close with {code}", literal(close_frame(code)), (1002,))
                for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
            ],
            Frames("a reason that is no UTF-8", literal(close_frame(1000, b"\xc3\x28")), (1007,)),
            Frames("a reason cut in a character", literal(close_frame(1000, b"\xe2\x82")), (1007,)),
            Frames("data behind the close", literal(close_frame(1000) + frame(TEXT, b"x") * 1000), (1000,)),
            Frames("nonsense behind the close", literal(close_frame(3000) + b"\xff" * 5000), (3000,)),
            Frames(
                "a close inside a message", literal(fragments(TEXT, b"x", 3) + close_frame(1001)), (1001,)
            ),
            websocket.who_keeps_tcp_open,
            websocket.our_own_close,
        ],
        stage="hasty",
    ),
    Row(
        "W16",
        "UTF-8 in pieces",
        "RFC 6455, section 8.1",
        send="every split of characters, over fragments and reads; sequences that are none",
        expect="echoed; 1007, before the message ends",
        attacks=[
            *[
                # Fragments without an end: the answer must not wait for one.
                Frames(what, literal(frame(TEXT, b"good " + data, fin=False)), (1007,))
                for what, data in (
                    ("a lone continuation byte", b"\x80"),
                    ("a sequence cut short", b"\xe2\x28\xa1"),
                    ("an overlong slash", b"\xc0\xaf"),
                    ("an overlong NUL", b"\xe0\x80\x80"),
                    ("an overlong of four", b"\xf0\x80\x80\xaf"),
                    ("half a surrogate pair", b"\xed\xa0\x80"),
                    ("a surrogate pair", b"\xed\xa0\xbd\xed\xb8\x80"),
                    ("beyond U+10FFFF", b"\xf4\x90\x80\x80"),
                    ("five octets", b"\xf8\x88\x80\x80\x80"),
                    ("0xff", b"\xff"),
                )
            ],
            Frames("half a character at the end", literal(frame(TEXT, "€".encode()[:2])), (1007,)),
            Frames(
                "half a character, then no continuation of it",
                literal(frame(TEXT, "€".encode()[:2], fin=False) + frame(CONTINUATION, b"x")),
                (1007,),
            ),
            Frames(
                "a bad byte, then 1 MiB of text",
                literal(frame(TEXT, b"\xff", fin=False) + frame(CONTINUATION, b"x" * (LIMIT - 1))),
                (1007,),
            ),
            websocket.characters_in_pieces,
            websocket.text_in_random_pieces,
        ],
        seeds=SEEDS,
    ),
    Row(
        "W17",
        "resets anywhere",
        "CVE-2017-2670",
        send="RST at 30 points of a life, 1,000 times each (short form: 6)",
        expect="idle in 1 s, nothing left",
        attacks=[websocket.resets_anywhere],
        logs="closed with 1002",
        seeds=SEEDS,
    ),
    Row(
        "W18",
        "slow reader",
        "aiohttp#1367",
        send="5 who stop to read a broadcast of 1 KiB, 4,000 times a second (long: 20, 1,000)",
        expect="evicted, cut 10 s later, 1.2 MiB each; who reads hears all of it",
        attacks=[websocket.slow_readers],
        logs="took nothing for",
        stage="hasty",
    ),
    Row(
        "W19",
        "cross-site WebSocket hijacking",
        "GHSA-frjg-g767-7363, WS-2020-0443, PYSEC-2026-3483, CVE-2020-14368",
        send="origins that look like ours, none, two",
        expect="403; none: 101, and 403 under --require-origin",
        attacks=[handshake.foreign_origins, handshake.required_origin],
        logs="refuses the origin",
    ),
    Row(
        "W20",
        "timing of credentials",
        "CVE-2021-33880",
        send="guesses that are near and far, for known users and unknown",
        expect="401, the same bytes but the date; in the long form the same time (t < 4.5)",
        attacks=[handshake.no_comparison_that_stops, handshake.refusals, handshake.guesses],
    ),
    Row(
        "W21",
        "depth of JSON",
        "CVE-2024-27454, CVE-2025-67221",
        send="100,000 brackets, open and closed",
        expect="1007 for the sender alone",
        attacks=[websocket.nested_json],
    ),
]

HTTP = [
    Row(
        "H1",
        "smuggling: two framings",
        "CVE-2023-47641, CVE-2024-1135, CVE-2024-6827, GHSA-753j-mpmx-qq6g, CVE-2026-42585, CVE-2026-89044",
        send="Transfer-Encoding with Content-Length, twice, of other codings, in HTTP/1.0, in disguise",
        expect="400 or 501, closed, nothing behind it is a request",
        attacks=[
            Refused(f"{fields} in {version}", with_body(*fields, version=version), (400, 501))
            for version, fields in (
                ("HTTP/1.1", (CHUNKED, "Content-Length: 5")),
                ("HTTP/1.1", ("Content-Length: 5", CHUNKED)),
                ("HTTP/1.1", (CHUNKED, "Content-Length: 0")),
                ("HTTP/1.1", ("content-length:5", "TRANSFER-ENCODING:chunked")),
                ("HTTP/1.1", (CHUNKED, CHUNKED)),
                ("HTTP/1.1", (CHUNKED, "Transfer-Encoding: identity")),
                ("HTTP/1.1", ("Transfer-Encoding: chunked, identity",)),
                ("HTTP/1.1", ("Transfer-Encoding: identity, chunked",)),
                ("HTTP/1.1", ("Transfer-Encoding: chunked, chunked",)),
                ("HTTP/1.1", ("Transfer-Encoding: ,chunked",)),
                ("HTTP/1.1", ("Transfer-Encoding: chunked,",)),
                ("HTTP/1.1", ("Transfer-Encoding: xchunked",)),
                ("HTTP/1.1", ("Transfer-Encoding: chunked;q=1",)),
                ("HTTP/1.1", ('Transfer-Encoding: "chunked"',)),
                ("HTTP/1.1", ("Transfer-Encoding: gzip",)),
                ("HTTP/1.1", ("Transfer-Encoding: gzip, chunked",)),
                ("HTTP/1.1", ("Transfer-Encoding: identity",)),
                ("HTTP/1.1", ("Transfer-Encoding:",)),
                ("HTTP/1.1", ("Transfer-Encoding: chun ked",)),
                ("HTTP/1.1", ("Transfer-Encoding: chunked\xa0",)),
                ("HTTP/1.1", ("Transfer-Encoding: \x0bchunked",)),
                ("HTTP/1.1", ("Transfer-Encoding: \x00chunked",)),
                ("HTTP/1.1", ("Transfer-Encoding : chunked",)),
                ("HTTP/1.1", ("Transfer-Encoding\t: chunked",)),
                ("HTTP/1.1", ("Transfer-Encoding:\r\n chunked",)),
                ("HTTP/1.1", ("X: y\r\n Transfer-Encoding: chunked",)),
                ("HTTP/1.1", ("X: y\nTransfer-Encoding: chunked",)),
                ("HTTP/1.1", ("X: y\rTransfer-Encoding: chunked",)),
                ("HTTP/1.0", (CHUNKED,)),
                ("HTTP/1.0", (CHUNKED, "Content-Length: 5")),
            )
        ],
    ),
    Row(
        "H2",
        "numbers that are read in two ways",
        "GHSA-qppv-j76h-2rpx, CVE-2023-47627",
        send="lengths and sizes of chunks with signs, underscores, prefixes, other digits; two lengths",
        expect="400, closed",
        attacks=[
            *[
                Refused(f"Content-Length: {value!r}", with_body(f"Content-Length: {value}", body=b"x" * 10))
                for value in (
                    *("+5", "-1", "-0", "010", "00", "1_0", "0x5", "0b1", "", "5,5", "5, 5", "5;6", "5 5"),
                    *("1e1", "5.0", "5\t6", "NaN", "9" * 20, "9" * 5000, "\xb2", "\xd9\xa5", "5\xa0", "'5'"),
                )
            ],
            Refused("two lengths", with_body("Content-Length: 5", "Content-Length: 6", body=b"x" * 6)),
            Refused("one twice", with_body("Content-Length: 5", "Content-Length: 5", body=b"x" * 5)),
            Refused("in cases", with_body("Content-Length: 5", "CONTENT-length: 6", body=b"x" * 6)),
            Refused("more than we take", with_body("Content-Length: 9223372036854775807"), (413,)),
            *[
                Refused(
                    f"a chunk of {size!r}",
                    with_body(CHUNKED, body=size.encode("latin-1") + b"\r\nxxxxx\r\n0\r\n\r\n"),
                )
                for size in (
                    *("+5", "-5", "0x5", "5_0", "", " 5", "\t5", "\xb2", "g", "5g", "5.0", "F" * 20, "5 x"),
                    *("5\x0b", "5\xa0", "5,", "0" * 17 + "5", "5\x00"),
                )
            ],
            Refused("a chunk beyond the limit", with_body(CHUNKED, body=b"FFFFFFFFFFFFFFFF\r\n"), (413,)),
        ],
    ),
    Row(
        "H3",
        "framing of chunks",
        "CVE-2025-43859, GHSA-fghv-69vj-qj49, CVE-2026-7790",
        send="no CRLF behind a chunk, LF and CR in extensions, endless ones, bad trailers, 100,000 chunks",
        expect="400 or 431, closed; 200 ms; trailers never become fields",
        attacks=[
            *[
                Refused(what, with_body(CHUNKED, body=body), statuses)
                for what, body, statuses in (
                    ("no CRLF behind a chunk", b"5\r\nxxxxxyy0\r\n\r\n", (400,)),
                    ("two octets instead of it", b"5\r\nxxxxxyy\r\n0\r\n\r\n", (400,)),
                    ("a chunk that is longer", b"5\r\nxxxxxx\r\n0\r\n\r\n", (400,)),
                    ("LF behind a chunk", b"5\r\nxxxxx\n0\r\n\r\n", (400,)),
                    ("CR CR behind a chunk", b"5\r\nxxxxx\r\r0\r\n\r\n", (400,)),
                    ("LF alone behind a size", b"5\nxxxxx\r\n0\r\n\r\n", (400,)),
                    ("CR alone behind a size", b"5\rxxxxx\r\n0\r\n\r\n", (400,)),
                    ("LF in an extension", b"5;a\nb\r\nxxxxx\r\n0\r\n\r\n", (400,)),
                    ("CR in an extension", b"5;a\rb\r\nxxxxx\r\n0\r\n\r\n", (400,)),
                    ("NUL in an extension", b"5;a\0b\r\nxxxxx\r\n0\r\n\r\n", (400,)),
                    ("LF in a quoted value", b'5;a="\n"\r\nxxxxx\r\n0\r\n\r\n', (400,)),
                    ("CRLF in a quoted value", b'5;a="\r\n"\r\nxxxxx\r\n0\r\n\r\n', (400,)),
                    ("257 octets of extension", b"5;" + b"x" * 257 + b"\r\nxxxxx\r\n0\r\n\r\n", (400,)),
                    ("an endless extension", b"5;" + b"x" * 5000, (400,)),
                    ("endless white space", b"5" + b" " * 5000, (400,)),
                    ("LF behind the last size", b"0\n\r\n", (400,)),
                    ("LF behind a trailer", b"0\r\na: b\n\r\n", (400,)),
                    ("LF for the end", b"0\r\na: b\r\n\n", (400,)),
                    ("a folded trailer", b"0\r\na: b\r\n c\r\n\r\n", (400,)),
                    ("a trailer without a colon", b"0\r\nab\r\n\r\n", (400,)),
                    ("a trailer with NUL", b"0\r\na: \0\r\n\r\n", (400,)),
                    ("a space before the colon", b"0\r\na : b\r\n\r\n", (400,)),
                    ("endless trailers", b"0\r\n" + b"a: b\r\n" * 5000 + b"\r\n", (400, 431)),
                    ("a trailer of 20 kB", b"0\r\na: " + b"b" * 20_000 + b"\r\n\r\n", (400, 431)),
                )
            ],
            http1.rest_of_a_refused_body,
            http1.tiny_chunks,
            http1.digits_one_by_one,
        ],
    ),
    Row(
        "H4",
        "smuggling through an upgrade",
        "CVE-2026-69243",
        send="upgrades with a body; frames behind a refused upgrade, and with a good one",
        expect="400, closed; never a request; never lost",
        attacks=[
            *[
                Refused(f"an upgrade with {name}", upgrade("/echo", name) + b"0\r\n\r\n")
                for name in (CHUNKED, "Content-Length: 5", "Content-Length: 5\r\nTransfer-Encoding: chunked")
            ],
            Refused(
                "an upgrade by POST",
                upgrade("/echo").replace(b"GET", b"POST"),
                (400, 405, 426),
            ),
            Refused("an upgrade in HTTP/1.0", upgrade("/echo").replace(b"HTTP/1.1", b"HTTP/1.0"), (400, 426)),
            http1.frames_behind_a_refused_upgrade,
            http1.frames_with_the_handshake,
        ],
        logs="refuses the origin",
    ),
    Row(
        "H5",
        "octets of a head",
        "CVE-2023-37276, CVE-2026-34520, CVE-2026-44546, CVE-2026-34525",
        send="control octets, bare CR and LF, folding, bad names, Hosts, targets, versions, separators",
        expect="400 or 505, closed",
        attacks=[
            *[
                Refused(f"{octet!r} in {where}", data)
                for octet in (*map(chr, range(9)), *map(chr, range(10, 32)), "\x7f")
                for where, data in (("a value", request("/healthz", f"X-A: a{octet}b")),)
            ],
            *[
                Refused(f"{octet!r} in a name", request("/healthz", f"X{octet}A: b"))
                for octet in '\0\t\x0b\r\n\x1f "(),/;<=>?@[\\]{}\x7f\x80\xe9'
            ],
            *[
                Refused(
                    f"{octet!r} in the target",
                    f"GET /h{octet}z HTTP/1.1\r\nHost: x\r\n\r\n".encode("latin-1"),
                )
                for octet in "\0\t\x0b\x0c\r\n\x1f \x7f\x80\xe9#"
            ],
            *[
                Refused(f"the field {line!r}", request("/healthz", line))
                for line in (
                    *("X-A : b", "X-A\t: b", " X-A: b", "\tX-A: b", ": b", ":", "X-A", "X[]: b"),
                    *("X-A: b\r\n folded", "X-A: b\r\n\tfolded", "X-A:\r\n b", "\r", "X-A: b\r\r"),
                )
            ],
            *[
                Refused(f"the Host {host!r}", f"GET /healthz HTTP/1.1\r\n{host}\r\n\r\n".encode("latin-1"))
                for host in (
                    *("X: y", "Host: x\r\nHost: x", "Host: x\r\nhost: y", "Host: x, y", "Host: x y"),
                    *("Host: x/y", "Host: a@x", "Host: x:y", "Host: x:1:2", "Host: [::1", "Host: x\\y"),
                    *("Host: \xe9", 'Host: "x"', "Host: x:99999999", "Host: ?x", "Host: x#"),
                )
            ],
            *[
                Refused(
                    f"the request line {line!r}",
                    f"{line}\r\nHost: x\r\n\r\n".encode("latin-1"),
                    (400, 501, 505),
                )
                for line in (
                    *(
                        "GET /healthz HTTP/9.9",
                        "GET /healthz http/1.1",
                        "GET /healthz HTTP/1.2",
                        "GET /healthz HTTP/2.0",
                    ),
                    *(
                        "GET /healthz HTTP/1.1 ",
                        "GET /healthz HTTP/1.10",
                        "GET /healthz HTTP/01.1",
                        "GET /healthz HTTP/1",
                    ),
                    *(
                        "GET /healthz HTTP/1,1",
                        "GET /healthz HTTP/+1.1",
                        "GET /healthz HTTP 1.1",
                        "GET /healthz",
                    ),
                    *(
                        "GET\t/healthz\tHTTP/1.1",
                        "GET  /healthz HTTP/1.1",
                        "GET /healthz  HTTP/1.1",
                        " GET / HTTP/1.1",
                    ),
                    *(
                        "GET / healthz HTTP/1.1",
                        "G[T /healthz HTTP/1.1",
                        "GET\0 /healthz HTTP/1.1",
                        "/healthz HTTP/1.1",
                    ),
                    *(
                        "GET healthz HTTP/1.1",
                        "GET http://y z/healthz HTTP/1.1",
                        "GET http:///healthz HTTP/1.1",
                    ),
                    *(
                        "GET ftp://x/healthz HTTP/1.1",
                        "GET * HTTP/1.1",
                        "CONNECT x:80 HTTP/1.1",
                        "GET ?x HTTP/1.1",
                    ),
                    *("GET http://a@x/healthz HTTP/1.1", "GET x HTTP/1.1", "HTTP/1.1 200 OK", "\x00", "GET"),
                    *("PRI * HTTP/2.0", "\n\nGET / HTTP/1.1", "\r\n\r\n\r\nGET / HTTP/1.1", ""),
                )
            ],
            Refused("LF alone ends lines", b"GET /healthz HTTP/1.1\nHost: x\n\n"),
            Refused("LF alone ends one", b"GET /healthz HTTP/1.1\r\nHost: x\nX: y\r\n\r\n"),
            Refused("LF alone ends the head", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\n"),
            Refused("CR alone ends the head", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\r\n\r\n"),
            Refused("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
            Refused("a WebSocket frame", frame(TEXT, b"hello")),
            Refused("an expectation", request("/healthz", "Expect: the-unexpected"), (417,)),
        ],
    ),
    Row(
        "H6",
        "size and time of a head",
        "CVE-2023-43669, slowloris",
        send="20 kB in one read and byte by byte; 101 fields; 20 who send a byte now and then (long: 1,000)",
        expect="431, 414; 408 or the end when the time is over",
        attacks=[
            Refused("a field of 20 kB", request("/healthz", "X-A: " + "x" * 20_000), (431,)),
            Refused("a field of 9 kB", request("/healthz", "X-A: " + "x" * 9_000), (431,)),
            Refused("a name of 9 kB", request("/healthz", "x" * 9_000 + ": y"), (431,)),
            Refused("a path of 20 kB", request("/" + "x" * 20_000), (414,)),
            Refused("a path of 9 kB", request("/" + "x" * 9_000), (414,)),
            Refused("a method of 20 kB", request("/", method="X" * 20_000), (414,)),
            Refused("101 fields", request("/healthz", *["X-A: b"] * 100), (431,)),
            Refused("2,000 fields", request("/healthz", *["X-A: b"] * 2000), (431,)),
            Refused("three fields of 6 kB", request("/healthz", *["X-A: " + "b" * 6000] * 3), (431,)),
            http1.heads_byte_by_byte,
            http1.slowloris,
        ],
        stage="hasty",
    ),
    Row(
        "H7",
        "slow body, idle connection",
        "slow POST",
        send="less than 100 bytes a second of a body; nothing between two requests",
        expect="408 after 30 s; the end after 75 s (short form: 1.5 s)",
        attacks=[http1.slow_body, http1.idle_between_requests],
        stage="hasty",
    ),
    Row(
        "H8",
        "pipelining",
        "CVE-2026-54273, CVE-2023-46137",
        send="10,000 requests from one who does not read",
        expect="no more is read; answers in order; 2 MiB",
        attacks=[http1.pipelined],
    ),
    Row(
        "H9",
        "response splitting",
        "CVE-2020-7695, CVE-2012-2374, PYSEC-2020-25, CVE-2026-1527",
        send="CR, LF and NUL in an application's fields, redirects, types; subprotocols that are not ours",
        expect="500, nothing of it on the wire; only ours are named",
        attacks=[http1.split_responses, http1.subprotocols],
        logs="",
    ),
    Row(
        "H10",
        "forged lines of the log",
        "CVE-2020-7694, CVE-2025-47287",
        send="escapes, line breaks, quotes in paths, fields, reasons",
        expect="a line each, of printable ASCII",
        attacks=[http1.forged_lines],
    ),
    Row(
        "H11",
        "reflected words",
        "CVE-2022-39348, CVE-2024-27306",
        send="tags in paths",
        expect="constant words, nosniff",
        attacks=[http1.errors_say_nothing],
    ),
]

STATIC = [
    Row(
        "S1",
        "traversal",
        "CVE-2024-23334, GHSA-v5gw-mw7f-84px, CVE-2024-32982",
        send="ways up, encoded once and twice, backslashes, siblings, NUL, trailing dots and spaces",
        expect="404 or 400, 5 ms",
        attacks=[static.traversal],
    ),
    Row(
        "S2",
        "links, devices",
        "CVE-2024-42367",
        send="links to files, folders and .gz siblings, swapped too; fifo, socket, device",
        expect="404, never waits",
        attacks=[static.links_and_devices, static.swapped_links],
    ),
    Row(
        "S3",
        "ranges",
        "CVE-2025-62727",
        send="thousands of ranges, overlapping, other digits, negative",
        expect="416 or 200, 5 ms",
        attacks=[static.hostile_ranges],
    ),
    Row(
        "S4",
        "files left open",
        "CVE-2026-54280",
        send="1,000 downloads of 100 MB, left at 1 % (short form: 200); 20 that nobody reads",
        expect="closed in 2 s; cut",
        attacks=[static.aborted_downloads, static.unread_downloads],
        logs="took nothing for",
        stage="hasty",
    ),
]

TLS = [
    Row(
        "T1",
        "handshakes that stall",
        "asyncio#483, uvloop#162",
        send="100 connections that say nothing, or half a hello (long: 1,000); plain HTTP",
        expect="closed when the time is over; within 1 s",
        attacks=[tls.silence, tls.plain_on_tls],
        stage="tls",
        logs="TLS",  # "does not speak TLS", "did not complete its TLS handshake"
    ),
    Row(
        "T2",
        "renegotiation",
        "CVE-2011-1473, CVE-2021-3449",
        send="a client's wish for a new handshake, in TLS 1.2",
        expect="refused",
        attacks=[tls.renegotiation],
        stage="tls",
    ),
    Row(
        "T3",
        "versions, protocols, names",
        "RFC 8996, RFC 7301",
        send="TLS 1.0 to 1.3; h2 and others; no name",
        expect="1.2 and 1.3 alone; http/1.1 or nothing; served",
        attacks=[tls.versions, tls.protocols, tls.no_name],
        stage="tls",
        logs="failed its TLS handshake",
    ),
    Row(
        "T4",
        "truncation",
        "RFC 8446, section 6.1",
        send="the end of TCP within a message, without and with close_notify",
        expect="1006 for the application, never a part of a message",
        attacks=[tls.truncated, tls.half_closed],
        stage="tls",
    ),
]

PROCESS = [
    Row(
        "P1",
        "no file descriptors left",
        "libuv#690, libuv#1189, asyncio#78, uvicorn#1030",
        send="60 clients more than files (long: 400)",
        expect="who is in goes on; a line a second; 20 % of CPU; served once files are free",
        attacks=[machine.no_descriptors],
        logs="file",
    ),
    Row(
        "P2",
        "half-open connections",
        "RFC 9293, section 3.5.1",
        send="100 clients whose network goes away (long: 1,000, with the built-in pings)",
        expect="gone within two pings, on_close once for each",
        attacks=[machine.half_open],
    ),
]

ROWS = [*WEBSOCKET, *HTTP, *STATIC, *TLS, *PROCESS]
