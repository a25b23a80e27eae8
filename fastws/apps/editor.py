"""An editor that many people use at once: documents of Yjs, and a page that edits them."""

from __future__ import annotations

import os
from importlib.util import find_spec

import fastws
import fastws.yjs

__all__ = ["Editor", "application"]

#: Anybody may come. A document of so many bytes takes some 6 MiB of memory at most while it is open.
LIMITS = {
    "max_document": 128 * 1024,
    "max_open": 100,
    "max_open_by_address": 8,
    "max_clients": 200,
    "max_awareness": 1024,
}
MOST_DOCUMENTS, MOST_BYTES = 1_000, 16 * 1024 * 1024
NOT_BUILT = fastws.Response(200, "export {};\n", headers={"Content-Type": "text/javascript; charset=utf-8"})


class Editor:
    """Who opens an address below ``/editor/`` edits the document of that name, with all who do the same.

    Documents are in memory, or in files of the folder that ``FASTWS_DOCUMENTS`` in the environment names.

    Args:
        pages: The folder with ``editor.html``, and with ``vendor/editor.js`` where that was built.
    """

    def __init__(self, pages: fastws.Static) -> None:
        page = pages.page("editor.html")
        self.routes: list[fastws.Route | fastws.Static] = [
            fastws.Route(
                "/editor", http=lambda _: fastws.Response(307, headers={"Location": "/editor/notes"})
            ),
        ]
        vendor = pages.directory / "vendor"
        if find_spec("pycrdt") is None or not (vendor / "editor.js").is_file():
            # The page finds an empty script there, and says how to make it.
            self.routes += [
                fastws.Route("/editor/{document}", http=page),
                fastws.Route("/vendor/editor.js", http=lambda _: NOT_BUILT),
            ]
            return
        self.documents = fastws.yjs.Documents(store(), limits=LIMITS)
        self.routes += [
            fastws.Route("/editor/{document}", self.documents, http=page),
            fastws.Static("/vendor", vendor),
        ]


def store() -> fastws.yjs.Store:
    """Return where documents are kept."""
    folder = os.environ.get("FASTWS_DOCUMENTS")
    if folder:
        return fastws.yjs.FileStore(folder, max_documents=MOST_DOCUMENTS)
    return fastws.yjs.MemoryStore(max_bytes=MOST_BYTES)


def application(folder: str = "site") -> list[fastws.Route | fastws.Static]:
    """Return the editor alone: ``editor.html`` and ``vendor`` in a folder, and its scripts from fastws."""
    return [*Editor(fastws.Static("/site", folder)).routes, fastws.Static.packaged("/assets")]


if __name__ == "__main__":
    fastws.run(application())
