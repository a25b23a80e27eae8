"""The PROXY header: a table of headers, whole and cut at every byte."""

from __future__ import annotations

import struct

import pytest

from fastws.protocol.http.proxy_header import SIGNATURE, ProxyHeader, ProxyHeaderError


def binary(kind: int, family: int, addresses: bytes, length: int | None = None) -> bytes:
    return (
        SIGNATURE
        + struct.pack("!BBH", kind, family, len(addresses) if length is None else length)
        + addresses
    )


V4 = bytes([192, 0, 2, 1, 198, 51, 100, 1]) + struct.pack("!HH", 56324, 443)
V6 = bytes.fromhex("20010db8" + "00" * 11 + "01" + "20010db8" + "00" * 11 + "02") + struct.pack("!HH", 5, 6)
MAPPED = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 9]) + bytes(16) + struct.pack("!HH", 7, 8)
TLV = b"\x04\x00\x05hello"

LONGEST = b":".join([b"ffff"] * 8)

GOOD = {
    "v1-tcp4": (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", ("192.0.2.1", 56324)),
    "v1-tcp6": (b"PROXY TCP6 2001:db8::1 2001:DB8::2 5 6\r\n", ("2001:db8::1", 5)),
    "v1-mapped": (b"PROXY TCP6 ::ffff:192.0.2.9 ::ffff:7f00:1 5 6\r\n", ("192.0.2.9", 5)),
    "v1-longest": (b"PROXY UNKNOWN " + LONGEST + b" " + LONGEST + b" 65535 65535\r\n", None),
    "v1-unknown": (b"PROXY UNKNOWN\r\n", None),
    "v2-tcp4": (binary(0x21, 0x11, V4), ("192.0.2.1", 56324)),
    "v2-tcp6": (binary(0x21, 0x21, V6), ("2001:db8::1", 5)),
    "v2-mapped": (binary(0x21, 0x21, MAPPED), ("192.0.2.9", 7)),
    "v2-more-fields": (binary(0x21, 0x11, V4 + TLV), ("192.0.2.1", 56324)),
    "v2-local": (binary(0x20, 0x00, b""), None),
    "v2-local-with-addresses": (binary(0x20, 0x11, V4), None),
    "v2-unspecified": (binary(0x21, 0x00, b""), None),
    "v2-unix": (binary(0x21, 0x31, bytes(216)), None),
    "v2-udp": (binary(0x21, 0x12, V4), None),
}

BAD = {
    "http": b"GET / HTTP/1.1\r\n",
    "tls": b"\x16\x03\x01\x02\x00",
    "lower-case": b"proxy TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
    "v1-family": b"PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
    "v1-address": b"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
    "v1-address-of-v6": b"PROXY TCP4 2001:db8::1 198.51.100.1 1 2\r\n",
    "v1-destination": b"PROXY TCP4 192.0.2.1 nobody 1 2\r\n",
    "v1-port": b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 2\r\n",
    "v1-two-spaces": b"PROXY  TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
    "v1-newline-alone": b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n\r\n",
    "v1-too-long": b"PROXY UNKNOWN " + b"x" * 93,
    "v2-version": binary(0x11, 0x11, V4),
    "v2-command": binary(0x22, 0x11, V4),
    "v2-short": binary(0x21, 0x11, V4[:11]),
    "v2-short-v6": binary(0x21, 0x21, V4),
    "v2-huge": binary(0x21, 0x11, b"", 65535),
    "v2-signature": SIGNATURE[:-1] + b"\r",
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("behind", [b"", b"\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_who_the_client_is(name: str, behind: bytes) -> None:
    data, client = GOOD[name]
    for cut in range(1, len(data) + 1):
        header = ProxyHeader()
        used = header.receive(data[:cut])
        assert used == cut and header.is_complete is (cut == len(data)), f"cut at {cut}"
        if not header.is_complete:
            assert header.receive(data[cut:] + behind) == len(data) - cut, f"cut at {cut}"
        assert header.is_complete and header.client == client, f"cut at {cut}"
    assert ProxyHeader().receive(data + behind) == len(data)


@pytest.mark.parametrize("name", GOOD)
def test_byte_by_byte(name: str) -> None:
    data, client = GOOD[name]
    header = ProxyHeader()
    assert [header.receive(data[at : at + 1]) for at in range(len(data))] == [1] * len(data)
    assert header.is_complete and header.client == client


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_header(name: str) -> None:
    data = BAD[name]
    for cut in range(len(data)):
        header = ProxyHeader()
        with pytest.raises(ProxyHeaderError):
            assert header.receive(data[:cut]) == cut
            assert not header.is_complete
            header.receive(data[cut:])
