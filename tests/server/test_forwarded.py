"""Whom to believe about the peer."""

from __future__ import annotations

from typing import Any

import pytest

from fastws import Request
from fastws.server.forwarded import TrustedProxies, forwarded

PROXY = ("10.0.0.1", 40000)


class TestTrusted:
    @pytest.mark.parametrize(
        ("trusted", "host", "expected"),
        [
            (["127.0.0.1"], "127.0.0.1", True),
            (["127.0.0.1"], "127.0.0.2", False),
            ([" 10.0.0.0/8 ", ""], "10.9.9.9", True),
            (["10.0.0.5/8"], "10.9.9.9", True),
            (["10.0.0.0/8"], "11.0.0.1", False),
            (["::1", "2001:db8::/32"], "2001:db8::7", True),
            (["::1"], "127.0.0.1", False),
            (["*"], "anything", True),
            (["127.0.0.1"], "no address", False),
            (["127.0.0.1"], None, False),
            ([], "127.0.0.1", False),
        ],
    )
    def test_hosts(self, trusted: list[str], host: object, expected: bool) -> None:
        assert (host in TrustedProxies(trusted)) is expected

    @pytest.mark.parametrize(
        "trusted", ["127.0.0.1", "127.0.0.0/8", "::ffff:127.0.0.1", "::ffff:127.0.0.0/104"]
    )
    @pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1"])
    def test_an_ipv4_address_that_ipv6_carries_is_that_address(self, trusted: str, host: str) -> None:
        assert host in TrustedProxies([trusted])
        assert "::ffff:192.0.2.1" not in TrustedProxies([trusted])

    def test_what_is_neither_address_nor_network(self) -> None:
        with pytest.raises(ValueError, match="example"):
            TrustedProxies(["proxy.example"])


def seen(
    *headers: tuple[str, str],
    peer: Any = PROXY,
    trusted: tuple[str, ...] = ("10.0.0.0/8",),
    upgrade: bool = False,
) -> tuple[Any, str]:
    request = Request("GET", "/", headers, peer=peer, upgrade=upgrade)
    forwarded(request, TrustedProxies(trusted))
    return request.peer, request.scheme


def x_for(value: str) -> tuple[str, str]:
    return ("X-Forwarded-For", value)


def x_proto(value: str) -> tuple[str, str]:
    return ("X-Forwarded-Proto", value)


class TestForwarded:
    def test_the_nearest_hop_that_is_not_trusted(self) -> None:
        assert seen(x_for("198.51.100.9, 192.0.2.7, 10.0.0.2"))[0] == ("192.0.2.7", 0)
        assert seen(x_for("198.51.100.9"), x_for("192.0.2.7,10.0.0.2"))[0] == ("192.0.2.7", 0)

    def test_all_trusted(self) -> None:
        assert seen(x_for("10.0.0.3, 10.0.0.2"))[0] == ("10.0.0.3", 0)
        assert seen(x_for("1.1.1.1, 2.2.2.2"), trusted=("*",))[0] == ("1.1.1.1", 0)

    def test_ipv6(self) -> None:
        assert seen(x_for("2001:db8::1"))[0] == ("2001:db8::1", 0)

    @pytest.mark.parametrize(
        "value", ["", "unknown", "192.0.2.7:80x", "192.0.2.7:99999", "1.2.3.4, evil", "[192.0.2.7", "[::1]x"]
    )
    def test_what_is_no_address_ends_the_list(self, value: str) -> None:
        assert seen(x_for(value))[0] == PROXY

    @pytest.mark.parametrize(
        ("node", "peer"),
        [
            ("1.2.3.4:5678", ("1.2.3.4", 5678)),
            ("[2001:db8::1]:443", ("2001:db8::1", 443)),
            ("[2001:db8::1]", ("2001:db8::1", 0)),
            ('"[2001:db8::1]:443"', ("2001:db8::1", 443)),
            ("[::ffff:1.2.3.4]:5", ("1.2.3.4", 5)),
            ("::ffff:1.2.3.4", ("1.2.3.4", 0)),
            ("1.2.3.4:0", ("1.2.3.4", 0)),
        ],
    )
    def test_a_hop_with_a_port_or_brackets(self, node: str, peer: Any) -> None:
        assert seen(x_for(node))[0] == peer
        assert seen(x_for(f"8.8.8.8, {node}, 10.0.0.2:77"))[0] == peer
        quoted = node if node.startswith('"') else f'"{node}"'
        if node[0] in '"[' or node[0].isdigit():
            assert seen(("Forwarded", f"for={quoted}"))[0] == peer

    def test_as_far_as_it_can_be_read(self) -> None:
        assert seen(x_for("evil, 10.0.0.2"))[0] == ("10.0.0.2", 0)

    @pytest.mark.parametrize(
        ("value", "scheme"),
        [
            ("https", "https"),
            ("wss", "https"),
            ("HTTP ", "http"),
            ("ws", "http"),
            ("ftp", "http"),
            ("", "http"),
        ],
    )
    def test_scheme(self, value: str, scheme: str) -> None:
        assert seen(x_proto(value)) == (PROXY, scheme)
        expected = {"http": "ws", "https": "wss"}[scheme]
        assert seen(x_proto(value), upgrade=True) == (PROXY, expected)

    def test_nobody_else_is_believed(self) -> None:
        stranger = ("192.0.2.1", 1)
        assert seen(x_for("198.51.100.9"), x_proto("https"), peer=stranger) == (stranger, "http")

    @pytest.mark.parametrize("peer", ["", "/run/proxy.sock", None, ()])
    def test_a_unix_socket_is_trusted(self, peer: Any) -> None:
        assert seen(x_for("198.51.100.9"), x_proto("https"), peer=peer) == (("198.51.100.9", 0), "https")

    @pytest.mark.parametrize(
        ("value", "peer", "scheme"),
        [
            ("for=192.0.2.60;proto=https;by=203.0.113.43", ("192.0.2.60", 0), "https"),
            ('For="[2001:db8:cafe::17]:4711"', ("2001:db8:cafe::17", 4711), "http"),
            ('for="192.0.2.43:_x" ; Proto=HTTPS', ("192.0.2.43", 0), "https"),
            ("for=192.0.2.43, for=198.51.100.17;proto=https", ("198.51.100.17", 0), "https"),
            ("for=192.0.2.43;proto=https, for=10.0.0.9;proto=http", ("192.0.2.43", 0), "https"),
            ("for=unknown", PROXY, "http"),
            ("for=_hidden;proto=https", PROXY, "https"),
            ("for=192.0.2.43, for=_hidden", PROXY, "http"),
            ("by=192.0.2.43", PROXY, "http"),
            ("for=192.0.2.43 for=192.0.2.44", PROXY, "http"),
            ("for=[2001:db8::1]", ("2001:db8::1", 0), "http"),
            # A client opens a quote; what the proxy appends is an element of its own all the same.
            ('for="1.1.1.1, for=192.0.2.43', ("192.0.2.43", 0), "http"),
            ('for="1.1.1.1, for=192.0.2.43, for="10.0.0.8"', ("192.0.2.43", 0), "http"),
            ("", PROXY, "http"),
        ],
    )
    def test_the_field_of_rfc_7239(self, value: str, peer: Any, scheme: str) -> None:
        assert seen(("Forwarded", value)) == (peer, scheme)

    @pytest.mark.parametrize("field", [x_for("192.0.2.7"), x_proto("https")])
    def test_a_proxy_speaks_one_of_both(self, field: tuple[str, str]) -> None:
        alone = seen(field)
        assert seen(("Forwarded", "for=1.1.1.1;proto=wss"), field) == alone

    def test_a_mapped_peer_is_the_ipv4_address(self) -> None:
        peer = ("127.0.0.1", 40000)
        assert seen(x_for("192.0.2.7"), peer=peer, trusted=("127.0.0.1",))[0] == ("192.0.2.7", 0)

    def test_without_headers(self) -> None:
        assert seen() == (PROXY, "http")
