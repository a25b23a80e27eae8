"""When the figures are the generator's own limit, it says so in words."""

from __future__ import annotations

import pytest

from fastws.loadgen.validity import Load, contention, saturation


@pytest.mark.parametrize("load", [Load(2.0, 1.88, 0.0), Load(2.0, 1.0, 0.05), Load(0.0, 0.0, 0.0)])
def test_a_generator_with_idle_time_is_not_the_limit(load: Load) -> None:
    assert saturation([load]) is None


def test_a_generator_without_idle_time_is() -> None:
    words = saturation([Load(2.0, 0.5, 0.0), Load(2.0, 1.98, 0.01)])
    assert words is not None and words.startswith("generator saturated: it used 99% of its core")


def test_a_generator_that_had_to_share_its_core_is_too() -> None:
    words = saturation([Load(2.0, 1.0, 0.96)])
    assert words is not None and words.startswith(
        "generator saturated: it ran for 50% of the time and waited for 48%"
    )


def test_no_process_no_verdict() -> None:
    assert saturation([]) is None
    assert contention([]) is None


def test_a_crowded_core_is_worth_a_word() -> None:
    assert contention([Load(1.0, 0.2, 0.04)]) is None
    assert "for 20% of the time" in str(contention([Load(1.0, 0.2, 0.2)]))


def test_no_time_is_no_load() -> None:
    # All clients were lost in the warm-up: the measured time began and ended in the same turn.
    moment = Load(wall=0.0001, cpu=0.000099, waited=0.00001)
    assert saturation([moment]) is None and contention([moment]) is None
