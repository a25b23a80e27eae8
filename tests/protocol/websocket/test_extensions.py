"""permessage-deflate is negotiated: offers, answers, and those that break RFC 7692."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastws.config import Compression
from fastws.errors import HandshakeError
from fastws.protocol.websocket.deflate import DeflateParams
from fastws.protocol.websocket.extensions import (
    Extension,
    check_deflate,
    deflate_offer,
    negotiate,
    parse_extensions,
)
from tests.effort import within_cpu

FRESH = Compression()
TAKEOVER = Compression(context_takeover=True)
BOTH_FRESH = "; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("values", "extensions"),
    [
        ([""], []),
        ([" , ,"], []),
        (["a"], [("a", [])]),
        (["a, b", "c"], [("a", []), ("b", []), ("c", [])]),
        (["a;b;c=d"], [("a", [("b", None), ("c", "d")])]),
        ([" a ;\tb ; c = d , e "], [("a", [("b", None), ("c", "d")]), ("e", [])]),
        (['a; b="c, d; e=f", g'], [("a", [("b", "c, d; e=f")]), ("g", [])]),
        (['a; b="\\"\\c"; d=""'], [("a", [("b", '"c'), ("d", "")])]),
    ],
)
def test_parse(values: list[str], extensions: list[Extension]) -> None:
    assert parse_extensions(values) == extensions


@pytest.mark.parametrize(
    "value", ["a b", "a;", "a;=b", "a;b=", 'a;b="c', 'a;b="c\\"', "=", ";a", "é", "a;b=c d", "a;b=٩", '"a"']
)
def test_bad_syntax(value: str) -> None:
    with pytest.raises(ValueError, match="extension|parameter"):
        parse_extensions([value])
    assert negotiate([value], FRESH) is None


# -- server role --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "compression", "answer", "params"),
    [
        ("", FRESH, BOTH_FRESH, DeflateParams(True, True)),
        ("; client_max_window_bits", FRESH, BOTH_FRESH, DeflateParams(True, True)),
        ("; client_max_window_bits=9", FRESH, BOTH_FRESH, DeflateParams(True, True)),
        ("; client_max_window_bits=8", FRESH, BOTH_FRESH, DeflateParams(True, True)),
        ('; client_max_window_bits="8"', TAKEOVER, "", DeflateParams()),
        (
            "; server_max_window_bits=9",
            FRESH,
            BOTH_FRESH + "; server_max_window_bits=9",
            DeflateParams(True, True, 9),
        ),
        (
            '; server_max_window_bits="15"',
            FRESH,
            BOTH_FRESH + "; server_max_window_bits=15",
            DeflateParams(True, True, 15),
        ),
        (BOTH_FRESH, FRESH, BOTH_FRESH, DeflateParams(True, True)),
        ("", TAKEOVER, "", DeflateParams()),
        (
            "; server_no_context_takeover",
            TAKEOVER,
            "; server_no_context_takeover",
            DeflateParams(server_no_context_takeover=True),
        ),
        (
            "; client_no_context_takeover; server_max_window_bits=10",
            TAKEOVER,
            "; client_no_context_takeover; server_max_window_bits=10",
            DeflateParams(client_no_context_takeover=True, server_max_window_bits=10),
        ),
    ],
)
def test_accepted_offer(offer: str, compression: Compression, answer: str, params: DeflateParams) -> None:
    expected = params, ("permessage-deflate" + answer).encode()
    assert negotiate(["permessage-deflate" + offer], compression) == expected


BAD_PARAMETERS = [
    *("server_max_window_bits" + value for value in ("", "=7", "=16", "=x", "=09", "=+9", '=""', '="9,"')),
    *("client_max_window_bits" + value for value in ("=7", "=08", "=16", "=150", "=-9")),
    "client_no_context_takeover=1",
    "server_no_context_takeover=true",
    "server_no_context_takeover; server_no_context_takeover",
    "server_max_window_bits=10; server_max_window_bits=10",
    "constructor",
    "__proto__=1",
    "Server_No_Context_Takeover",
]


#: What this side would have to compress with a window of 8 bits, by its role.
SERVER_WITH_8, CLIENT_WITH_8 = "server_max_window_bits=8", "client_max_window_bits=8"


@pytest.mark.parametrize("parameters", [*BAD_PARAMETERS, SERVER_WITH_8])
def test_declined_offer(parameters: str) -> None:
    bad = "permessage-deflate; " + parameters
    assert negotiate([bad], FRESH) is None
    # The next one may still be good (RFC 7692, section 5.1).
    assert negotiate([bad + ", permessage-deflate"], FRESH) == negotiate(["permessage-deflate"], FRESH)
    assert negotiate([bad, "x, permessage-deflate"], FRESH) == negotiate(["permessage-deflate"], FRESH)


@pytest.mark.parametrize(
    "value", ["", "x", "x-webkit-deflate-frame", "permessage-bzip2", "Permessage-Deflate"]
)
def test_other_extensions(value: str) -> None:
    assert negotiate([value], FRESH) is None


@given(st.text(alphabet=' \t,;="\\abé9', max_size=30))
def test_no_value_raises(value: str) -> None:
    assert negotiate([value], FRESH) is None
    with_offer = negotiate([value, "permessage-deflate; " + value], FRESH)
    assert with_offer is None or with_offer == negotiate(["permessage-deflate"], FRESH)


# -- client role --------------------------------------------------------------------------------


def test_offer() -> None:
    assert deflate_offer(TAKEOVER) == b"permessage-deflate; client_max_window_bits"
    assert deflate_offer(FRESH) == b"permessage-deflate" + BOTH_FRESH.encode() + b"; client_max_window_bits"


@pytest.mark.parametrize("compression", [FRESH, TAKEOVER])
def test_we_understand_ourselves(compression: Compression) -> None:
    agreed = negotiate([deflate_offer(compression).decode()], compression)
    assert agreed is not None
    params, answer = agreed
    assert check_deflate([answer.decode()], compression) == params


@pytest.mark.parametrize(
    ("values", "compression", "params"),
    [
        ([], None, None),
        ([], FRESH, None),
        ([""], None, None),
        (["permessage-deflate; server_no_context_takeover"], FRESH, DeflateParams(True, True)),
        (["permessage-deflate"], TAKEOVER, DeflateParams()),
        (["permessage-deflate"], FRESH, DeflateParams(False, True)),
        (["permessage-deflate" + BOTH_FRESH], TAKEOVER, DeflateParams(True, True)),
        (
            ["permessage-deflate; client_max_window_bits=9; server_max_window_bits=12"],
            TAKEOVER,
            DeflateParams(server_max_window_bits=12, client_max_window_bits=9),
        ),
        (
            ["permessage-deflate; server_max_window_bits=8"],
            TAKEOVER,
            DeflateParams(server_max_window_bits=8),
        ),
        (
            ['permessage-deflate; server_max_window_bits="8"'],
            FRESH,
            DeflateParams(False, True, server_max_window_bits=8),
        ),
    ],
)
def test_server_accepted(
    values: list[str], compression: Compression | None, params: DeflateParams | None
) -> None:
    assert check_deflate(values, compression) == params


@pytest.mark.parametrize(
    ("value", "compression", "words"),
    [
        ("permessage-deflate", None, "not offered"),
        ("x", None, "not offered"),
        ("x", FRESH, "not offered"),
        ("permessage-deflate, permessage-deflate", TAKEOVER, "not offered"),
        ("permessage-deflate;", TAKEOVER, "do not parse"),
        ("permessage-deflate; client_max_window_bits", TAKEOVER, "not valid"),
        *(
            ("permessage-deflate; " + parameters, TAKEOVER, "not valid")
            for parameters in [*BAD_PARAMETERS, CLIENT_WITH_8]
        ),
    ],
)
def test_server_accepted_what_was_not_offered(
    value: str, compression: Compression | None, words: str
) -> None:
    with pytest.raises(HandshakeError, match=words):
        check_deflate([value], compression)


# -- time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "b" + " " * 66_000 + "x",
        'a; b="' + "\\c" * 33_000,
        'a; b="' + "\\" * 66_001,
        "a;" * 33_000,
        "a;b=" * 16_000,
        "," * 66_000,
        "a " * 33_000,
        "permessage-deflate; " + "x=y; " * 13_000 + "z",
        "permessage-deflate; client_max_window_bits=7, " * 1_400,
    ],
)
@pytest.mark.measures
def test_time_is_linear(value: str) -> None:
    assert within_cpu(0.2, lambda: negotiate([value], FRESH)) is None
