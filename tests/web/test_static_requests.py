"""Static files: conditional requests and ranges."""

from __future__ import annotations

import os
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from fastws.protocol.http.messages import Request
from fastws.web.static_files import Static
from tests.effort import within_cpu
from tests.web.folders import LARGE, MODIFIED, MODIFIED_DATE, TEXT, Get, read_all

pytestmark = pytest.mark.usefixtures("no_descriptor_left")


# -- conditional requests --------------------------------------------------------------------------


def test_if_none_match(get: Get) -> None:
    etag = get("page.html").headers["etag"]
    for value in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = get("page.html", if_none_match=value)
        assert (response.status, response.body) == (304, b"")
        assert response.headers["etag"] == etag
        assert "content-type" not in response.headers
    assert get("page.html", if_none_match='"other"').status == 200


def test_the_entity_tag_changes_with_the_file(get: Get, root: Path) -> None:
    etag = get("page.html").headers["etag"]
    os.utime(root / "page.html", ns=(MODIFIED * 10**9 + 1, MODIFIED * 10**9 + 1))
    assert get("page.html").headers["etag"] != etag


@pytest.mark.parametrize(
    ("since", "status"),
    [
        (MODIFIED_DATE, 304),
        ("Wed, 15 Nov 2023 00:00:00 GMT", 304),
        ("Tuesday, 14-Nov-23 22:13:20 GMT", 304),
        ("Tue Nov 14 22:13:20 2023", 304),
        ("Tue, 14 Nov 2023 22:13:19 GMT", 200),
        ("yesterday", 200),
        ("Tue, 14 Nov 99999 22:13:20 GMT", 200),
        ("Tue, 99 Nov 2023 99:99:99 GMT" + " " * 100, 200),
        ("", 200),
    ],
)
def test_if_modified_since(get: Get, since: str, status: int) -> None:
    assert get("page.html", if_modified_since=since).status == status
    assert get("large.bin", method="HEAD", if_modified_since=since).status == status


def test_if_modified_since_twice_counts_as_not_sent(root: Path) -> None:
    fields = [("If-Modified-Since", MODIFIED_DATE)] * 2
    response = Static("/s/", root).respond(Request(headers=fields), "page.html")
    assert response.status == 200


def test_if_none_match_wins_over_if_modified_since(get: Get) -> None:
    etag = get("page.html").headers["etag"]
    assert get("page.html", if_none_match='"other"', if_modified_since=MODIFIED_DATE).status == 200
    assert get("page.html", if_none_match=etag, if_modified_since=formatdate(0, usegmt=True)).status == 304


def test_a_file_from_the_future_or_from_before_1970(get: Get, root: Path) -> None:
    future = time.time() + 1_000_000
    os.utime(root / "page.html", (future, future))
    before = formatdate(time.time(), usegmt=True)
    date = get("page.html").headers["last-modified"]
    assert date in (before, formatdate(time.time(), usegmt=True))
    os.utime(root / "page.html", (-1000, -1000))
    assert get("page.html").headers["last-modified"] == formatdate(0, usegmt=True)


# -- ranges ----------------------------------------------------------------------------------------


def test_a_range_of_a_small_file(get: Get) -> None:
    response = get("page.html", range="bytes=15-24")
    assert (response.status, response.body) == (206, TEXT[15:25])
    assert response.headers["content-range"] == "bytes 15-24/100"
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "etag" in response.headers


def test_a_range_of_a_large_file(get: Get) -> None:
    response = get("large.bin", range="bytes=100000-")
    assert response.status == 206
    assert response.headers["content-range"] == f"bytes 100000-262143/{len(LARGE)}"
    assert response.stream is not None
    assert response.stream.length == 162_144
    assert read_all(response) == LARGE[100_000:]


def test_a_range_that_cannot_be(get: Get) -> None:
    for path, size in (("page.html", 100), ("large.bin", len(LARGE)), ("empty.txt", 0)):
        response = get(path, range=f"bytes={size}-")
        assert (response.status, response.stream) == (416, None)
        assert response.headers["content-range"] == f"bytes */{size}"
        assert response.headers["x-content-type-options"] == "nosniff"


def test_head_knows_no_ranges(get: Get) -> None:
    response = get("page.html", method="HEAD", range="bytes=0-1")
    assert (response.status, len(response.body)) == (200, 100)


def test_if_range(get: Get) -> None:
    etag = get("page.html").headers["etag"]
    for value in (etag, MODIFIED_DATE):
        assert get("page.html", range="bytes=0-1", if_range=value).status == 206
    for value in ('"other"', f"W/{etag}", "Wed, 15 Nov 2023 00:00:00 GMT", "x"):
        assert get("page.html", range="bytes=0-1", if_range=value).body == TEXT


def test_a_condition_comes_before_a_range(get: Get) -> None:
    etag = get("page.html").headers["etag"]
    assert get("page.html", range="bytes=0-1", if_none_match=etag).status == 304


@pytest.mark.measures
@pytest.mark.parametrize(
    "value",
    [
        "bytes=" + ",".join(["0-"] * 10_000),
        "bytes=" + ",".join(f"{n}-{n + 1000}" for n in range(10_000)),
        "bytes=0-1,1-2",
        "bytes=\xb3-\xb9",
        "bytes=-",
        "bytes=--1",
        "bytes=1--1",
        "bytes=" + "1" * 5000 + "-",
    ],
)
def test_s3_hostile_ranges_get_the_whole_at_once(get: Get, value: str) -> None:
    get("page.html")
    response = within_cpu(0.05, lambda: get("page.html", range=value))
    assert (response.status, response.body) == (200, TEXT)


def test_two_range_fields_get_the_whole(root: Path) -> None:
    fields = [("Range", "bytes=0-1"), ("Range", "bytes=2-3")]
    response = Static("/s/", root).respond(Request(headers=fields), "page.html")
    assert (response.status, response.body) == (200, TEXT)
