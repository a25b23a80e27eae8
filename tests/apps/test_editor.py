"""The editor's routes: built or not, in memory or in files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import fastws
import fastws.yjs
from fastws.apps import editor
from fastws.apps.editor import Editor
from fastws.testing import pair
from tests.apps.clients import PAGES
from tests.kit import until
from tests.yjs.editors import Editor as Person


@pytest.fixture
def pages(tmp_path: Path) -> fastws.Static:
    """The page, as if its script were built."""
    folder = tmp_path / "static"
    (folder / "vendor").mkdir(parents=True)
    (folder / "vendor" / "editor.js").write_text("// other people's work")
    shutil.copy(PAGES.directory / "editor.html", folder)
    return fastws.Static("/", folder)


async def test_people_share_a_document(pages: fastws.Static) -> None:
    link = pair(Editor(pages).routes, "/editor/plan")
    async with link as ws:
        ann, bob = Person(ws, 1), Person(await link.connect("/editor/plan"), 2)
        ann.text += "hello"
        await until(lambda: str(bob) == "hello")


def test_pages(pages: fastws.Static) -> None:
    first, page, vendor = Editor(pages).routes
    assert isinstance(first, fastws.Route) and isinstance(page, fastws.Route)
    assert isinstance(vendor, fastws.Static)
    answer = first.http(fastws.Request())  # type: ignore[misc]
    assert (answer.status, answer.headers["location"]) == (307, "/editor/notes")  # type: ignore[union-attr]
    assert b"Text of the document" not in page.http(fastws.Request()).body  # type: ignore[misc, union-attr, operator]
    assert vendor.respond(fastws.Request(), "editor.js").status == 200


@pytest.mark.parametrize("missing", ["pycrdt", "script"])
def test_it_is_a_page_alone_where_something_is_missing(
    pages: fastws.Static, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing == "script":
        (pages.directory / "vendor" / "editor.js").unlink()
    else:
        monkeypatch.setattr(editor, "find_spec", lambda name: None)
    routes = Editor(pages).routes
    assert [getattr(each, "handler", None) for each in routes] == [None, None, None]
    script = routes[-1]
    assert isinstance(script, fastws.Route) and script.path == "/vendor/editor.js"
    answer = script.http(fastws.Request())  # type: ignore[misc]
    assert (answer.status, answer.body) == (200, b"export {};\n")  # type: ignore[union-attr]


def test_where_documents_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FASTWS_DOCUMENTS", raising=False)
    assert isinstance(editor.store(), fastws.yjs.MemoryStore)
    monkeypatch.setenv("FASTWS_DOCUMENTS", str(tmp_path / "documents"))
    kept = editor.store()
    assert isinstance(kept, fastws.yjs.FileStore)
    assert kept.directory == tmp_path / "documents"


def test_a_copy_is_short_and_knows_public_names_alone(
    pages: fastws.Static, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path(editor.__file__).read_text(encoding="utf-8")
    assert text.count("\n") < 150
    assert [line for line in text.splitlines() if "import fastws" in line] == [
        "import fastws",
        "import fastws.yjs",
    ]
    monkeypatch.chdir(pages.directory.parent)
    assert len(editor.application("static")) == 4
