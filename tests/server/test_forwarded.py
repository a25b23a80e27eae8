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

    @pytest.mark.parametrize("value", ["", "unknown", "192.0.2.7:80", "1.2.3.4, evil"])
    def test_what_is_no_address_ends_the_list(self, value: str) -> None:
        assert seen(x_for(value))[0] == PROXY

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

    def test_without_headers(self) -> None:
        assert seen() == (PROXY, "http")
