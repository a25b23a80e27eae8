"""An editor that many people use at once: a page, and the documents that it edits."""

from __future__ import annotations

import os
from collections.abc import Callable
from html import escape
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from fastws.protocol.http.messages import Request, Response
from fastws.web.routes import Route
from fastws.web.static_files import Static
from fastws.yjs.documents import Documents
from fastws.yjs.files import FileStore
from fastws.yjs.stores import MemoryStore, Store

__all__ = ["editor"]

#: The document of those who name none.
FIRST = "notes"
#: Anybody may come: a document of a quarter of a megabyte takes some 12 MiB of memory while it is open.
LIMITS = {"max_document": 256 * 1024, "max_open": 100, "max_clients": 200, "max_awareness": 1024}
#: Documents in a folder.
MOST_DOCUMENTS = 1_000
#: Where the page says what is missing.
MARK = b"<!-- missing -->"
PAGE_HEADERS = [("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff")]


def editor(pages: Path, store: Store | None = None) -> list[Route | Static]:
    """Return the routes of the editor.

    Args:
        pages: The folder with ``editor.html``, and ``vendor`` where that was built.
        store: Where documents are kept. Default None: in files of the folder that ``FASTWS_DOCUMENTS`` in
            the environment names, else in memory.
    """
    vendor = pages / "vendor"
    missing = _missing(vendor)
    page = _page(pages / "editor.html", missing)
    first = Route("/editor", http=_to_first)
    if missing:
        return [first, Route("/editor/{document}", http=page)]
    documents = Documents(store or _store(), limits=LIMITS)
    return [first, Route("/editor/{document}", documents, http=page), Static("/vendor", vendor)]


def _store() -> Store:
    folder = os.environ.get("FASTWS_DOCUMENTS")
    return FileStore(folder, max_documents=MOST_DOCUMENTS) if folder else MemoryStore()


def _missing(vendor: Path) -> list[str]:
    """Return the commands that make what the editor needs and is not there."""
    commands = []
    if find_spec("pycrdt") is None:
        commands.append("pip install '.[yjs]'")
    if not (vendor / "editor.js").is_file():
        commands.append("(cd static-build && npm ci && npm run build)")
    return commands


def _page(file: Path, missing: list[str]) -> Callable[[Request], Response]:
    body = file.read_bytes()
    if missing:
        commands = "".join(f"<li><code>{escape(command)}</code></li>" for command in missing)
        text = f"In a copy of the repository these make the editor; then start the server again:<ul>{commands}</ul>"
        body = body.replace(MARK, f'<div class="notice" id="missing">{text}</div>'.encode())

    def page(request: Request) -> Response:
        return Response(200, body, PAGE_HEADERS, "text/html; charset=utf-8")

    return page


def _to_first(request: Request) -> Response:
    return Response(307, headers=[("Location", f"/editor/{quote(FIRST)}")])
