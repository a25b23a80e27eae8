"""The frame seam: both engines and both roles from one table, wherever the input is cut."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

import fastws.protocol.websocket
from fastws.protocol.websocket import engine_wsproto, frames
from fastws.protocol.websocket.events import Close, Fail, Ping
from fastws.protocol.websocket.frames import (
    FIN,
    RSV1,
    CloseCode,
    Engine,
    MaskPool,
    Opcode,
    encode_close,
    engine,
)
from tests.protocol.websocket.cases import CASES, VALID_UTF8, close
from tests.protocol.websocket.wire import (
    BOTH_ENGINES,
    BOTH_ROLES,
    BUILT,
    ENGINES,
    MASK,
    Case,
    Frame,
    feed,
    frame,
    new_reader,
    sized,
    wire,
)
from tests.rows import all_rows


def reader_of(case: Case, engine_: Engine, *, client: bool) -> Any:
    return new_reader(engine_, client=client, deflate=case.deflate, **case.limits)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    """On both engines and in both roles: whole, in pieces, cut in two, and with more behind it."""
    with all_rows() as row:
        for engine_ in BUILT:
            for client in (False, True):
                names = engine_.name, "client" if client else "server"
                data = wire(case.frames, client=client)
                with row(*names, "whole"):
                    reader = reader_of(case, engine_, client=client)
                    assert reader.receive(data) == case.events
                    assert reader.pending is bool(case.pending)
                for step in (1, 2, 3, 7, 100):
                    if len(data) < 20_000 * step:
                        with row(*names, f"pieces of {step}"):
                            reader = reader_of(case, engine_, client=client)
                            assert feed(reader, data, step=step) == case.events
                            assert reader.pending is bool(case.pending)
                for cut in range(min(len(data), 40)):
                    with row(*names, f"cut at {cut}"):
                        reader = reader_of(case, engine_, client=client)
                        assert reader.receive(data[:cut]) + reader.receive(data[cut:]) == case.events
                if case.pending != "frame":
                    with row(*names, "more behind it"):
                        reader = reader_of(case, engine_, client=client)
                        check_what_follows(reader, case, data, client=client)


def check_what_follows(reader: Any, case: Case, data: bytes, *, client: bool) -> None:
    """What follows is read as usual, and not at all after a Close or a Fail."""
    ended = bool(case.events) and isinstance(case.events[-1], Close | Fail)
    more, then = wire([frame("89 04", b"more")], client=client), [] if ended else [Ping(b"more")]
    assert reader.receive(data + more) == [*case.events, *then]
    assert reader.receive(more) == then


@BOTH_ENGINES
class TestReader:
    def test_only_clients_mask(self, engine_: Engine) -> None:
        """RFC 6455, section 5.1, and W13. The header is enough, also without its mask."""
        for head in (b"\x81\x05", b"\x82\x7e\x01\x00", b"\x89\x00"):
            masked = bytes([head[0], head[1] | 0x80]) + head[2:]
            assert new_reader(engine_, client=False).receive(head) == [Fail(1002, "unmasked frame")]
            assert new_reader(engine_, client=True).receive(masked) == [Fail(1002, "masked frame")]

    def test_limits_are_told_before_the_mask(self, engine_: Engine) -> None:
        assert new_reader(engine_, client=False).receive(b"\xa1\x00") == [Fail(1002, "reserved bit set")]
        huge = b"\x82\x7f" + (2**40).to_bytes(8, "big")
        assert new_reader(engine_, client=False).receive(huge) == [Fail(1009, "message too big")]

    @BOTH_ROLES
    def test_every_split_of_a_text(self, engine_: Engine, client: bool) -> None:
        """W16: in two fragments and two reads, at each byte."""
        raw = "".join(VALID_UTF8[-6:]).encode()
        for cut in range(len(raw)):
            data = wire([sized(0x01, raw[:cut]), sized(0x80, raw[cut:])], client=client)
            for read in range(0, len(data), 3):
                reader = new_reader(engine_, client=client)
                assert reader.receive(data[:read]) + reader.receive(data[read:]) == [raw.decode()]

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_keeps_no_reference_to_its_input(self, engine_: Engine, kind: Any) -> None:
        data = bytearray(wire([sized(0x81, b"Hello"), Frame(b"\x81\x09", b"part")], client=False))
        reader = new_reader(engine_, client=False)
        assert reader.receive(kind(data)) == ["Hello"]
        data[:] = bytes(len(data))
        data.clear()  # BufferError if anybody still looked at it
        rest = sized(0x81, b"part-rest").wire(masked=True)[-5:]
        assert reader.receive(rest) == ["part-rest"]

    def test_the_first_bytes_of_a_buffer(self, engine_: Engine) -> None:
        data = bytearray(wire([sized(0x81, b"Hello")], client=False))
        reader = new_reader(engine_, client=False)
        assert reader.receive(data + b"junk", len(data)) == ["Hello"]
        assert reader.receive(memoryview(data), 0) == []
        assert not reader.pending
        for size in (-1, len(data) + 1):
            with pytest.raises(ValueError, match="size"):
                reader.receive(data, size)
        for misuse in ((), (data, len(data), 1), (data, "1"), ("text", 1)):
            with pytest.raises(TypeError):
                new_reader(engine_, client=False).receive(*misuse)
        assert reader.receive(data, len(data)) == ["Hello"]

    def test_every_length_of_a_payload(self, engine_: Engine) -> None:
        """Each path through the widths of the masking, text and binary, at each alignment."""
        text = "".join(chr(33 + i % 90) for i in range(300))
        for size in range(300):
            for shift in (0, 1, 3):
                raw = text[:size].encode()
                sent = [sized(0x82, b"." * shift), sized(0x81, raw), sized(0x82, raw)]
                got = new_reader(engine_, client=False).receive(wire(sent, client=False))
                assert got == [b"." * shift, text[:size], raw]
            high = text[: size // 2] + "\u00e9" + text[size // 2 : size]
            assert new_reader(engine_, client=False).receive(
                wire([sized(0x81, high.encode())], client=False)
            ) == [high]

    def test_many_messages(self, engine_: Engine) -> None:
        """W2b: no count outlives its message."""
        reader = new_reader(engine_, client=False, max_fragments=2, max_empty_fragments=1)
        single = wire([sized(0x81, b"x"), sized(0x82, b"")], client=False) * 1000
        double = wire([sized(0x01, b"x"), sized(0x80, b"y")], client=False) * 1000
        for _ in range(10):
            assert reader.receive(single) == ["x", b""] * 1000
            assert reader.receive(double) == ["xy"] * 1000
        assert not reader.pending

    def test_arguments(self, engine_: Engine) -> None:
        reader = engine_.Reader(
            client=False, max_message_size=1, max_fragments=1, max_empty_fragments=1, inflate=None
        )
        assert reader.receive(wire([sized(0x81, b"x")], client=False)) == ["x"]
        for limits in ((0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)):
            with pytest.raises(ValueError, match="a limit must be at least 1"):
                engine_.Reader(*limits, None, client=False)

    def test_an_error_in_inflate_ends_the_reader(self, engine_: Engine) -> None:
        def inflate(payload: bytes, limit: int) -> bytes:
            raise ZeroDivisionError

        reader = engine_.Reader(100, 10, 10, inflate, client=False)
        with pytest.raises(ZeroDivisionError):
            reader.receive(wire([sized(0xC1, b"x")], client=False))
        assert reader.receive(wire([sized(0x81, b"x")], client=False)) == []
        assert not reader.pending

    def test_the_guard_is_not_negotiated(self, engine_: Engine) -> None:
        """It stands where wsproto takes extensions; no offer and no answer ever names it."""
        assert not engine_wsproto._Guard(1, 1, 1, None).offer()

    def test_not_entered_twice(self, engine_: Engine) -> None:
        """inflate() runs Python code, and other threads while zlib works."""
        reader: Any = None
        seen = []

        def inflate(payload: bytes, limit: int) -> bytes:
            with pytest.raises((RuntimeError, ValueError), match="already"):
                reader.receive(b"")
            seen.append(limit)
            return payload

        reader = engine_.Reader(100, 10, 10, inflate, client=False)
        assert reader.receive(wire([sized(0xC1, b"x")], client=False)) == ["x"]
        assert seen == [100]


FRAMES = [
    (Opcode.TEXT, "Hello", None, FIN, "81 05 48656c6c6f"),
    (Opcode.TEXT, "Hello", MASK, FIN, "81 85 37fa213d 7f9f4d5158"),
    (Opcode.TEXT, "\u20ac", None, FIN, "81 03 e282ac"),
    (Opcode.TEXT, "", MASK, FIN, "81 80 37fa213d"),
    (Opcode.BINARY, b"\x01\x02\x03", MASK, FIN, "82 83 37fa213d 36f822"),
    (Opcode.BINARY, b"", None, 0, "02 00"),
    (Opcode.CONTINUATION, bytearray(b"lo"), None, FIN, "80 02 6c6f"),
    (Opcode.TEXT, memoryview(b"\xf2\x48\xcd\xc9\xc9\x07\x00"), None, FIN | RSV1, "c1 07 f248cdc9c90700"),
    (Opcode.PING, b"Hello", None, FIN, "89 05 48656c6c6f"),
    (Opcode.PONG, b"", MASK, FIN, "8a 80 37fa213d"),
    (Opcode.CLOSE, b"\x03\xe8", None, FIN, "88 02 03e8"),
]

HEADS = [(125, "82 7d"), (126, "82 7e 007e"), (65535, "82 7e ffff"), (65536, "82 7f 0000000000010000")]


@BOTH_ENGINES
class TestEncode:
    @pytest.mark.parametrize(("opcode", "payload", "mask", "flags", "expected"), FRAMES)
    def test_bytes(
        self, engine_: Engine, opcode: int, payload: Any, mask: Any, flags: int, expected: str
    ) -> None:
        made = engine_.encode(opcode, payload, mask, flags)
        assert type(made) is bytes
        assert made == bytes.fromhex(expected)
        assert made == engine_.encode(opcode=int(opcode), payload=payload, mask=mask, flags=flags)

    @pytest.mark.parametrize(("size", "head"), HEADS)
    def test_lengths(self, engine_: Engine, size: int, head: str) -> None:
        payload = bytes(range(256)) * 256
        expected = frame(head, payload[:size])
        assert engine_.encode(Opcode.BINARY, payload[:size]) == expected.wire(masked=False)
        assert engine_.encode(Opcode.BINARY, payload[:size], MASK) == expected.wire(masked=True)

    def test_every_short_length_masked(self, engine_: Engine) -> None:
        for size in range(200):
            payload = bytes(range(size))
            assert engine_.encode(2, payload, MASK) == sized(0x82, payload).wire(masked=True)

    @pytest.mark.parametrize(
        "arguments",
        [
            (3, b""),
            (-1, b""),
            (16, b""),
            (Opcode.TEXT, "\ud800"),
            (Opcode.TEXT, b"", b"abc"),
            (Opcode.TEXT, b"", b"abcde"),
            (Opcode.PING, b"x" * 126),
            (Opcode.PING, b"", None, 0),
            (Opcode.PING, b"", None, FIN | RSV1),
            (Opcode.TEXT, b"", None, 1),
            (Opcode.TEXT, b"", None, FIN | 0x20),
            (Opcode.TEXT, b"", None, -1),
            (Opcode.TEXT, b"", None, FIN << 1),
            (Opcode.CLOSE, b"x" * 126),
        ],
    )
    def test_refused(self, engine_: Engine, arguments: Any) -> None:
        with pytest.raises(ValueError):
            engine_.encode(*arguments)

    @pytest.mark.parametrize(
        "arguments", [(1,), (), (1, None), (1, 5), (1, b"", None, FIN, 1), (1, b"", None, None)]
    )
    def test_misused(self, engine_: Engine, arguments: Any) -> None:
        with pytest.raises(TypeError):
            engine_.encode(*arguments)

    def test_misused_by_name(self, engine_: Engine) -> None:
        for extra in ({"opcode": 1}, {"final": True}):
            with pytest.raises(TypeError):
                engine_.encode(1, b"", **extra)  # type: ignore[arg-type]


class TestEncodeClose:
    @pytest.mark.parametrize(
        ("code", "reason", "payload"),
        [
            (1000, "", b"\x03\xe8"),
            (CloseCode.GOING_AWAY, "bye", b"\x03\xe9bye"),
            (CloseCode.SERVICE_RESTART, "", b"\x03\xf4"),
            (CloseCode.TRY_AGAIN_LATER, "", b"\x03\xf5"),
            (CloseCode.BAD_GATEWAY, "bye", b"\x03\xf6bye"),
            (3000, "", b"\x0b\xb8"),
            (4999, "\u20ac" * 41, b"\x13\x87" + "\u20ac".encode() * 41),
            (None, "", b""),
        ],
    )
    def test_bytes(self, code: int | None, reason: str, payload: bytes) -> None:
        assert encode_close(code, reason, None) == sized(0x88, payload).wire(masked=False)
        assert encode_close(code, reason, MASK) == sized(0x88, payload).wire(masked=True)

    @pytest.mark.parametrize(
        ("code", "reason"),
        [(code, "") for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000)]
        + [(1000, "x" * 124), (None, "x")],
    )
    def test_refused(self, code: int | None, reason: str) -> None:
        with pytest.raises(ValueError, match="close"):
            encode_close(code, reason, None)

    @BOTH_ENGINES
    def test_sendable_is_what_readers_accept(self, engine_: Engine) -> None:
        for code in range(900, 5100):
            expected = [Close(code, "")] if frames.sendable(code) else [Fail(1002, "invalid close code")]
            for client in (False, True):
                got = new_reader(engine_, client=client).receive(wire([close(code)], client=client))
                assert (client, got) == (client, expected)


class TestMasks:
    def test_fresh(self) -> None:
        source = MaskPool()
        keys = [source() for _ in range(5000)]
        assert {len(key) for key in keys} == {4}
        assert len(set(keys)) > 4990

    def test_from_the_system_in_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read = []
        monkeypatch.setattr(os, "urandom", lambda size: read.append(size) or b"abcdefgh" * (size // 8))
        source = MaskPool()
        assert [source() for _ in range(3)] == [b"abcd", b"efgh", b"abcd"]
        source.forget()
        assert source() == b"abcd"
        assert read == [4096, 4096]

    def test_a_forked_child_has_its_own(self) -> None:
        code = (
            "import os\n"
            "from fastws.protocol.websocket.frames import random_mask as mask\n"
            "mask()\n"
            "child = os.fork()\n"
            "os.write(1, mask().hex().encode() + b' ')\n"
            "child and os.waitpid(child, 0)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        first, second = done.stdout.split()
        assert first != second


class TestChoice:
    @pytest.fixture
    def without_c(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(fastws.protocol.websocket, "_frames", raising=False)
        monkeypatch.setitem(sys.modules, "fastws.protocol.websocket._frames", None)

    def test_forced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FASTWS_ENGINE", "wsproto")
        assert frames._choose().name == "wsproto"

    @BOTH_ENGINES
    def test_by_name(self, engine_: Engine) -> None:
        assert engine(engine_.name) == engine_

    def test_c_is_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("FASTWS_ENGINE", raising=False)
        built = isinstance(ENGINES[0].values[0], Engine)
        assert frames._choose().name == ("c" if built else "wsproto")

    def test_wsproto_when_c_is_not_built(self, monkeypatch: pytest.MonkeyPatch, without_c: None) -> None:
        monkeypatch.delenv("FASTWS_ENGINE", raising=False)
        assert frames._choose().name == "wsproto"

    def test_c_forced_and_not_built(self, monkeypatch: pytest.MonkeyPatch, without_c: None) -> None:
        monkeypatch.setenv("FASTWS_ENGINE", "c")
        with pytest.raises(ImportError, match="the C engine is not built"):
            frames._choose()

    def test_unknown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FASTWS_ENGINE", "rust")
        with pytest.raises(ImportError, match="must be 'c' or 'wsproto', not 'rust'"):
            frames._choose()

    def test_exported(self) -> None:
        assert frames.engine(frames.ENGINE) == Engine(frames.ENGINE, frames.Reader, frames.encode)
