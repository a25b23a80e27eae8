"""Reports of several generators as one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from fastws.cli.main import main
from fastws.loadgen.errors import ErrorCount
from fastws.loadgen.histogram import Histogram, decoded
from fastws.loadgen.merging import ReportError, merge_reports
from tests.loadgen.results import PLAN, result, slots_of


def written(made: Any) -> Any:
    """What is read of a report that was written."""
    return orjson.loads(orjson.dumps(made.to_json()))


def test_figures_add_up() -> None:
    one = result(replace(PLAN, rate=100.0), p99=1.0, received=100)
    other = result(replace(PLAN, rate=50.0, clients=5), p99=9.0, received=50, expected=100)
    other.errors = [ErrorCount("lost", "lost", 2)]
    merged = merge_reports([("one", written(one)), ("other", written(other)), ("again", written(other))])
    assert (merged.rate, merged.received, merged.expected, merged.reach) == (200.0, 200, 300, 2 / 3)
    assert (merged.plan.clients, merged.plan.rate, merged.plan.processes) == (20, 200.0, 3)
    assert merged.errors == [ErrorCount("lost", "lost", 4)]
    assert merged.opened == 20
    assert merged.latency is not None
    assert merged.latency["p50"] == pytest.approx(9.0, rel=0.01)
    assert len(merged.loads) == 3
    assert written(merged)["format"] == 1
    assert not merged.ok


@pytest.mark.parametrize("times", [[0.001], [1.0, 1.0, 2.5], [0.5, 80.0, 3000.0, 59_000.0]])
def test_histograms_are_read_as_they_were_written(times: list[float]) -> None:
    slots = sorted(slots_of(*times))
    merged: dict[int, int] = {}
    for slot, count in slots:
        merged[slot] = merged.get(slot, 0) + count * 1000
    filled = sorted(merged.items())
    assert decoded(Histogram(filled).encode().decode()) == filled


def test_what_does_not_fit() -> None:
    one = written(result())
    other = written(result(replace(PLAN, size=100)))
    with pytest.raises(ReportError, match="other has another size than one"):
        merge_reports([("one", one), ("other", other)])
    for wrong in ([], {}, {**one, "format": 2}):
        with pytest.raises(ReportError, match="two is no report of a single run"):
            merge_reports([("one", one), ("two", wrong)])
    for part in ({"plan": {}}, {"histogram_ns": "AAAA"}, {"histogram_ns": "?"}, {"rate": "fast"}):
        with pytest.raises(ReportError, match="damaged"):
            merge_reports([("one", one), ("two", {**one, **part})])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for file in files:
        file.write_bytes(orjson.dumps(result().to_json()))
    names = list(map(str, files))
    into = tmp_path / "both.json"
    assert main(["bench", "merge", *names, "--json", str(into), "--require", "p99=50ms"]) == 0
    assert "200 messages/s" in capsys.readouterr().out
    assert orjson.loads(into.read_bytes())["received"] == 200
    assert main(["bench", "merge", *names, "--require", "p99=0.1ms"]) == 1
    assert "required" in capsys.readouterr().err
    assert main(["bench", "merge", names[0], str(tmp_path / "none.json")]) == 3
    assert "none.json: No such file" in capsys.readouterr().err
    into.write_text("{")
    assert main(["bench", "merge", names[0], str(into)]) == 2
    assert "no JSON" in capsys.readouterr().err
    assert main(["bench", "merge"]) == 2
