"""permessage-deflate: what comes out, what is refused, and what is shared."""

from __future__ import annotations

import random
import tracemalloc
import zlib

import pytest

from fastws.config import Compression
from fastws.protocol.websocket.deflate import DeflateParams, DeflatePool, Deflater, InflateError, Inflater
from tests.effort import within_cpu
from tests.protocol.websocket.cases import deflated

TAIL = b"\x00\x00\xff\xff"
LIMIT = 1024 * 1024

#: The literal bytes of RFC 7692, section 7.2.3, and final blocks with and without the extra zero byte.
PAYLOADS = {
    "one-block": ("f248cdc9c90700", b"Hello"),
    "stored": ("000500faff48656c6c6f00", b"Hello"),
    "final-block": ("f348cdc9c9070000", b"Hello"),
    "final-block-bare": ("f348cdc9c90700", b"Hello"),
    "final-stored-empty": ("f248cdc9c907000000ffff01", b"Hello"),
    "two-blocks": ("f24805000000ffffcac9c90700", b"Hello"),
    "two-final-blocks": ("f348cdc9c90700f348cdc9c9070000", b"HelloHello"),
    "empty": ("00", b""),
    "nothing": ("", b""),
}


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


class TestInflater:
    @pytest.mark.parametrize("takeover", [False, True])
    @pytest.mark.parametrize("name", PAYLOADS)
    def test_literal_payloads(self, name: str, takeover: bool) -> None:
        """Three times over: the next message finds the inflater in order."""
        payload, message = PAYLOADS[name]
        inflate = Inflater(takeover=takeover)
        for _ in range(3):
            assert inflate(bytes.fromhex(payload), LIMIT) == message
        assert inflate(bytes.fromhex("f248cdc9c90700"), LIMIT) == b"Hello"

    def test_takeover_keeps_the_window(self) -> None:
        """RFC 7692, section 7.2.3.2: the second Hello refers to the first."""
        first, second = bytes.fromhex("f248cdc9c90700"), bytes.fromhex("f200110000")
        keeping, forgetting = Inflater(takeover=True), Inflater()
        assert [keeping(first, LIMIT), keeping(second, LIMIT)] == [b"Hello", b"Hello"]
        assert forgetting(first, LIMIT) == b"Hello"
        with pytest.raises(InflateError) as caught:
            forgetting(second, LIMIT)
        assert caught.value.code == 1007

    @pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"\x00\x05\x00\xfa\xfeHello", b"\x06"])
    def test_bad_data(self, payload: bytes) -> None:
        with pytest.raises(InflateError) as caught:
            Inflater()(payload, LIMIT)
        assert caught.value.code == 1007

    @pytest.mark.parametrize("size", [0, 1, 999, 1000])
    @pytest.mark.parametrize("level", [0, 1, 9])
    def test_up_to_the_limit(self, size: int, level: int) -> None:
        assert Inflater()(deflated(noise(size), level=level), 1000) == noise(size)

    @pytest.mark.parametrize("size", [1001, 1002, 5000])
    @pytest.mark.parametrize("level", [0, 1, 9])
    def test_over_the_limit(self, size: int, level: int) -> None:
        with pytest.raises(InflateError) as caught:
            Inflater()(deflated(noise(size), level=level), 1000)
        assert caught.value.code == 1009

    def test_limit_over_several_streams(self) -> None:
        finals = deflated(b"x" * 600, flush=zlib.Z_FINISH) * 2
        assert len(Inflater()(finals, 1200)) == 1200
        with pytest.raises(InflateError) as caught:
            Inflater()(finals, 1199)
        assert caught.value.code == 1009

    @pytest.mark.measures
    def test_bomb(self) -> None:
        """W7: 51 kB that would become 50 MiB cost no more than the limit, and little time."""
        bomb = deflated(bytes(50 * LIMIT))
        assert len(bomb) < 52_000

        def inflate() -> int:
            with pytest.raises(InflateError) as caught:
                Inflater()(bomb, LIMIT)
            return caught.value.code

        tracemalloc.start()
        assert inflate() == 1009
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        within_cpu(0.1, inflate)
        assert peak < 2.2 * LIMIT

    @pytest.mark.parametrize("unit", [b"\x00" + TAIL, b"\x03\x00", b"\x02" + b"\x00" + TAIL, b"\x01" + TAIL])
    @pytest.mark.measures
    def test_empty_blocks_are_linear(self, unit: bytes) -> None:
        """W8: a MiB of empty blocks, final ones too, is refused or done within 100 ms."""

        def inflate() -> None:
            try:
                assert Inflater()(unit * (LIMIT // len(unit)), LIMIT) == b""
            except InflateError as exc:
                assert exc.code == 1007

        within_cpu(0.1, inflate)


class TestDeflater:
    @pytest.mark.parametrize("takeover", [False, True])
    @pytest.mark.parametrize("window_bits", [9, 12, 15])
    def test_there_and_back(self, takeover: bool, window_bits: int) -> None:
        deflate = Deflater(window_bits, takeover=takeover)
        inflate = Inflater(window_bits, takeover=takeover)
        for message in (b"", b"Hello", b"", b"", b"Hello", b"x" * 100_000, noise(70_000), b"Hello"):
            payload = deflate(message)
            assert not payload.endswith(TAIL)
            assert inflate(payload, 100_000) == message

    @pytest.mark.parametrize("takeover", [False, True])
    def test_a_peer_with_a_window_of_8_bits(self, takeover: bool) -> None:
        """It may be zlib, which was asked for 8 and took 9."""
        params = DeflateParams(
            server_no_context_takeover=not takeover, client_no_context_takeover=True, server_max_window_bits=8
        )
        inflate = DeflatePool(Compression()).inflater(params, client=True)
        deflate = Deflater(9, takeover=takeover)
        for message in (b"Hello", noise(500) * 4, b"Hello"):
            assert inflate(deflate(message), 100_000) == message

    def test_without_takeover_each_message_stands_alone(self) -> None:
        deflate = Deflater()
        payloads = [deflate(message) for message in (b"Hello" * 100, b"Hello" * 100, b"", b"Hello" * 100)]
        assert payloads[0] == payloads[1] == payloads[3]
        assert payloads[2] == b"\x00"
        assert Inflater()(payloads[3], LIMIT) == b"Hello" * 100

    def test_with_takeover_a_repetition_is_short(self) -> None:
        deflate = Deflater(takeover=True)
        message = noise(1000)
        assert len(deflate(message)) > 1000
        assert len(deflate(message)) < 30

    def test_any_buffer(self) -> None:
        deflate = Deflater()
        assert deflate(bytearray(b"Hello")) == deflate(memoryview(b"Hello")) == deflate(b"Hello")

    def test_settings(self) -> None:
        text = b"".join(b"%d;" % (i * i) for i in range(5000))
        assert len(Deflater(level=9)(text)) < len(Deflater(level=1)(text))


class TestDeflatePool:
    @pytest.fixture
    def pool(self) -> DeflatePool:
        return DeflatePool(Compression(level=6, mem_level=7))

    def test_shared_without_takeover(self, pool: DeflatePool) -> None:
        params, mirrored = DeflateParams(True, True, 15, 12), DeflateParams(True, True, 12, 15)
        assert pool.deflater(params, client=False) is pool.deflater(params, client=False)
        assert pool.inflater(params, client=False) is pool.inflater(params, client=False)
        # By window, not by role: the client compresses with 12 bits, the server with 15.
        assert pool.deflater(params, client=True) is not pool.deflater(params, client=False)
        assert pool.deflater(params, client=True) is pool.deflater(mirrored, client=False)
        assert pool.inflater(params, client=True) is pool.inflater(mirrored, client=False)

    def test_own_with_takeover(self, pool: DeflatePool) -> None:
        params = DeflateParams()
        assert pool.deflater(params, client=False) is not pool.deflater(params, client=False)
        assert pool.inflater(params, client=True) is not pool.inflater(params, client=True)

    @pytest.mark.parametrize("server_bits", [9, 15])
    @pytest.mark.parametrize("client_bits", [9, 15])
    @pytest.mark.parametrize("server_keeps", [False, True])
    @pytest.mark.parametrize("client_keeps", [False, True])
    def test_both_ends_agree(
        self, pool: DeflatePool, server_bits: int, client_bits: int, server_keeps: bool, client_keeps: bool
    ) -> None:
        params = DeflateParams(not server_keeps, not client_keeps, server_bits, client_bits)
        for client in (False, True):
            deflate, inflate = pool.deflater(params, client=client), pool.inflater(params, client=not client)
            payloads = [deflate(noise(3000)) for _ in range(3)]
            assert [inflate(payload, LIMIT) for payload in payloads] == [noise(3000)] * 3

    def test_settings_are_used(self, pool: DeflatePool) -> None:
        message = b"".join(b"%d;" % (i * i) for i in range(5000))
        own, params = Deflater(level=6, mem_level=7), DeflateParams(True, True)
        assert pool.deflater(params, client=False)(message) == own(message) != Deflater()(message)
