"""What users write after --require and --until, and what it demands."""

from __future__ import annotations

import pytest

from fastws.loadgen.thresholds import (
    Threshold,
    check,
    metrics,
    missed_thresholds,
    parse_duration,
    parse_threshold,
)
from tests.loadgen.results import result


@pytest.mark.parametrize(
    ("text", "metric", "bound"),
    [
        ("p99=50ms", "p99", 50.0),
        ("p99.9=1.5s", "p99.9", 1500.0),
        ("p50<=250us", "p50", 0.25),
        ("max=2", "max", 2.0),
        ("reach=1", "reach", 1.0),
        ("reach=99.9%", "reach", 0.999),
        ("rate>=150k", "rate", 150_000.0),
        ("rate=2.5M/s", "rate", 2_500_000.0),
        ("rounds=10", "rounds", 10.0),
        ("cpu=5us", "cpu", 5.0),
        ("rss=2MB", "rss", 2048.0),
        ("errors=0", "errors", 0.0),
    ],
)
def test_a_threshold_is_read(text: str, metric: str, bound: float) -> None:
    threshold = parse_threshold(text)
    assert threshold.metric == metric and threshold.bound == pytest.approx(bound)


@pytest.mark.parametrize("text", ["p98=1ms", "p99", "p99=", "p99=fast", "p99=5x", "reach=-1", "cpu=1%", "=1"])
def test_other_text_is_no_threshold(text: str) -> None:
    with pytest.raises(ValueError, match=r"p98|p99|reach|cpu|=1"):
        parse_threshold(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), ("10s", 10), ("500ms", 0.5), ("2m", 120), ("1.5 s", 1.5)]
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1", "1h", "1e3", "nan"])
def test_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


def test_latency_is_a_cost_and_reach_a_gain() -> None:
    one = result(p99=10.0, received=90, expected=100)
    assert Threshold("p99", 10.1).is_met(one) and not Threshold("p99", 9.9).is_met(one)
    assert Threshold("reach", 0.9).is_met(one) and not Threshold("reach", 0.91).is_met(one)


def test_missed_thresholds_say_what_was_measured() -> None:
    one = result(p99=10.0, received=90, expected=100)
    thresholds = [parse_threshold(text) for text in ("p99=5ms", "reach=1", "p99=20ms", "cpu=5us")]
    assert missed_thresholds(thresholds, one) == [
        "p99 at most 5 ms: it was 10 ms",
        "reach at least 1: it was 0.9",
        "cpu at most 5 µs: it was not measured",
    ]


def test_what_was_not_measured_is_no_metric() -> None:
    found = metrics(result(p99=10.0))
    assert {"p50", "p99", "max", "reach", "rate", "errors"} <= set(found)
    assert not {"cpu", "rss", "rounds"} & set(found)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("p99<50ms", "p99 at most 50 ms"),
        ("p99 <= 0.05s", "p99 at most 50 ms"),
        ("p99=50", "p99 at most 50 ms"),
        ("rate>1k", "rate at least 1000"),
        ("reach>=99%", "reach at least 0.99"),
    ],
)
def test_a_bound_is_written_as_in_other_tools(text: str, shown: str) -> None:
    assert str(parse_threshold(text)) == shown


@pytest.mark.parametrize(("text", "right"), [("p99>50ms", "p99<50ms"), ("rate<5", "rate>5")])
def test_a_bound_of_the_wrong_side_is_told(text: str, right: str) -> None:
    with pytest.raises(ValueError, match=f"write {right}$"):
        parse_threshold(text)


def test_each_threshold_is_reported() -> None:
    thresholds = [parse_threshold(text) for text in ("p99<5ms", "rate>1M", "rounds>5")]
    assert [each.to_json() for each in check(thresholds, result(p99=1.0))] == [
        {"metric": "p99", "at_most": 5.0, "unit": "ms", "value": pytest.approx(1.0, rel=0.01), "met": True},
        {"metric": "rate", "at_least": 1e6, "unit": "", "value": 100.0, "met": False},
        {"metric": "rounds", "at_least": 5.0, "unit": "", "value": None, "met": False},
    ]
