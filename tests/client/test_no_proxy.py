"""``no_proxy``: which entries name which hosts."""

from __future__ import annotations

import pytest

from fastws.client.no_proxy import bypasses
from fastws.client.proxy import from_environment
from fastws.client.url import parse_url

#: An entry, the hosts that it names, and some that it does not.
ENTRIES: list[tuple[str, str, str]] = [
    ("*", "a.test 10.0.0.1 ::1", ""),
    ("a.test", "a.test x.a.test A.TEST a.test.", "ba.test a.test.b test"),
    (".a.test", "a.test x.a.test", "ba.test"),
    ("a.test.", "a.test a.test.", "b.test"),
    ("A.Test", "a.test", "b.test"),
    ("*.corp", "a.corp b.a.corp a.corp.", "corp a.corp.test"),
    ("10.*", "10.0.0.1", "110.0.0.1"),
    ("build*.corp", "build1.corp build.corp", "rebuild.corp"),
    ("a.[bc]?", "", "a.b a.bx"),
    ("10.0.0.0/8", "10.0.0.1 10.255.255.255 ::ffff:10.1.2.3", "11.0.0.1 a10.test ::a00:1"),
    ("10.1.2.3/8", "10.9.9.9", "11.0.0.1"),
    ("192.168.0.0/255.255.0.0", "192.168.7.7", "192.169.0.1"),
    ("2001:db8::/32", "2001:db8::1 2001:DB8:1::", "2001:db9::1 10.0.0.1"),
    ("[2001:db8::]/32", "", "2001:db9::1"),
    ("fe80::/10", "fe80::1%eth0", "2001:db8::1"),
    ("::ffff:10.0.0.0/104", "10.0.0.1 ::ffff:10.1.2.3", "11.0.0.1"),
    ("[fd00::]/8", "fd12::1", "fe80::1"),
    ("10.0.0.1", "10.0.0.1 ::ffff:10.0.0.1", "10.0.0.10 110.0.0.1"),
    ("2001:db8::1", "2001:db8::1 2001:db8:0::1", "2001:db8::10"),
    ("[2001:db8::1]", "2001:db8::1", "2001:db8::2"),
    ("fe80::1", "fe80::1%eth0", "fe80::2%eth0"),
    ("b\xfccher.test", "xn--bcher-kva.test", "bcher.test"),
    ("10.0.0.0/33", "", "10.0.0.1"),
    ("10.0.0.0/8/8", "", "10.0.0.1"),
    (".", "", "a.test"),
    ("\ud800", "", "a.test"),
]


@pytest.mark.parametrize(("entry", "named", "others"), ENTRIES)
def test_an_entry(entry: str, named: str, others: str) -> None:
    for host in named.split():
        assert bypasses(f"x.invalid, {entry}", host, 80), host
    for host in others.split():
        assert not bypasses(f"x.invalid, {entry}", host, 80), host


@pytest.mark.parametrize(
    ("entry", "host", "port", "named"),
    [
        ("a.test:81", "a.test", 81, True),
        ("a.test:81", "a.test", 80, False),
        ("[2001:db8::1]:81", "2001:db8::1", 81, True),
        ("[2001:db8::1]:81", "2001:db8::1", 80, False),
        ("10.0.0.1:81", "10.0.0.1", 81, True),
        ("*.corp:81", "a.corp", 81, True),
        ("*:81", "a.test", 80, False),
        ("2001:db8::81", "2001:db8::", 81, False),
    ],
)
def test_an_entry_with_a_port(entry: str, host: str, port: int, named: bool) -> None:
    assert bypasses(entry, host, port) is named


def test_entries_are_separated_by_commas_or_white_space() -> None:
    for text in ("a.test,b.test", "a.test b.test", " a.test ,\tb.test ,", "a.test,,b.test"):
        assert bypasses(text, "a.test", 80) and bypasses(text, "b.test", 80)
        assert not bypasses(text, "c.test", 80)
    assert not bypasses("", "a.test", 80)


@pytest.mark.parametrize("url", ["ws://10.1.2.3/", "wss://a.corp/", "ws://[2001:db8::1]/", "ws://app.test./"])
def test_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "http://proxy.test")
    assert from_environment(parse_url(url)) is not None
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8, *.corp, 2001:db8::1, app.test")
    assert from_environment(parse_url(url)) is None
    assert from_environment(parse_url("ws://localhost./")) is None
