"""What the runs of one commit found, kept beside their reports, and the tables of docs/autobahn.md."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.autobahn.environment import ROOT
from tests.autobahn.suite import ACCEPTABLE, CASES, Report, is_acceptable

__all__ = ["commit", "groups", "load", "record", "rewrite", "runs"]

PAGE = ROOT / "docs" / "autobahn.md"
RESULT = "result.json"


def commit() -> str:
    """The commit that is tested, with its date; ``, changed`` where the tree is not that of the commit."""
    if not (ROOT / ".git").exists():
        return "unknown"
    told = [
        subprocess.run(["git", *args], capture_output=True, text=True, cwd=ROOT, check=True).stdout.strip()
        for args in (["log", "-1", "--format=%h of %cs"], ["status", "--porcelain", "--untracked-files=no"])
    ]
    return told[0] + (", changed" if told[1] else "")


def record(report: Report, folder: Path, tested: str) -> None:
    """Add a run to what its role, engine and transport have in ``folder``; another commit begins anew.

    So a whole suite may be run in parts, one group at a time.
    """
    path = folder / report.run.name / RESULT
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if kept.get("commit") != tested:
        kept = {"commit": tested, "seconds": 0.0, "cases": {}}
    kept["seconds"] += report.seconds
    for case, verdict in report.behaviour.items():
        kept["cases"][case] = [verdict, report.closing[case]]
    path.write_text(json.dumps(kept, indent=1) + "\n")


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """What :func:`record` kept, by the name of the run."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob(f"*/{RESULT}"))}


def runs(results: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The table of all runs, line by line."""
    yield "| role | engine | over | commit | cases | " + " | ".join(ACCEPTABLE) + " | failed | time |"
    yield "|---" * (9 + 1) + "|"
    for name, kept in results.items():
        cases = kept["cases"].values()
        counts = Counter(worst(verdicts) for verdicts in cases)
        whole = f"all {CASES}" if len(cases) == CASES else f"selected, {len(cases)}"
        told = [*name.split("-"), kept["commit"], whole, *(counts[verdict] for verdict in ACCEPTABLE)]
        told += [sum(not is_acceptable(verdicts) for verdicts in cases), f"{kept['seconds']:.0f} s"]
        yield "| " + " | ".join(map(str, told)) + " |"


def worst(verdicts: Iterable[str]) -> str:
    """A case counts as the less good of how it behaved and how it closed."""
    return max(verdicts, key=lambda verdict: ACCEPTABLE.index(verdict) if verdict in ACCEPTABLE else 9)


def groups(results: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The table of the groups, with every role's C engine over TCP in a column."""
    columns = {name: kept["cases"] for name, kept in results.items() if name.endswith("-c-ws")}
    yield "| group | what | " + " | ".join(columns) + " |"
    yield "|---" * (2 + len(columns)) + "|"
    for group, what in GROUPS.items():
        cells = [
            _cell([v for case, v in cases.items() if _group(case) == group]) for cases in columns.values()
        ]
        yield f"| {group} | {what} | " + " | ".join(cells) + " |"
    yield "| | **all** | " + " | ".join(f"**{_cell(cases.values())}**" for cases in columns.values()) + " |"


GROUPS = {
    1: "framing",
    2: "ping and pong",
    3: "reserved bits",
    4: "opcodes",
    5: "fragments",
    6: "UTF-8",
    7: "close",
    9: "limits, messages of up to 16 MiB",
    10: "other",
    12: "permessage-deflate, kinds of payload",
    13: "permessage-deflate, window bits and takeover",
}


def _group(case: str) -> int:
    return int(case.partition(".")[0])


def _cell(cases: Iterable[list[str]]) -> str:
    counts = Counter(worst(verdicts) for verdicts in cases)
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()) or "not run"


def rewrite(results: dict[str, dict[str, Any]], page: Path = PAGE) -> None:
    """Put both tables between their marks on the page."""
    text = page.read_text()
    for mark, lines in (("groups", groups(results)), ("runs", runs(results))):
        before, begin, rest = text.partition(f"<!-- {mark}:begin -->\n")
        _, end, after = rest.partition(f"<!-- {mark}:end -->")
        if not end:
            raise ValueError(f"{page} has no marks of {mark}")
        text = before + begin + "\n".join(lines) + "\n" + end + after
    page.write_text(text)
