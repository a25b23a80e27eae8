"""Origins as people write them are compared as browsers send them."""

from __future__ import annotations

import pytest

from fastws.web.origins import parse_origin, parse_origins


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://app.example", "https://app.example"),
        ("HTTPS://App.Example/", "https://app.example"),
        ("https://app.example:443", "https://app.example"),
        ("http://app.example:80/", "http://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("http://[::1]:5173", "http://[::1]:5173"),
        ("http://[0:0:0:0:0:0:0:1]:5173", "http://[::1]:5173"),
        ("http://[2001:DB8::0:1]", "http://[2001:db8::1]"),
        ("http://[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("https://4.example", "https://4.example"),
        ("custom://127.1", "custom://127.1"),
        ("chrome-extension://abc", "chrome-extension://abc"),
        ("https://*.Example.org", "https://*.example.org"),
        ("https://*.example.org:443/", "https://*.example.org"),
        ("http://app.example:", "http://app.example"),
        ("http://app.example:0080", "http://app.example"),
        ("http://app.example:08080", "http://app.example:8080"),
        ("vscode-webview://1aB", "vscode-webview://1aB"),
        ("*", "*"),
        ("null", "null"),
    ],
)
def test_what_a_browser_sends(text: str, origin: str) -> None:
    assert parse_origin(text) == origin
    assert parse_origins([text, text]) == {origin}


@pytest.mark.parametrize(
    "text", ["", "app.example", "https://", "https://a/path", "https://a?q", "https://u@a", "http://a:x", "/"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        parse_origins([text])


@pytest.mark.parametrize(
    "text",
    [
        "https://*",
        "https://*.",
        "https://exa*mple.com",
        "https://a.*.example.com",
        "https://*.*.example.com",
        "https://*example.com",
        "https://example.*",
        "https://b\xfccher.example",
        "https://a,b",
        "https://a, https://b",
        "https://a b",
        " https://a",
        "https://a..b",
        "https://:pw@a",
        "ws://app.example",
        "wss://app.example",
        "http://127.1",
        "http://2130706433",
        "http://0x7f.0.0.1",
        "http://127.000.000.001",
        "http://1.2.3.4.",
        "https://*.1.2.3.4",
        "https://*.[::1]",
        "http://[::1::2]",
    ],
)
def test_what_no_origin_matches_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        parse_origin(text)


def test_one_text_is_no_list() -> None:
    with pytest.raises(TypeError, match=r"origins= is a list of origins: \['https://a'\]"):
        parse_origins("https://a")
