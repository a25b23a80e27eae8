"""Cookies of a client: which host gets them, and in how many fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from http.cookiejar import Cookie, CookieJar
from typing import Any

import pytest

import fastws
from fastws.client.credentials import cookie_field, cookie_jar, one_cookie_field
from tests.client.loops import both_loops
from tests.client.peers import answer, answering, fields, listening


def cookie(name: str, domain: str, *, secure: bool = False) -> Cookie:
    return Cookie(
        version=0,
        name=name,
        value="1",
        port=None,
        port_specified=False,
        domain=domain,
        domain_specified=False,
        domain_initial_dot=False,
        path="/",
        path_specified=True,
        secure=secure,
        expires=None,
        discard=True,
        comment=None,
        comment_url=None,
        rest={},
    )


class MappingJar(CookieJar, MutableMapping[str, str]):  # type: ignore[misc]
    """A jar that is a mapping of the cookies of all domains, as requests has one."""

    def __getitem__(self, name: str) -> str:
        return next(str(each.value) for each in self if each.name == name)

    def __setitem__(self, name: str, value: str) -> None:
        raise NotImplementedError

    def __delitem__(self, name: str) -> None:
        raise NotImplementedError


class MappingWithJar(MutableMapping[str, str]):
    """A mapping around a jar, as httpx has one."""

    def __init__(self, jar: CookieJar) -> None:
        self.jar = jar

    def __getitem__(self, name: str) -> str:
        return next(str(each.value) for each in self.jar if each.name == name)

    def __setitem__(self, name: str, value: str) -> None:
        raise NotImplementedError

    def __delitem__(self, name: str) -> None:
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        return (each.name for each in self.jar)

    def __len__(self) -> int:
        return len(self.jar)


class JarByMethods:
    """No ``CookieJar`` by inheritance, as mechanize has one."""

    def __init__(self) -> None:
        self._jar = CookieJar()
        self.add_cookie_header = self._jar.add_cookie_header
        self.extract_cookies = self._jar.extract_cookies
        self.set_cookie = self._jar.set_cookie


def of_requests() -> Any:
    return pytest.importorskip("requests").Session().cookies


def of_httpx() -> Any:
    return pytest.importorskip("httpx").Cookies()


JARS: list[Callable[[], Any]] = [
    CookieJar,
    MappingJar,
    lambda: MappingWithJar(CookieJar()),
    JarByMethods,
    of_requests,
    of_httpx,
]


@pytest.mark.live
@pytest.mark.parametrize("make", JARS, ids=["jar", "both", "holder", "methods", "requests", "httpx"])
@both_loops
async def test_a_jar_gives_each_host_its_own_cookies(make: Callable[[], Any]) -> None:
    given = make()
    jar = cookie_jar(given)
    assert jar is not None
    for each in (
        cookie("ours", "127.0.0.1"),
        cookie("foreign", "bank.test"),
        cookie("only_tls", "127.0.0.1", secure=True),
    ):
        jar.set_cookie(each)
    heads: list[str] = []
    async with listening(answering(answer(403, "Set-Cookie: kept=2; Path=/"), heads=heads)) as port:
        for _ in range(2):
            with pytest.raises(fastws.HandshakeRefused):
                await fastws.connect(f"ws://127.0.0.1:{port}/", cookies=given)
    assert fields(heads[0])["cookie"] == "ours=1"
    assert set(fields(heads[1])["cookie"].split("; ")) == {"ours=1", "kept=2"}


@pytest.mark.parametrize("cookies", [object(), "a=1", [("a", "1")], {"a": 1}, {b"a": "1"}])
def test_what_is_neither_a_jar_nor_a_mapping_of_texts(cookies: Any) -> None:
    with pytest.raises(TypeError, match="cookie"):
        fastws.connect("ws://a/", cookies=cookies)


def test_a_mapping_with_a_cookie_of_the_name_jar_is_no_jar() -> None:
    assert cookie_jar({"jar": "a"}) is None
    assert cookie_field({"jar": "a"}) == "jar=a"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ([], []),
        ([(b"Cookie", b"a=1")], [(b"Cookie", b"a=1")]),
        (
            [(b"cookie", b"a=1;"), (b"X", b"y"), (b"Cookie", b"b=2"), (b"COOKIE", b"c=3")],
            [(b"cookie", b"a=1; b=2; c=3"), (b"X", b"y")],
        ),
        ([(b"Cookie", b""), (b"Cookie", b"b=2")], [(b"Cookie", b"b=2")]),
        ([(b"Cookie", b"")], []),
    ],
)
def test_there_is_one_cookie_field(given: Any, sent: Any) -> None:
    assert one_cookie_field(given) == sent


@pytest.mark.live
@pytest.mark.parametrize("as_jar", [False, True], ids=["mapping", "jar"])
@both_loops
async def test_cookies_join_the_field_of_the_headers(as_jar: bool) -> None:
    jar = CookieJar()
    jar.set_cookie(cookie("b", "127.0.0.1"))
    heads: list[str] = []
    async with listening(answering(answer(403), heads=heads)) as port:
        with pytest.raises(fastws.HandshakeRefused):
            await fastws.connect(
                f"ws://127.0.0.1:{port}/", headers={"Cookie": "a=1"}, cookies=jar if as_jar else {"b": "1"}
            )
    assert [line for line in heads[0].split("\r\n") if line.lower().startswith("cookie")] == [
        "Cookie: a=1; b=1"
    ]
