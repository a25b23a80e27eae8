"""Medians, their spread, and ratios paired within the round. Numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Estimate", "Spread", "bootstrap_median", "paired_ratio", "spread", "unpaired_ratio"]

RESAMPLES = 10_000
CONFIDENCE = 0.95
#: Fixed, so that one file of results always gives the same report.
SEED = 20_110_912


@dataclass(frozen=True, slots=True)
class Spread:
    """What the rounds of one server in one cell gave."""

    median: float
    #: Quartiles: half of the rounds lie between them.
    low: float
    high: float
    n: int

    @property
    def percent(self) -> float:
        """Half the distance of the quartiles, in percent of the median."""
        return 50 * (self.high - self.low) / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median with its 95 % bootstrap interval; ``low == high == mid`` after a single round."""

    mid: float
    low: float
    high: float
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles. Raises ValueError when there is nothing to describe."""
    if not values:
        raise ValueError("no values")
    low, median, high = np.quantile(np.asarray(values, dtype=float), (0.25, 0.5, 0.75))
    return Spread(float(median), float(low), float(high), len(values))


def bootstrap_median(values: Sequence[float]) -> Estimate:
    """The median and the percentile interval of the medians of resampled rounds."""
    if not values:
        raise ValueError("no values")
    data = np.asarray(values, dtype=float)
    medians = _resampled_medians(data, np.random.default_rng(SEED))
    return _estimate(float(np.median(data)), medians, len(values))


def paired_ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Estimate | None:
    """``ours / theirs``, divided within each round and only then summarised.

    The keys are rounds. What the machine did to one round it did to both sides, so its mood cancels;
    rounds that lack one side are left out. None when no round has both.
    """
    rounds = [key for key in ours if theirs.get(key)]
    return bootstrap_median([ours[key] / theirs[key] for key in rounds]) if rounds else None


def unpaired_ratio(new: Sequence[float], old: Sequence[float]) -> Estimate | None:
    """``new / old`` of two runs that share no rounds: medians divided, each side resampled alone."""
    if not new or not old or not np.median(old):
        return None
    rng = np.random.default_rng(SEED)
    above, below = np.asarray(new, dtype=float), np.asarray(old, dtype=float)
    ratios = _resampled_medians(above, rng) / _resampled_medians(below, rng)
    return _estimate(float(np.median(above) / np.median(below)), ratios, min(len(new), len(old)))


def _resampled_medians(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(np.median(rng.choice(data, size=(RESAMPLES, len(data))), axis=1))


def _estimate(mid: float, resampled: np.ndarray, n: int) -> Estimate:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return Estimate(mid, float(low), float(high), n)
