"""``feed.js`` in node: a test moves the WebSocket, the clock and the events of a page."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fastws.feed.table import MESSAGES

ASSETS = Path(__file__).parents[2] / "static" / "assets"
MODULES = sorted(Path(__file__).with_name("feed_js").glob("*.test.mjs"))


def test_it_is_small() -> None:
    """As it is served: no build makes it smaller."""
    size = len(gzip.compress((ASSETS / "feed.js").read_bytes()))
    print(f"feed.js: {size} bytes with gzip")
    assert size <= 3 * 1024


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name.partition(".")[0])
def test_in_node(module: Path, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        if os.environ.get("TESTS_REQUIRE_NODE") == "1":
            pytest.fail("TESTS_REQUIRE_NODE is set, but node is not installed", pytrace=False)
        pytest.skip("node is not installed")
    table = tmp_path / "table.json"
    table.write_text(json.dumps([row.text for row in MESSAGES]), encoding="utf-8")
    done = subprocess.run(
        ["node", "--test", str(module)],
        env={**os.environ, "FEED_TABLE": str(table)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout
