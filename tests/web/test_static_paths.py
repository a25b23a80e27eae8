"""Static files: no path, link or special file leads out of the folder."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path

import pytest

import fastws.web.static_files
from fastws.protocol.http.messages import Request
from fastws.web.static_files import Static
from tests.effort import within_cpu
from tests.web.folders import LARGE, TEXT, Get, open_descriptors

pytestmark = pytest.mark.usefixtures("no_descriptor_left")


# -- no way out ------------------------------------------------------------------------------------


@pytest.mark.measures
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
