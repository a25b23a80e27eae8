"""Static files: what is served, how, and everything that is not."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

import fastws.web.static_files
from fastws.protocol.http.messages import Request, Response
from fastws.web.static_files import FileStream, Static, packaged_static
from tests.effort import within_cpu

TEXT = b"0123456789" * 10
LARGE = bytes(range(256)) * 1024
MODIFIED = 1_700_000_000
MODIFIED_DATE = "Tue, 14 Nov 2023 22:13:20 GMT"

Get = Callable[..., Response]


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def no_descriptor_left() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert len(open_descriptors()) == len(before)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "static"
    (root / "docs").mkdir(parents=True)
    (root / ".well-known").mkdir()
    (root / "page.html").write_bytes(TEXT)
    (root / "empty.txt").write_bytes(b"")
    (root / "large.bin").write_bytes(LARGE)
    (root / "docs" / "index.html").write_bytes(b"the index")
    (root / ".well-known" / "security.txt").write_bytes(b"mail us")
    (root / ".env").write_bytes(b"SECRET")
    for path in root.rglob("*"):
        os.utime(path, (MODIFIED, MODIFIED))
    # Outside, and for S1 with a name that begins like the folder's.
    (tmp_path / "static1.txt").write_bytes(b"SECRET")
    (tmp_path / "secret.txt").write_bytes(b"SECRET")
    return root


@pytest.fixture
def get(root: Path) -> Get:
    static = Static("/static/", root)

    def get(path: str, /, *, method: str = "GET", **headers: str) -> Response:
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return static.respond(Request(method, "/static/", fields), path)

    return get


def read_all(response: Response, n: int = 10_000) -> bytes:
    stream = response.stream
    assert stream is not None
    pieces = []
    while piece := stream.read(n):
        assert len(piece) <= n
        pieces.append(piece)
    stream.close()
    return b"".join(pieces)


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
@pytest.mark.measures
def test_s3_hostile_ranges_get_the_whole_at_once(get: Get, value: str) -> None:
    get("page.html")
    response = within_cpu(0.05, lambda: get("page.html", range=value))
    assert (response.status, response.body) == (200, TEXT)


def test_two_range_fields_get_the_whole(root: Path) -> None:
    fields = [("Range", "bytes=0-1"), ("Range", "bytes=2-3")]
    response = Static("/s/", root).respond(Request(headers=fields), "page.html")
    assert (response.status, response.body) == (200, TEXT)


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


# -- no way out ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "../static1.txt",
        "../static/page.html",
        "docs/../page.html",
        "docs/../../secret.txt",
        "./page.html",
        ".",
        "..",
        "docs/..",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "..\\secret.txt",
        "docs\\index.html",
        "/etc/passwd",
        "//etc/passwd",
        "docs//index.html",
        "page.html/",
        "page.html/x",
        "page.html.",
        "page.html ",
        "page.html\0",
        "page.html\0.png",
        "\0",
        "\udcff",
        "nothing",
        "nothing/index.html",
        "x" * 300,
        "x" * 5000,
        "/".join(["docs"] * 2000),
        "../" * 2000 + "etc/passwd",
    ],
)
@pytest.mark.measures
def test_s1_no_path_leads_out(get: Get, path: str) -> None:
    response = within_cpu(0.05, lambda: get(path))
    assert response.status == 404
    # H11: constant words, so that nothing of the request is reflected.
    assert response.body == b"404 Not Found\n"
    assert response.headers["x-content-type-options"] == "nosniff"


def test_s1_what_a_target_decodes_to_leads_nowhere(root: Path) -> None:
    static = Static("/static/", root)
    for target in ("%2e%2e%2fsecret.txt", "%252e%252e/secret.txt", "..%5csecret.txt", "%2e%2e/static1.txt"):
        request = Request("GET", f"/static/{target}")
        assert static.respond(request, request.path.removeprefix("/static/")).status == 404


def test_s2_links_are_not_followed(get: Get, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "index.html").write_bytes(b"SECRET")
    (root / "file.txt").symlink_to(tmp_path / "secret.txt")
    (root / "folder").symlink_to(outside)
    (root / "inside.html").symlink_to("page.html")
    (root / "broken").symlink_to("nowhere")
    (root / "circle").symlink_to("circle")
    for path in (
        "file.txt",
        "folder",
        "folder/",
        "folder/index.html",
        "inside.html",
        "broken",
        "circle",
        "circle/x",
    ):
        assert get(path).status == 404, path


def test_s2_a_sibling_that_is_a_link_is_passed_over(get: Get, root: Path, tmp_path: Path) -> None:
    (root / "page.html.br").symlink_to(tmp_path / "secret.txt")
    (root / "page.html.gz").mkdir()
    response = get("page.html", accept_encoding="br, gzip")
    assert response.body == TEXT
    assert "content-encoding" not in response.headers


def test_s2_a_folder_swapped_for_a_link_during_the_request(
    get: Get, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "index.html").write_bytes(b"SECRET")
    real_open = os.open

    def swap_then_open(path: object, flags: int, **options: int) -> int:
        descriptor = real_open(path, flags, **options)  # type: ignore[arg-type]
        if path == b"docs":
            (root / "docs").rename(root / "gone")
            (root / "docs").symlink_to(outside)
        return descriptor

    monkeypatch.setattr(fastws.web.static_files.os, "open", swap_then_open)
    assert get("docs/").body == b"the index"
    assert get("docs/").status == 404


def test_s2_links_swapped_in_a_hurry_never_show_what_is_outside(get: Get, root: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (root / "swap").symlink_to(tmp_path / "secret.txt")
            os.replace(root / "swap", root / "page.html")
            (root / "swap").write_bytes(TEXT)
            os.replace(root / "swap", root / "page.html")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        seen = {get("page.html").body for _ in range(2000)}
    finally:
        stop.set()
        thread.join()
    assert seen <= {TEXT, b"", b"404 Not Found\n"}


def test_s2_what_is_no_regular_file_is_not_there_and_never_blocks(
    get: Get, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(root / "fifo")
    # A short way to it: the path of a socket has at most 107 bytes.
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        # To open it would wait for a writer, without end.
        assert get("fifo").status == 404
        assert get("socket").status == 404


def test_s2_devices_are_not_there() -> None:
    static = Static("/dev/", "/dev")
    assert static.respond(Request(), "null").status == 404
    assert static.respond(Request(), "zero").status == 404


def test_what_may_not_be_read_is_not_there(get: Get, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, flags: int, **options: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(fastws.web.static_files.os, "open", refuse)
    assert get("page.html").status == 404


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_without_a_free_descriptor_it_is_503(get: Get, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    real_open = os.open

    def exhausted(path: object, flags: int, *, dir_fd: int | None = None) -> int:
        if dir_fd is None:
            return real_open(path, flags)  # type: ignore[arg-type]
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fastws.web.static_files.os, "open", exhausted)
    assert get("page.html").status == 503


def test_s4_descriptors_are_closed_when_reading_fails(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bool:
        raise RuntimeError

    monkeypatch.setattr(fastws.web.static_files, "_not_modified", fail)
    before = open_descriptors()
    with pytest.raises(RuntimeError) as caught:
        get("large.bin")
    assert caught.value is not None
    assert len(open_descriptors()) == len(before)


def test_s4_aborted_downloads_leave_no_descriptor(get: Get) -> None:
    before = open_descriptors()
    for _ in range(1000):
        stream = get("large.bin").stream
        assert stream is not None
        stream.read(len(LARGE) // 100)
        stream.close()
    assert len(open_descriptors()) == len(before)


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


def test_every_file_the_pages_name_is_served() -> None:
    static = Static("/", packaged_static())
    for page in ("index.html", "chat.html"):
        text = static.respond(Request(), page).text
        named = [part.split('"')[0] for part in text.split('"assets/')[1:]]
        assert len(named) >= 4
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
