"""RFC 9110, sections 12.5.3, 13.1 and 14, over literal field values."""

from __future__ import annotations

import pytest

from fastws.web.content_types import content_type
from fastws.web.negotiation import entity_tag_matches, preferred_codings, requested_range
from tests.effort import within_cpu

KNOWN = ("br", "gzip")


@pytest.mark.parametrize(
    ("values", "codings"),
    [
        ([], []),
        ([""], []),
        (["gzip, deflate, br, zstd"], ["br", "gzip"]),
        (["gzip", "br"], ["br", "gzip"]),
        (["GZIP"], ["gzip"]),
        (["gzip;q=1.0, br;q=0.5"], ["gzip", "br"]),
        (["br;q=0, gzip"], ["gzip"]),
        (["br;Q=0.000,gzip; q=0.001"], ["gzip"]),
        (["*"], ["br", "gzip"]),
        (["*;q=0.5, gzip;q=0"], ["br"]),
        (["identity"], []),
        (["identity;q=0.5, gzip;q=0.4, br;q=0.6"], ["br"]),
        (["identity;q=0, gzip"], ["gzip"]),
        # What breaks the grammar of a weight is not accepted.
        (["gzip;q=2"], []),
        (["gzip;q=0.1234"], []),
        (["gzip;q=\xb2"], []),
        (["gzip;level=9"], []),
        (["gzip;"], []),
        (["zstd, compress"], []),
    ],
)
def test_the_codings_a_client_accepts(values: list[str], codings: list[str]) -> None:
    assert preferred_codings(values, KNOWN) == codings


@pytest.mark.parametrize(
    ("values", "matches"),
    [
        (['"abc"'], True),
        (['W/"abc"'], True),
        (['"x", "abc"'], True),
        (['"x"', '"abc"'], True),
        (['"a,b","abc"'], True),
        (["*"], True),
        ([" * "], True),
        (['"abcd"'], False),
        (["abc"], False),
        (['"abc'], False),
        (['x"abc'], False),
        (["* , x"], False),
        ([""], False),
    ],
)
def test_entity_tags_compare_weakly(values: list[str], matches: bool) -> None:
    assert entity_tag_matches(values, '"abc"') is matches


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("bytes=0-0", range(0, 1)),
        ("bytes=0-99", range(0, 100)),
        ("bytes=10-19", range(10, 20)),
        ("BYTES= 10-19 ", range(10, 20)),
        ("bytes=90-", range(90, 100)),
        ("bytes=90-1000000", range(90, 100)),
        ("bytes=90-9999999999999999999", range(90, 100)),
        ("bytes=-1", range(99, 100)),
        ("bytes=-100", range(0, 100)),
        ("bytes=-5000", range(0, 100)),
        # Not satisfiable.
        ("bytes=100-", range(100, 100)),
        ("bytes=9999999999999999999-", range(0)),
        ("bytes=-0", range(0)),
        # Several, another unit, or no grammar: the whole.
        ("bytes=0-1,3-4", None),
        ("bytes=0-0,-1", None),
        ("bytes=" + "0-," * 10_000, None),
        ("bytes=" + ",".join(f"{n}-{n + 50}" for n in range(1000)), None),
        ("bytes=9-8", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes=--5", None),
        ("bytes=-5-9", None),
        ("bytes=+1-2", None),
        ("bytes=0x1-2", None),
        ("bytes=1_0-20", None),
        ("bytes=\u0663-\u0664", None),
        ("bytes=\xb2-\xb3", None),
        ("bytes=1-\n", None),
        ("bytes=" + "9" * 20 + "-", None),
        ("bytes 0-1", None),
        ("items=0-1", None),
        ("", None),
    ],
)
def test_one_range_or_the_whole(field: str, part: range | None) -> None:
    found = requested_range(field, 100)
    assert found == part
    assert (found is None) == (part is None)


def test_nothing_of_an_empty_file_can_be_asked_for() -> None:
    assert requested_range("bytes=0-", 0) == range(0)
    assert requested_range("bytes=-5", 0) == range(0)


@pytest.mark.parametrize(
    "value",
    [" " * 16_000, "," * 16_000, ";" * 16_000, '"' * 15_999, 'W/"' * 5_000, "bytes=" + " " * 16_000 + "x"],
)
@pytest.mark.measures
def test_hostile_values_take_no_time(value: str) -> None:
    within_cpu(0.05, lambda: preferred_codings([value], KNOWN))
    within_cpu(0.05, lambda: preferred_codings(["gzip;" + value], KNOWN))
    within_cpu(0.05, lambda: entity_tag_matches([value], '"abc"'))
    within_cpu(0.05, lambda: requested_range(value, 100))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("a.CSS", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("a.tar.gz", "application/gzip"),
        ("a.unheard-of", "application/octet-stream"),
        ("README", "application/octet-stream"),
        (".html", "application/octet-stream"),
        ("html", "application/octet-stream"),
    ],
)
def test_content_types(name: str, expected: str) -> None:
    assert content_type(name) == expected
