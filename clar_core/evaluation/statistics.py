"""Figures that can be trusted with few trials: proportions with intervals, latencies with percentiles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class Proportion:
    """Successes out of trials. Both are counts; ``trials`` may be 0, then the interval is [0, 1]."""

    successes: int
    trials: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.trials:
            raise ValueError(f"expected 0 <= successes <= trials, got {self.successes} of {self.trials}")

    @property
    def rate(self) -> float:
        """Share of successes in [0, 1]; nan without trials."""
        return self.successes / self.trials if self.trials else math.nan

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson score interval of the rate, see :func:`wilson_interval`."""
        return wilson_interval(self.successes, self.trials, confidence)

    def __str__(self) -> str:
        low, high = self.interval()
        share = "-" if not self.trials else f"{100 * self.rate:.1f} %"
        return f"{share} ({self.successes} of {self.trials}, 95 % interval {100 * low:.1f}-{100 * high:.1f} %)"


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided Wilson score interval of a binomial proportion; [0, 1] without trials.

    Unlike the normal approximation it stays inside [0, 1] and is not empty at 0 or 100 % success, which is where robot
    evaluations live. Wilson, J. Am. Stat. Assoc. 22 (1927).

    Raises:
        ValueError: counts that are no proportion, or a confidence outside (0, 1).
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials, got {successes} of {trials}")
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, got {confidence}")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = successes / trials
    scale = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # At the ends the bound is exact, which rounding would miss by an ulp.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


@dataclass(frozen=True)
class Percentiles:
    """Summary of a sample of durations, in the sample's unit; nan where the sample is empty."""

    count: int
    mean: float
    p50: float
    p99: float
    maximum: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Percentiles:
        """Percentiles by linear interpolation (numpy's default). Values that are not finite are left out."""
        sample = np.asarray(list(values), dtype=np.float64)
        sample = sample[np.isfinite(sample)]
        if not len(sample):
            return cls(0, math.nan, math.nan, math.nan, math.nan)
        p50, p99 = np.percentile(sample, [50, 99])
        return cls(len(sample), float(sample.mean()), float(p50), float(p99), float(sample.max()))

    def to_dict(self) -> dict[str, float | None]:
        """``{"p50", "p99", "mean", "max", "count"}``, rounded to 0.001; None where the sample is empty."""
        figures = {"p50": self.p50, "p99": self.p99, "mean": self.mean, "max": self.maximum}
        rounded = {k: None if math.isnan(v) else round(v, 3) for k, v in figures.items()}
        return {**rounded, "count": self.count}
