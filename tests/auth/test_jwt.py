"""``jwt_auth``: each thing that can be wrong with a token. No socket."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import jwt
import pytest

import fastws
from tests.auth.tokens import (
    CURVE,
    EDWARDS,
    GOOD,
    HOURS,
    NOW,
    OTHER,
    PRIVATE,
    SECRET,
    jwk,
    pem,
    refused,
    request,
    signed,
    user_of,
)  # fmt: skip
from tests.rows import all_rows


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


AIMED = {**GOOD, "aud": "chat", "iss": "us"}
HUGE = '{"sub":"ann","exp":1e999}'
#: What is wrong, and what the log says of it.
WRONG: dict[str, tuple[str, str]] = {
    "expired": (signed({**GOOD, "exp": NOW - 11}), "it has expired (exp)"),
    "no exp": (signed({"sub": "ann"}), "it has no exp"),
    "exp of text": (signed({**GOOD, "exp": "soon"}), "exp"),
    "exp of digits": (signed({**AIMED, "exp": str(NOW + HOURS)}), "its exp is no number"),
    "nbf of a truth": (signed({**AIMED, "nbf": True}), "its nbf is no number"),
    "iat of digits": (signed({**AIMED, "iat": "1"}), "iat"),
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
