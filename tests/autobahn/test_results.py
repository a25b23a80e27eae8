"""Verdicts of one commit add up, and the page's tables are made of them alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.autobahn import results
from tests.autobahn.environment import ROOT
from tests.autobahn.suite import CASES, Report, Run

PAGE = """before
<!-- groups:begin -->
old
<!-- groups:end -->
between
<!-- runs:begin -->
<!-- runs:end -->
after
"""


def report(cases: dict[str, tuple[str, str]], run: Run | None = None) -> Report:
    behaviour = {case: verdicts[0] for case, verdicts in cases.items()}
    return Report(
        run or Run("server"), behaviour, {case: verdicts[1] for case, verdicts in cases.items()}, 2.0
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("server-c-ws", "client-wsproto-wss"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_parts_of_one_commit_add_up(folder: Path) -> None:
    results.record(report({"1.1.1": ("OK", "OK"), "6.4.1": ("OK", "OK")}), folder, "abc of 2026-01-02")
    results.record(report({"6.4.1": ("NON-STRICT", "OK")}), folder, "abc of 2026-01-02")
    kept = results.load(folder)["server-c-ws"]
    assert kept["cases"] == {"1.1.1": ["OK", "OK"], "6.4.1": ["NON-STRICT", "OK"]}
    assert kept["seconds"] == 4


def test_another_commit_begins_anew(folder: Path) -> None:
    results.record(report({"1.1.1": ("FAILED", "OK")}), folder, "abc of 2026-01-02")
    results.record(report({"1.1.2": ("OK", "OK")}), folder, "def of 2026-01-03")
    assert results.load(folder)["server-c-ws"]["cases"] == {"1.1.2": ["OK", "OK"]}


def test_a_case_counts_as_the_worse_of_its_verdicts() -> None:
    assert results.worst(["OK", "INFORMATIONAL"]) == "INFORMATIONAL"
    assert results.worst(["UNCLEAN", "NON-STRICT"]) == "UNCLEAN"


def test_the_page(folder: Path) -> None:
    results.record(report({"1.1.1": ("OK", "OK"), "13.1.1": ("OK", "UNCLEAN")}), folder, "abc of 2026-01-02")
    whole = {f"6.1.{number}": ("OK", "OK") for number in range(CASES)}
    run = Run("client", "wsproto", tls=True)
    results.record(report(whole, run), folder, "abc of 2026-01-02, changed")
    page = folder / "page.md"
    page.write_text(PAGE)
    results.rewrite(results.load(folder), page)
    text = page.read_text()
    assert "| 1 | framing | 1 OK |\n" in text
    assert "| 6 | UTF-8 | not run |\n" in text
    assert "| | **all** | **1 OK, 1 UNCLEAN** |\n<!-- groups:end -->\nbetween" in text
    assert "| server | c | ws | abc of 2026-01-02 | selected, 2 | 1 | 0 | 0 | 1 | 2 s |\n" in text
    assert (
        f"| client | wsproto | wss | abc of 2026-01-02, changed | all 517 | {CASES} | 0 | 0 | 0 | 2 s |"
        in text
    )
    assert "old" not in text
    assert text.endswith("<!-- runs:end -->\nafter\n")


def test_a_page_without_marks_is_an_error(folder: Path) -> None:
    page = folder / "page.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="marks of groups"):
        results.rewrite({}, page)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_the_tested_commit_has_a_date() -> None:
    assert re.match(r"[0-9a-f]{7,} of 20\d\d-\d\d-\d\d(, changed)?$", results.commit())
