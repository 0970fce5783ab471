"""Proportions and percentiles against values from independent sources."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from clar_core.evaluation.statistics import Percentiles, Proportion, wilson_interval


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (5, 5), (4, 5), (97, 100), (1, 1000), (500, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_interval_equals_scipy(successes: int, trials: int, confidence: float) -> None:
    expected = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    assert wilson_interval(successes, trials, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_without_trials_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (1, 0)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="successes <= trials"):
        Proportion(successes, trials)
    with pytest.raises(ValueError, match="successes <= trials"):
        wilson_interval(successes, trials)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_confidence_outside_the_open_unit_interval_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        wilson_interval(1, 2, confidence)


def test_proportion_reads_as_a_sentence() -> None:
    assert str(Proportion(97, 100)) == "97.0 % (97 of 100, 95 % interval 91.5-99.0 %)"
    assert str(Proportion(0, 0)).startswith("- (0 of 0")


def test_percentiles_equal_numpy_and_skip_values_that_are_not_finite() -> None:
    sample = np.random.default_rng(0).exponential(30.0, 500)
    result = Percentiles.of([*sample, math.nan, math.inf])
    assert result.count == 500
    assert (result.p50, result.p99) == pytest.approx(tuple(np.percentile(sample, [50, 99])))
    assert result.maximum == sample.max()


def test_percentiles_of_nothing_are_null_in_json() -> None:
    assert Percentiles.of([]).to_dict() == {"p50": None, "p99": None, "mean": None, "max": None, "count": 0}
