"""Static files: what is served, and how."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import fastws.web.static_files
from fastws.protocol.http.messages import Request
from fastws.web.static_files import FileStream, Static, packaged_static
from tests.web.folders import LARGE, MODIFIED, MODIFIED_DATE, TEXT, Get, read_all

pytestmark = pytest.mark.usefixtures("no_descriptor_left")


# -- what is served --------------------------------------------------------------------------------


def test_a_small_file_is_the_body(get: Get) -> None:
    response = get("page.html")
    assert (response.status, response.body, response.stream) == (200, TEXT, None)
    headers = dict(response.headers.items())
    assert headers.pop("etag").startswith('"')
    assert headers == {
        "accept-ranges": "bytes",
        "cache-control": "no-cache",
        "content-type": "text/html; charset=utf-8",
        "last-modified": MODIFIED_DATE,
        "vary": "Accept-Encoding",
        "x-content-type-options": "nosniff",
    }


def test_an_empty_file_is_an_empty_body(get: Get) -> None:
    response = get("empty.txt")
    assert (response.status, response.body) == (200, b"")


def test_a_file_of_64_kib_is_read_at_once_and_one_byte_more_is_a_stream(get: Get, root: Path) -> None:
    (root / "edge.txt").write_bytes(bytes(65_536))
    assert len(get("edge.txt").body) == 65_536
    (root / "edge.txt").write_bytes(bytes(65_537))
    response = get("edge.txt")
    assert response.body == b""
    assert response.stream is not None
    assert response.stream.length == 65_537
    response.stream.close()


def test_a_large_file_is_a_stream(get: Get) -> None:
    response = get("large.bin")
    assert response.status == 200
    assert response.stream is not None
    assert response.stream.length == len(LARGE)
    assert read_all(response) == LARGE
    assert response.stream.read(1) == b""


def test_a_stream_may_be_closed_early_and_twice(get: Get) -> None:
    stream = get("large.bin").stream
    assert stream is not None
    assert stream.read(10) == LARGE[:10]
    stream.close()
    stream.close()
    assert stream.read(10) == b""


def test_a_stream_of_a_file_that_is_cut_ends_early(get: Get, root: Path) -> None:
    response = get("large.bin")
    (root / "large.bin").write_bytes(b"short")
    assert read_all(response) == b"short"


def test_a_small_file_that_is_cut_meanwhile_keeps_its_length_right(
    get: Get, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fstat = os.fstat

    def cut(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        (root / "page.html").write_bytes(b"short")
        return status

    monkeypatch.setattr(fastws.web.static_files.os, "fstat", cut)
    response = get("page.html", range="bytes=-2")
    assert response.body == b"rt"
    assert response.headers["content-range"] == "bytes 3-4/5"


def test_head_has_the_length_and_holds_no_file(get: Get) -> None:
    small = get("page.html", method="HEAD")
    assert (small.status, len(small.body)) == (200, len(TEXT))
    large = get("large.bin", method="HEAD")
    assert large.stream is not None
    assert large.stream.length == len(LARGE)
    assert large.stream.read(10) == b""


def test_a_stream_reads_its_part_only(root: Path) -> None:
    stream = FileStream(open(root / "page.html", "rb", buffering=0), range(95, 98))  # noqa: SIM115
    assert stream.length == 3
    assert [stream.read(2), stream.read(2), stream.read(2)] == [b"56", b"7", b""]
    stream.close()


def test_a_page_is_one_file_whatever_the_path(root: Path) -> None:
    page = Static("/s", root).page("page.html")
    found = page(Request(target="/any/path"))
    assert found.body == (root / "page.html").read_bytes()
    assert page(Request(headers=[("If-None-Match", found.headers["etag"])])).status == 304
    (root / "page.html").unlink()
    assert page(Request()).status == 404
    with pytest.raises(FileNotFoundError, match=r"page\.html"):
        Static("/s", root).page("page.html")


def test_a_folder_with_a_slash_is_its_index(get: Get) -> None:
    assert get("docs/").body == b"the index"
    assert get("").status == 404


def test_a_folder_without_a_slash_is_redirected_to_itself(get: Get, root: Path) -> None:
    response = get("docs")
    assert response.status == 307
    assert response.headers["location"] == "docs/"
    (root / "http:evil.example").mkdir()
    assert get("http:evil.example").headers["location"] == "http%3Aevil.example/"
    (root / "line\r\nbreak").mkdir()
    assert get("line\r\nbreak").headers["location"] == "line%0D%0Abreak/"


@pytest.mark.parametrize("query", ["", "?", "?x=1", "?x=1&y=//evil.example/%0d%0a?", "?//"])
def test_a_redirect_to_a_folder_keeps_the_query(root: Path, query: str) -> None:
    response = Static("/s", root).respond(Request(target="/s/docs" + query), "docs")
    assert (response.status, response.headers["location"]) == (307, "docs/" + query)


def test_well_known_is_served_and_other_hidden_names_are_not(get: Get, root: Path) -> None:
    (root / ".git").mkdir()
    (root / ".git" / "config").write_bytes(b"SECRET")
    assert get(".well-known/security.txt").body == b"mail us"
    assert get(".env").status == 404
    assert get(".git/config").status == 404


def test_names_in_any_script(get: Get, root: Path) -> None:
    (root / "今日は 100%.txt").write_bytes(b"hello")
    assert get("今日は 100%.txt").body == b"hello"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_other_methods(get: Get, method: str) -> None:
    response = get("page.html", method=method)
    assert response.status == 405
    assert response.headers["allow"] == "GET, HEAD"


# -- compressed siblings ---------------------------------------------------------------------------


@pytest.fixture
def siblings(root: Path) -> None:
    (root / "page.html.br").write_bytes(b"as brotli")
    (root / "page.html.gz").write_bytes(b"as gzip")
    (root / "large.bin.gz").write_bytes(LARGE)
    (root / "alone.css.gz").write_bytes(b"nothing beside it")


@pytest.mark.usefixtures("siblings")
@pytest.mark.parametrize(
    ("accepts", "coding", "body"),
    [
        ("gzip, br", "br", b"as brotli"),
        ("gzip", "gzip", b"as gzip"),
        ("gzip;q=1, br;q=0.5", "gzip", b"as gzip"),
        ("identity", None, TEXT),
        ("br;q=0", None, TEXT),
    ],
)
def test_the_sibling_a_client_likes_best(get: Get, accepts: str, coding: str | None, body: bytes) -> None:
    response = get("page.html", accept_encoding=accepts)
    assert response.body == body
    assert response.headers.get("content-encoding") == coding
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["vary"] == "Accept-Encoding"


@pytest.mark.usefixtures("siblings")
def test_siblings_have_entity_tags_and_ranges_of_their_own(get: Get, root: Path) -> None:
    for path in root.glob("page.html*"):
        path.write_bytes(TEXT)
        os.utime(path, (MODIFIED, MODIFIED))
    tags = {get("page.html", accept_encoding=coding).headers["etag"] for coding in ("br", "gzip", "")}
    assert len(tags) == 3
    plain = get("page.html").headers["etag"]
    assert get("page.html", accept_encoding="br", if_none_match=plain).status == 200
    response = get("page.html", accept_encoding="gzip", range="bytes=2-4")
    assert (response.status, response.body) == (206, TEXT[2:5])
    assert response.headers["content-encoding"] == "gzip"


@pytest.mark.usefixtures("siblings")
def test_a_large_sibling_is_a_stream(get: Get) -> None:
    response = get("large.bin", accept_encoding="gzip, br")
    assert response.headers["content-encoding"] == "gzip"
    assert read_all(response) == LARGE


@pytest.mark.usefixtures("siblings")
def test_a_sibling_that_is_asked_for_is_a_file_like_others(get: Get) -> None:
    response = get("page.html.gz")
    assert response.body == b"as gzip"
    assert response.headers["content-type"] == "application/gzip"
    assert "content-encoding" not in response.headers


@pytest.mark.usefixtures("siblings")
def test_a_sibling_without_its_file_is_not_there(get: Get) -> None:
    assert get("alone.css", accept_encoding="gzip").status == 404


# -- set-up ----------------------------------------------------------------------------------------


def test_the_prefix_ends_in_a_slash(root: Path) -> None:
    assert Static("/static", root).prefix == "/static/"
    assert Static("/static//", root).prefix == "/static/"
    assert Static("/", str(root)).prefix == "/"
    with pytest.raises(ValueError, match="begins with a slash"):
        Static("static/", root)


def test_the_directory_must_be_one(root: Path) -> None:
    for path in (root / "page.html", root / "nothing"):
        with pytest.raises(NotADirectoryError, match=str(path)):
            Static("/static/", path)


def test_the_directory_may_be_a_link_and_may_be_exchanged(root: Path, tmp_path: Path) -> None:
    current = tmp_path / "current"
    current.symlink_to(root)
    static = Static("/static/", current)
    assert static.respond(Request(), "page.html").body == TEXT
    (tmp_path / "next").mkdir()
    (tmp_path / "next" / "page.html").write_bytes(b"new")
    current.unlink()
    current.symlink_to(tmp_path / "next")
    assert static.respond(Request(), "page.html").body == b"new"
    current.unlink()
    assert static.respond(Request(), "page.html").status == 404


def test_cache_control(root: Path) -> None:
    static = Static("/s/", root, cache_control="public, max-age=31536000, immutable")
    assert static.respond(Request(), "page.html").headers["cache-control"].startswith("public")
    static = Static("/s/", root, cache_control=None)
    assert "cache-control" not in static.respond(Request(), "page.html").headers
    with pytest.raises(ValueError, match="Cache-Control"):
        Static("/s/", root, cache_control="a\r\nb")


def test_where_a_system_cannot_open_relative_to_a_directory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastws.web.static_files.os, "supports_dir_fd", set())
    with pytest.raises(NotImplementedError):
        Static("/static/", root)


def test_the_pages_are_found_in_the_source_tree_and_in_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = packaged_static()
    assert {"index.html", "chat.html"} <= {path.name for path in folder.iterdir()}
    package = tmp_path / "site-packages" / "fastws"
    (package / "static").mkdir(parents=True)
    monkeypatch.setattr(fastws.web.static_files, "__file__", str(package / "web" / "static_files.py"))
    # Somebody else's top-level folder called static is not ours.
    (tmp_path / "site-packages" / "static").mkdir()
    with pytest.raises(FileNotFoundError):
        packaged_static()
    (package / "static" / "chat.html").touch()
    assert packaged_static() == package / "static"


def test_our_own_assets_are_served_in_anyones_program() -> None:
    static = Static.packaged()
    assert static.prefix == "/fastws/"
    script = static.respond(Request(), "feed.js")
    assert (script.status, script.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert b"export class Feed" in script.body
    assert static.respond(Request(), "feed.d.ts").status == 200
    assert static.respond(Request(), "index.html").status == 404
    immutable = Static.packaged("/v1", cache_control="max-age=60").respond(Request(), "feed.js")
    assert immutable.headers["cache-control"] == "max-age=60"


def test_every_file_the_pages_name_is_served() -> None:
    static = Static("/", packaged_static())
    pages = sorted(path.name for path in packaged_static().glob("*.html"))
    assert len(pages) >= 6
    for page in pages:
        text = static.respond(Request(), page).text
        # A page whose path has parts names them from the top.
        named = [part.split('"')[0] for part in re.split('"/?assets/', text)[1:]]
        assert len(named) >= 4, page
        for name in named:
            assert static.respond(Request(), f"assets/{name}").status == 200, name


def test_the_pages_keep_to_a_strict_content_security_policy() -> None:
    for page in ("index.html", "chat.html"):
        text = (packaged_static() / page).read_text()
        assert "default-src 'none'" in text
        assert "<style" not in text
        assert " style=" not in text
        assert " on" + "click=" not in text
        assert "://" not in text.replace("http-equiv", "")
