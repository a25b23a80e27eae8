"""pyright, in its strict mode, on the files of this folder; mypy checks them with the rest (``mypy``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


def pyright(*arguments: str) -> dict[str, object]:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150)
        report: dict[str, object] = json.loads(done.stdout)
    except (json.JSONDecodeError, subprocess.TimeoutExpired) as exc:
        if os.environ.get("TESTS_REQUIRE_PYRIGHT") == "1":
            raise
        pytest.skip(f"pyright does not run here: {exc}")
    return report


@pytest.mark.timeout(180)
def test_the_public_names_are_what_they_are_said_to_be() -> None:
    report = pyright()
    assert report["generalDiagnostics"] == []
    summary = report["summary"]
    assert isinstance(summary, dict)
    assert summary["filesAnalyzed"] == len(
        [path for path in FOLDER.glob("*.py") if not path.name.startswith("test_")]
    )
