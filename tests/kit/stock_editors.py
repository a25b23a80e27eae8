"""Clients of Yjs that were not written here, in a process of node; and whether the editor's page is built."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

__all__ = ["BUILD", "StockEditors", "eventually", "require_editor"]

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "static-build"
SCRIPT = ROOT / "tests" / "live" / "yjs_clients.mjs"
#: Seconds for what must come: less than a test has.
PATIENCE = 30


def require_editor() -> None:
    """Skip where the editor is not built; with TESTS_REQUIRE_EDITOR=1, as CI has it, fail."""
    reason = None
    if shutil.which("node") is None:
        reason = "node is not installed"
    elif not ((BUILD / "node_modules" / "yjs").is_dir() and (ROOT / "static/vendor/editor.js").is_file()):
        reason = "the editor is not built: npm ci and npm run build in static-build"
    if reason is not None and os.environ.get("TESTS_REQUIRE_EDITOR") == "1":
        pytest.fail(f"TESTS_REQUIRE_EDITOR is set, but {reason}", pytrace=False)
    if reason is not None:
        pytest.skip(reason)


def eventually(condition: Callable[[], object], what: Callable[[], object] = lambda: "") -> None:
    """Wait until a condition is true; fail with what there is instead."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


class StockEditors:
    """Clients of ``yjs`` and ``y-websocket``, each with a name."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", str(SCRIPT), str(BUILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, verb: str, client: str, *rest: object) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([verb, client, *rest]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def text(self, client: str) -> str:
        """What a client's document says now."""
        text: str = self("look", client)["text"]
        return text

    def open(self, client: str, url: str, document: str) -> None:
        """Connect a client, and wait until it has the document."""
        self("open", client, url, document)
        self.synced(client)

    def synced(self, client: str) -> None:
        eventually(lambda: self("look", client)["synced"])

    def agree(self, *clients: str) -> str:
        """Wait until all have the same text; return it."""
        eventually(
            lambda: len({self.text(client) for client in clients}) == 1,
            lambda: {client: self.text(client) for client in clients},
        )
        return self.text(clients[0])

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> StockEditors:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
