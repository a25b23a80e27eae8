"""Thresholds such as ``p99<50ms``: ``--require`` checks them after a run, ``--until`` after each step."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from operator import ge, le
from typing import Any

from fastws.loadgen.result import Result

__all__ = ["Check", "Threshold", "check", "missed_thresholds", "metrics", "parse_duration", "parse_threshold"]

#: The name of a metric, and how its bound is written: ``p99<50ms``, ``p99<=50ms`` or ``p99=50ms``.
_THRESHOLD = re.compile(r"\s*([a-z0-9.]+)\s*(<=?|>=?|=)(.*)", re.DOTALL)

_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Zµ/%]*)")
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "m": 60.0, "min": 60.0}

# For each metric the units that a user may write, as multiples of the unit it is kept in.
_LATENCIES = ("p50", "p90", "p99", "p99.9", "max", "mean")
_MILLISECONDS = {"": 1.0, "ms": 1.0, "s": 1e3, "us": 1e-3, "µs": 1e-3}
_MICROSECONDS = {"": 1.0, "us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6}
_PLAIN = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "/s": 1.0, "k/s": 1e3, "M/s": 1e6, "%": 0.01}
_KILOBYTES = {"": 1.0, "kb": 1.0, "kib": 1.0, "mb": 1024.0, "mib": 1024.0}
#: The threshold of these metrics is an upper bound, that of the others a lower bound.
_UPPER_BOUND = (*_LATENCIES, "cpu", "rss", "errors")
_LOWER_BOUND = ("reach", "rate", "rounds")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A bound for one metric of a result: the highest good value or the lowest, as fits the metric."""

    metric: str
    bound: float

    @property
    def at_most(self) -> bool:
        return self.metric in _UPPER_BOUND

    def is_met(self, result: Result) -> bool:
        """False also where the run has not measured this metric."""
        value = metrics(result).get(self.metric)
        return value is not None and (le if self.at_most else ge)(value, self.bound)

    def __str__(self) -> str:
        return f"{self.metric} {'at most' if self.at_most else 'at least'} {self.bound:g}{unit(self.metric)}"


def metrics(result: Result) -> dict[str, float]:
    """All metrics that the run has measured, in the units of `unit`."""
    found: dict[str, float | None] = {
        **(result.latency or {}),
        "reach": result.reach,
        "rate": result.rate,
        "rounds": result.rounds_rate,
        "errors": sum(error.count for error in result.errors),
        "cpu": result.server.cpu_us if result.server else None,
        "rss": result.server.rss_kb if result.server else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def unit(metric: str) -> str:
    return " ms" if metric in _LATENCIES else {"cpu": " µs", "rss": " KB"}.get(metric, "")


def parse_threshold(text: str) -> Threshold:
    """Parse ``METRIC=VALUE``, ``METRIC<VALUE`` or ``METRIC>VALUE``: the bound itself is good.

    Raises ValueError; its text is the message for the user.
    """
    found = _THRESHOLD.fullmatch(text)
    if found is None or found[1] not in (*_UPPER_BOUND, *_LOWER_BOUND):
        raise ValueError(
            f"{text!r}: write METRIC=VALUE with one of {', '.join((*_UPPER_BOUND, *_LOWER_BOUND))}"
        )
    metric, sign, value = found.groups()
    if sign.startswith(">" if metric in _UPPER_BOUND else "<"):
        words, other = ("at most", "<") if metric in _UPPER_BOUND else ("at least", ">")
        raise ValueError(
            f"{text!r}: a threshold says how much {metric} is {words}: write {metric}{other}{value}"
        )
    match metric:
        case "cpu":
            units = _MICROSECONDS
        case "rss":
            units = _KILOBYTES
        case _:
            units = _MILLISECONDS if metric in _LATENCIES else _PLAIN
    return Threshold(metric, parse_number(value, units, text))


def parse_duration(text: str) -> float:
    """Parse ``10``, ``10s``, ``500ms`` or ``2m`` into seconds. Raises ValueError."""
    return parse_number(text, _SECONDS, text)


def parse_number(value: str, units: dict[str, float], text: str) -> float:
    """A number with one of ``units``. ``text`` is what the user wrote, for the ValueError."""
    found = _NUMBER.fullmatch(value.strip())
    scale = units.get(found[2], units.get(found[2].lower())) if found else None
    if found is None or scale is None:
        raise ValueError(f"{text!r}: {value.strip()!r} is not a number with one of the units "
                         f"{', '.join(filter(None, units))}")  # fmt: skip
    return float(found[1]) * scale


@dataclass(frozen=True, slots=True)
class Check:
    """A threshold, and what became of it. ``value`` is None where the run has not measured this metric."""

    threshold: Threshold
    value: float | None
    met: bool

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.threshold}: it was not measured"
        return f"{self.threshold}: it was {self.value:.4g}{unit(self.threshold.metric)}"

    def to_json(self) -> dict[str, Any]:
        metric = self.threshold.metric
        return {
            "metric": metric,
            "at_most" if self.threshold.at_most else "at_least": self.threshold.bound,
            "unit": unit(metric).strip(),
            "value": self.value,
            "met": self.met,
        }


def check(thresholds: Iterable[Threshold], result: Result) -> list[Check]:
    """Compare a run with each threshold."""
    measured = metrics(result)
    return [Check(each, measured.get(each.metric), each.is_met(result)) for each in thresholds]


def missed_thresholds(thresholds: Iterable[Threshold], result: Result) -> list[str]:
    """One sentence for each threshold that the run misses."""
    return [str(each) for each in check(thresholds, result) if not each.met]
