"""``jwt_auth``: each thing that can be wrong with a token, and where keys come from. No socket."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

import fastws
from fastws.auth.jwks import FetchedKeys
from fastws.auth.keys import FileKeys
from tests.rows import all_rows

SECRET = "a secret of more than thirty-two bytes"
OTHER = "another one of more than thirty-two bytes"
NOW = int(time.time())
#: Longer than all tests take.
HOURS = 36_000
PRIVATE = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
GOOD = {"sub": "ann", "exp": NOW + HOURS}


def pem(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    data: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    return data


def jwk(key: Any, kid: str | None = None, **more: Any) -> dict[str, Any]:
    maker = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    made: dict[str, Any] = maker.to_jwk(key.public_key(), as_dict=True)
    return {**made, **({} if kid is None else {"kid": kid}), **more}


def signed(claims: Any = None, key: Any = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    return jwt.encode(GOOD if claims is None else claims, key, algorithm, headers=header or None)


def request(*fields: tuple[str, str], target: str = "/") -> fastws.Request:
    return fastws.Request("GET", target, list(fields), peer=("192.0.2.1", 7))


async def answered(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def user_of(auth: Any, token: str) -> fastws.User:
    """What a feed is told; and a route must say the same."""
    user = await answered(auth(request(), token))
    assert isinstance(user, fastws.User)
    assert await answered(auth(request(("Authorization", f"Bearer {token}")))) is None
    return user


async def refused(auth: Any, token: str) -> None:
    """The same words for every mistake, in a feed and in a route."""
    with pytest.raises(fastws.FeedError) as caught:
        await answered(auth(request(), token))
    assert str(caught.value) == "unauthorized: the token is not valid"
    response = await answered(auth(request(("Authorization", f"Bearer {token}"))))
    assert response.status == 401 and response.body == b"401 Unauthorized\n"
    assert response.headers["www-authenticate"] == 'Bearer realm="fastws", error="invalid_token"'


async def test_a_good_token_is_a_user() -> None:
    auth = fastws.jwt_auth(SECRET, algorithms=["HS256"])
    user = await user_of(auth, signed({**GOOD, "role": "admin"}))
    assert user.id == "ann" and user.expires_at == NOW + HOURS and user.claims["role"] == "admin"


def test_who_says_nothing() -> None:
    auth = fastws.jwt_auth(SECRET, algorithms=["HS256"])
    assert auth(request(), None) is None and auth(request(), "") is None
    response: Any = auth(request())
    assert response.status == 401 and response.headers["www-authenticate"] == 'Bearer realm="fastws"'
    assert auth(request(("Authorization", "Basic eDp5")), None) is None


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(header: Any, claims: Any = GOOD) -> str:
    return f"{part(header)}.{part(claims)}."


def cut(token: str) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{part({**GOOD, 'sub': 'eve'})}.{signature}"


HUGE = '{"sub":"ann","exp":1e999}'
#: What is wrong, and what the log says of it.
WRONG: dict[str, tuple[str, str]] = {
    "expired": (signed({**GOOD, "exp": NOW - 11}), "it has expired (exp)"),
    "no exp": (signed({"sub": "ann"}), "it has no exp"),
    "exp of text": (signed({**GOOD, "exp": "soon"}), "exp"),
    "exp without an end": (
        jwt.api_jws.encode(HUGE.encode(), SECRET, "HS256"),
        "Expiration Time",
    ),
    "not yet": (signed({**GOOD, "nbf": NOW + HOURS}), "it is not valid yet"),
    "of the future": (signed({**GOOD, "iat": NOW + HOURS}), "it is not valid yet"),
    "another audience": (signed({**GOOD, "aud": "billing", "iss": "us"}), "it is for another audience"),
    "no audience": (signed({**GOOD, "iss": "us"}), "it has no aud"),
    "another issuer": (signed({**GOOD, "aud": "chat", "iss": "https://evil.example"}), "of another issuer"),
    "another key": (signed(key=OTHER), "its signature is not that of the key"),
    "other claims": (cut(signed()), "its signature is not that of the key"),
    "no algorithm": (unsigned({"alg": "none"}), "its algorithm (alg) is none, not one of HS256"),
    "NONE": (unsigned({"alg": "NoNe"}), "its algorithm (alg) is NoNe"),
    "another algorithm": (signed(key=SECRET * 2, algorithm="HS512"), "its algorithm (alg) is HS512"),
    "of a list": (unsigned({"alg": ["HS256"]}), "its algorithm (alg) is"),
    "without one": (unsigned({"typ": "JWT"}), "alg"),
    "crit": (signed(crit=["x"], x=1), "Unsupported critical extension: x"),
    "crit of b64": (
        unsigned({"alg": "HS256", "crit": ["b64"], "b64": True}),
        "it has critical extensions (crit)",
    ),
    "kid of a number": (unsigned({"alg": "HS256", "kid": 1}), "it is no JWT"),
    "three words": ("a.b.c", "it is no JWT"),
    "one word": ("token", "it is no JWT"),
    "no JSON": (f"{part(b'{')}.{part(GOOD)}.x", "it is no JWT"),
    "deep": (f"{part(b'[' * 5000)}.{part(GOOD)}.x", "it is no JWT"),
    "claims that are a list": (jwt.api_jws.encode(b"[]", SECRET, "HS256"), "Invalid payload"),
    "no subject": (signed({"exp": NOW + HOURS, "aud": "chat", "iss": "us"}), "its subject (sub) is no name"),
    "an empty subject": (
        signed({**GOOD, "sub": "", "aud": "chat", "iss": "us"}),
        "its subject (sub) is no name",
    ),
    "of megabytes": (signed({**GOOD, "x": "x" * 20000}), "it has more than 16384 characters"),
    "a forged line": (unsigned({"alg": "x\n2026 error all is well"}), "is x\\n2026 error"),
}


async def test_each_thing_wrong_is_told_to_the_operator_and_not_to_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with all_rows() as row:
        for name, (token, words) in WRONG.items():
            with row(name):
                auth = fastws.jwt_auth(SECRET, algorithms=["HS256"], audience="chat", issuer=["us", "you"])
                caplog.clear()
                await refused(auth, token)
                lines = [record.getMessage() for record in caplog.records]
                assert len(lines) == 2 and all(
                    line.startswith("the JWT of 192.0.2.1:7 is refused: ") for line in lines
                ), lines
                assert words in lines[0] and token not in caplog.text and "\n" not in lines[0]


async def test_the_log_takes_few_lines_of_one_cause(caplog: pytest.LogCaptureFixture) -> None:
    auth = fastws.jwt_auth(SECRET, algorithms=["HS256"])
    for number in range(30):
        await refused(auth, signed({**GOOD, "exp": NOW - number}))
    assert len(caplog.records) == 10


async def test_clocks_may_differ_by_the_leeway() -> None:
    auth = fastws.jwt_auth(SECRET, algorithms=["HS256"], leeway=3600)
    user = await user_of(auth, signed({**GOOD, "exp": NOW - 11}))
    assert user.expires_at == NOW + 3589
    await refused(auth, signed({**GOOD, "exp": NOW - 10_000}))


async def test_one_audience_of_several() -> None:
    auth = fastws.jwt_auth(SECRET, algorithms=["HS256"], audience={"chat", "feeds"}, issuer="us")
    claims = {**GOOD, "aud": ["feeds", "x"], "iss": "us"}
    assert (await user_of(auth, signed(claims))).id == "ann"


async def test_user_decides_who_it_is(caplog: pytest.LogCaptureFixture) -> None:
    async def later(claims: Any) -> Any:
        await asyncio.sleep(0)
        return (
            None if claims["sub"] == "eve" else fastws.User("u:" + claims["sub"], expires_at=NOW + HOURS // 2)
        )

    def longer(claims: Any) -> Any:
        return fastws.User("ann", expires_at=NOW + 2 * HOURS)

    auth = fastws.jwt_auth(SECRET, algorithms=["HS256"], user=later)
    assert (await user_of(auth, signed())) == fastws.User("u:ann", expires_at=NOW + HOURS // 2)
    await refused(auth, signed({**GOOD, "sub": "eve"}))
    assert "user= knows nobody with these claims" in caplog.text
    auth = fastws.jwt_auth(SECRET, algorithms=["HS256"], user=longer)
    assert (await user_of(auth, signed())).expires_at == NOW + HOURS
    auth = fastws.jwt_auth(SECRET, algorithms=["HS256"], user=lambda claims: fastws.User("a", expires_at=1))
    await refused(auth, signed())
    auth = fastws.jwt_auth(SECRET, algorithms=["HS256"], user=lambda claims: "ann")  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="no fastws.User"):
        auth(request(), signed())


async def test_places_of_a_token() -> None:
    auth = fastws.jwt_auth(
        SECRET, algorithms=["HS256"], header="X-Token", subprotocol="bearer.", query="jwt", cookie="jwt"
    )
    token = signed()
    for asked in (
        request(("X-Token", token)),
        request(("Sec-WebSocket-Protocol", f"chat, bearer.{token}")),
        request(target=f"/?jwt={token}"),
        request(("Cookie", f"a=b; jwt={token}")),
    ):
        assert auth(asked) is None
        assert asked.user.id == "ann"
    twice: Any = auth(request(target=f"/?jwt={token}&jwt={token}"))
    assert twice.status == 401
    crowded: Any = auth(request(target="/?" + "a&" * 1001 + f"jwt={token}"))
    assert crowded.status == 401


def test_what_cannot_be_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[tuple[type[Exception], str, Any, dict[str, Any]]] = [
        (ValueError, "at least one", SECRET, {"algorithms": []}),
        (TypeError, "a list of names", SECRET, {"algorithms": "HS256"}),
        (ValueError, "has 'none'", SECRET, {"algorithms": ["none"]}),
        (ValueError, "has 'HS257'", SECRET, {"algorithms": ["HS257"]}),
        (ValueError, "not both", SECRET, {"algorithms": ["HS256", "RS256"]}),
        (ValueError, "at least 32 bytes", "short", {"algorithms": ["HS256"]}),
        (ValueError, "none for HS256", pem(PRIVATE), {"algorithms": ["HS256"]}),
        (ValueError, "none for RS256", SECRET, {"algorithms": ["RS256"]}),
        (ValueError, "no key for RS256", {"keys": [{"kty": "x"}]}, {"algorithms": ["RS256"]}),
        (ValueError, "none for ES256", jwk(PRIVATE), {"algorithms": ["ES256"]}),
        (TypeError, "text or bytes", 1, {"algorithms": ["HS256"]}),
        (ValueError, "https://", "http://example.org/keys", {"algorithms": ["RS256"]}),
        (ValueError, "https://", "https:///keys", {"algorithms": ["RS256"]}),
        (FileNotFoundError, "No such file", tmp_path / "missing", {"algorithms": ["RS256"]}),
        (ValueError, "0 to 3600", SECRET, {"algorithms": ["HS256"], "leeway": -1}),
        (TypeError, "seconds", SECRET, {"algorithms": ["HS256"], "leeway": "1"}),
        (TypeError, "a function", SECRET, {"algorithms": ["HS256"], "user": "ann"}),
        (ValueError, "a header can carry", SECRET, {"algorithms": ["HS256"], "header": "a b"}),
        (ValueError, "no name", SECRET, {"algorithms": ["HS256"], "query": ""}),
    ]
    with all_rows() as row:
        for error, words, keys, options in rows:
            with row(f"{words} {options}"), pytest.raises(error, match=words):
                fastws.jwt_auth(keys, **options)
    monkeypatch.setitem(__import__("sys").modules, "jwt", None)
    with pytest.raises(ImportError, match=r"pip install 'fastws-server\[jwt\]'"):
        fastws.jwt_auth(SECRET, algorithms=["HS256"])


async def test_keys_of_every_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pairs = {"RS256": PRIVATE, "PS256": PRIVATE, "ES256": CURVE, "EdDSA": EDWARDS}
    for algorithm, key in pairs.items():
        auth = fastws.jwt_auth(pem(key), algorithms=["RS256", "PS256", "ES256", "EdDSA"])
        assert (await user_of(auth, signed(key=key, algorithm=algorithm))).id == "ann"
        other = next(each for each in pairs.values() if each is not key)
        await refused(auth, signed(key=other, algorithm="ES256" if other is CURVE else "RS256"))
    named = {"old": SECRET, "new": OTHER.encode()}
    auth = fastws.jwt_auth(named, algorithms=["HS256"])
    assert (await user_of(auth, signed(kid="old"))).id == "ann"
    assert (await user_of(auth, signed(key=OTHER, kid="new"))).id == "ann"
    await refused(auth, signed(kid="new"))
    await refused(auth, signed(kid="x" * 5000))
    await refused(auth, signed())
    assert "and there are several" in caplog.text and "x" * 65 not in caplog.text
    keys = {"keys": [{"kty": "x"}, 1, jwk(CURVE, use="enc"), jwk(PRIVATE, "a"), jwk(CURVE, "b", alg="ES256")]}
    auth = fastws.jwt_auth(keys, algorithms=["RS256", "ES256"])
    assert (await user_of(auth, signed(key=CURVE, algorithm="ES256", kid="b"))).id == "ann"
    await refused(auth, signed(key=PRIVATE, algorithm="RS256", kid="b"))
    assert "its key is not for RS256" in caplog.text
    single = fastws.jwt_auth(jwk(PRIVATE, "a"), algorithms=["RS256"])
    assert (await user_of(single, signed(key=PRIVATE, algorithm="RS256"))).id == "ann"
    nested = fastws.jwt_auth({"a": jwk(PRIVATE)}, algorithms=["RS256"])
    assert (await user_of(nested, signed(key=PRIVATE, algorithm="RS256", kid="a"))).id == "ann"
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [jwk(PRIVATE, "a")]}))
    auth = fastws.jwt_auth(path, algorithms=["RS256"])
    assert (await user_of(auth, signed(key=PRIVATE, algorithm="RS256", kid="a"))).id == "ann"
    secret = {"kty": "oct", "k": part(SECRET.encode())}
    auth = fastws.jwt_auth(secret, algorithms=["HS256"])
    assert (await user_of(auth, signed())).id == "ann"
    with pytest.raises(ValueError, match="at least 32 bytes"):
        fastws.jwt_auth({"kty": "oct", "k": "abc"}, algorithms=["HS256"])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_file_of_keys_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path, clock = tmp_path / "secret", Clock()
    path.write_text(SECRET + "\n")
    keys = FileKeys(str(path), ["HS256"], clock)
    assert keys.find(None, "HS256") == SECRET.encode()
    path.write_text(OTHER + "!\n")
    clock.now = 0.5
    assert keys.find(None, "HS256") == SECRET.encode()
    clock.now = 1.0
    assert keys.find(None, "HS256") == OTHER.encode() + b"!" and "read again" in caplog.text
    for second, text in ((2.0, "short"), (3.0, '{"a": ' * 5000), (4.0, "x" * (2**18 + 1)), (5.0, "{")):
        path.write_text(text)
        clock.now = second
        assert keys.find(None, "HS256") == OTHER.encode() + b"!"
    assert caplog.text.count("hold on") == 4
    os.unlink(path)
    for second in (6.0, 7.0, 8.0):
        clock.now = second
        assert keys.find(None, "HS256") == OTHER.encode() + b"!"
    assert caplog.text.count("hold on") == 5


class Site:
    """What is at the URL, and how often it was asked for."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, url: str) -> bytes:
        assert url == "https://id.example/keys"
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return json.dumps({"keys": answer}).encode()


def fetched(site: Site, clock: Clock) -> Any:
    auth = fastws.jwt_auth("https://id.example/keys", algorithms=["RS256"])
    auth._keys = FetchedKeys("https://id.example/keys", ["RS256"], get=site, clock=clock)
    return auth


def token(kid: str | None, key: Any = PRIVATE) -> str:
    return signed(key=key, algorithm="RS256", **({} if kid is None else {"kid": kid}))


async def fetches_end(auth: Any) -> None:
    while auth._keys._fetching is not None:
        await asyncio.sleep(0.001)


async def test_keys_of_a_url_are_fetched_once_for_many(caplog: pytest.LogCaptureFixture) -> None:
    site, clock = Site([jwk(PRIVATE, "a")]), Clock()
    auth = fetched(site, clock)
    users = await asyncio.gather(*(answered(auth(request(), token("a"))) for _ in range(50)))
    assert {user.id for user in users} == {"ann"} and site.asked == 1
    assert (await user_of(auth, token(None))).id == "ann"


async def test_unknown_names_fetch_again_once_in_half_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    site, clock = Site([jwk(PRIVATE, "a")], [jwk(PRIVATE, "a"), jwk(PRIVATE, "b")]), Clock()
    auth = fetched(site, clock)
    assert (await user_of(auth, token("a"))).id == "ann"
    for number in range(100):
        await refused(auth, token(f"x{number}"))
    assert site.asked == 1 and len(auth._keys._keys._keys) == 1
    clock.now = 31.0
    await asyncio.gather(*(refused(auth, token(f"x{number}")) for number in range(100)))
    assert site.asked == 2
    assert (await user_of(auth, token("b"))).id == "ann"


async def test_old_keys_serve_while_new_ones_come(caplog: pytest.LogCaptureFixture) -> None:
    site, clock = Site([jwk(PRIVATE, "a")], OSError("no route"), [jwk(PRIVATE, "b")]), Clock()
    auth = fetched(site, clock)
    await user_of(auth, token("a"))
    clock.now = 301.0
    assert isinstance(auth(request(), token("a")), fastws.User)  # at once
    await fetches_end(auth)
    assert site.asked == 2 and "cannot be fetched: no route" in caplog.text
    assert isinstance(auth(request(), token("a")), fastws.User) and site.asked == 2
    clock.now = 307.0
    assert isinstance(auth(request(), token("a")), fastws.User)
    await fetches_end(auth)
    await refused(auth, token("a"))
    assert site.asked == 3


async def test_without_keys_nobody_is_refused_for_good(caplog: pytest.LogCaptureFixture) -> None:
    site, clock = Site(OSError("no route"), ValueError("no JSON"), [jwk(PRIVATE, "a")]), Clock()
    auth = fetched(site, clock)
    for _ in range(3):
        with pytest.raises(fastws.FeedError) as caught:
            await answered(auth(request(), token("a")))
        assert (caught.value.code, caught.value.retry_after) == ("unavailable", 5)
        response = await answered(auth(request(("Authorization", f"Bearer {token('a')}"))))
        assert response.status == 503 and response.headers["retry-after"] == "5"
    assert site.asked == 1 and "cannot be checked now" in caplog.text
    clock.now = 6.0
    with pytest.raises(fastws.FeedError):
        await answered(auth(request(), token("a")))
    clock.now = 12.0
    assert (await user_of(auth, token("a"))).id == "ann"
    site.answers[:] = [OSError("gone")]
    clock.now = 12.0 + 3600
    with pytest.raises(fastws.FeedError, match="unavailable"):
        await answered(auth(request(), token("a")))


async def test_few_wait_for_a_fetch_and_one_who_goes_takes_nobody_along(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fastws.auth.jwks.MAX_WAITING", 2)
    site, clock = Site([jwk(PRIVATE, "a")]), Clock()
    auth = fetched(site, clock)
    waiting = [asyncio.ensure_future(auth(request(), token("a"))) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError) and done[1].id == "ann"
    assert isinstance(done[2], fastws.FeedError) and done[2].code == "unavailable"


@pytest.fixture
def page() -> Iterator[Any]:
    """A server of keys in a thread: what it answers can be set."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Handler(BaseHTTPRequestHandler):
        answer: Any = (200, json.dumps({"keys": [jwk(PRIVATE, "a")]}).encode(), ())

        def do_GET(self) -> None:
            status, body, fields = self.answer
            self.send_response(status)
            for field in fields:
                self.send_header(*field)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}/keys"  # type: ignore[attr-defined]
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.live
async def test_a_real_fetch(page: Any, caplog: pytest.LogCaptureFixture) -> None:
    def auth() -> Any:
        return fastws.jwt_auth(page.url, algorithms=["RS256"])

    assert (await user_of(auth(), token("a"))).id == "ann"
    for answer, words in (
        ((404, b"", ()), "status 404"),
        ((302, b"", [("Location", "http://127.0.0.1:1/")]), "status 302"),
        ((200, b"x" * (2**18 + 1), ()), "more than 262144 bytes"),
        ((200, b"{}", ()), "no key for RS256"),
        ((200, b"", [("Transfer-Encoding", "chunked")]), "cannot be fetched"),
    ):
        page.RequestHandlerClass.answer = answer
        with pytest.raises(fastws.FeedError, match="unavailable"):
            await answered(auth()(request(), token("a")))
        assert words in caplog.text
    closed = fastws.jwt_auth("http://127.0.0.1:1/keys", algorithms=["RS256"])
    with pytest.raises(fastws.FeedError, match="unavailable"):
        await answered(closed(request(), token("a")))
    assert "Connection refused" in caplog.text
