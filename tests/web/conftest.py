"""A folder to serve, for the tests of static files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastws.protocol.http.messages import Request, Response
from fastws.web.static_files import Static
from tests.web.folders import LARGE, MODIFIED, TEXT, Get, open_descriptors


@pytest.fixture
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
