"""Hosts as people write them, and as requests name them."""

from __future__ import annotations

import pytest

from fastws.web.hosts import is_allowed_host, parse_host, parse_hosts


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Example.org", "example.org"),
        ("example.org.", "example.org"),
        ("example.org:8080", "example.org:8080"),
        ("*.Example.org", "*.example.org"),
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
        ("[::1]:80", "[::1]:80"),
        ("0:0::1", "[::1]"),
        ("[2001:DB8:0:0::1]:80", "[2001:db8::1]:80"),
        ("example.org.:80", "example.org:80"),
        ("127.0.0.1", "127.0.0.1"),
        ("*", "*"),
    ],
)
def test_what_is_a_host(text: str, host: str) -> None:
    assert parse_host(text) == host
    assert parse_host(host) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://a",
        "a/b",
        "a b",
        "*.*.a",
        "a.*",
        "*a",
        "a*",
        ".a",
        "a..b",
        "*.",
        "b\xfccher.example",
        "*.a:80",
        "u@a",
        "[abc]",
        "[127.0.0.1]",
        "1:2:3",
        "*.[::1]",
    ],
)
def test_what_matches_no_host(text: str) -> None:
    with pytest.raises(ValueError, match="is not a host"):
        parse_hosts([text])


def test_one_text_is_no_list() -> None:
    with pytest.raises(TypeError, match="is a list of hosts"):
        parse_hosts("localhost")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("LocalHost:1", True),
        ("localhost.", True),
        ("a.example.org", True),
        ("a.b.example.org:443", True),
        ("example.org", False),
        ("aexample.org", False),
        ("example.org.evil", False),
        ("one:80", True),
        ("one:81", False),
        ("one", False),
        ("[::1]:5", True),
        ("[0:0::1]", True),
        ("[::ffff:7f00:1]", True),
        ("[::2]", False),
        ("[1::2::3]", False),
        ("::1", False),
        ("", False),
        (None, False),
        ("a b.example.org", False),
    ],
)
def test_is_allowed(host: str | None, allowed: bool) -> None:
    hosts = parse_hosts(["localhost", "*.example.org", "one:80", "::1", "::ffff:127.0.0.1"])
    assert is_allowed_host(host, hosts) is allowed
    assert is_allowed_host(host, parse_hosts(["*"]))
