"""What a run saves, and what of it is read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.model import Sample, load, save


def test_what_is_saved_is_what_is_loaded(make_run, tmp_path: Path) -> None:
    run = make_run()
    run.samples.append(
        Sample("echo-16", "picows", 9, {"rate": 1.0}, "lost 3 clients", ["generator saturated"])
    )
    save(run, tmp_path / "new" / "run.json")
    assert load(tmp_path / "new" / "run.json") == run
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "servers": [{"x": 1}], "samples": []}']
)
def test_another_file_is_refused_in_a_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a result of python -m bench"):
        load(path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "future.json"
    path.write_text('{"format": 2}')
    with pytest.raises(ValueError, match="has format 2, this is a reader of format 1"):
        load(path)


def test_figures_of_failed_samples_do_not_count(make_run) -> None:
    run = make_run(rounds=1)
    run.samples.append(Sample("echo-16", "picows", 1, {"rate": 9e9}, "clients were lost"))
    assert run.values("echo-16", "picows", "rate") == {0: 100_000}
    assert run.failures("echo-16", "picows") == ["clients were lost"]
