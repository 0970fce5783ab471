"""Two policies on the same starts: who solved what the other did not, and whether that can be chance."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from clar_core.evaluation.statistics import Proportion, wilson_interval

Start = TypeVar("Start", bound=Hashable)


@dataclass(frozen=True)
class PairedComparison:
    """Counts over the starts that both policies were tried on.

    Attributes:
        both: both succeeded.
        only_first: the first succeeded, the second failed.
        only_second: the second succeeded, the first failed.
        neither: both failed.
    """

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, first: Mapping[Start, bool], second: Mapping[Start, bool]) -> PairedComparison:
        """From outcomes by start. Starts that only one of them has do not count."""
        pairs = [(first[start], second[start]) for start in first.keys() & second.keys()]
        return cls(*(pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))))

    @property
    def starts(self) -> int:
        """Number of starts."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float:
        """Success rate of the first minus that of the second; nan without starts."""
        return (self.only_first - self.only_second) / self.starts if self.starts else math.nan

    @property
    def p_value(self) -> float:
        """Two-sided exact test of McNemar, see :func:`mcnemar_exact`."""
        return mcnemar_exact(self.only_first, self.only_second)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Interval of the difference; [-1, 1] without starts.

        Newcombe's score interval for paired proportions, Statistics in Medicine 17 (1998) 2635, method 10.
        """
        n = self.starts
        if n == 0:
            return -1.0, 1.0
        first, second = (Proportion(self.both + only, n) for only in (self.only_first, self.only_second))
        (l1, u1), (l2, u2) = (wilson_interval(p.successes, n, confidence) for p in (first, second))
        p1, p2, phi = first.rate, second.rate, self._correlation()
        down, up = (p1 - l1, u2 - p2), (p2 - l2, u1 - p1)
        low, high = (math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b)) for a, b in (down, up))
        return max(-1.0, p1 - p2 - low), min(1.0, p1 - p2 + high)

    def verdict(self, first: str, second: str, significance: float = 0.05) -> str:
        """What may be said, in one sentence."""
        if not self.starts:
            return f"{first} and {second} have no start in common."
        if self.p_value >= significance:
            return (
                f"No difference between {first} and {second} can be told from these {self.starts} starts "
                f"(p = {self.p_value:.3g}): they disagree on {self.only_first + self.only_second} of them."
            )
        better, worse = (first, second) if self.difference > 0 else (second, first)
        return f"{better} is better than {worse} on these starts: p = {self.p_value:.3g}."

    def to_dict(self) -> dict[str, object]:
        """As plain values for JSON."""
        return {
            "starts": self.starts,
            "both": self.both,
            "only_first": self.only_first,
            "only_second": self.only_second,
            "neither": self.neither,
            "difference": self.difference if self.starts else None,
            "interval_95": list(self.interval()),
            "mcnemar_exact_p": self.p_value,
        }

    def _correlation(self) -> float:
        a, b, c, d = self.both, self.only_first, self.only_second, self.neither
        product = (a + b) * (c + d) * (a + c) * (b + d)
        if not product:
            return 0.0
        numerator = float(a * d - b * c)
        if numerator > 0:
            numerator = max(numerator - self.starts / 2, 0.0)
        return numerator / math.sqrt(product)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value that two paired success rates are the same.

    Starts on which the two agree carry no information; among the others each side is as likely under the hypothesis, so
    their split is binomial with 1/2. McNemar, Psychometrika 12 (1947); exact form of Liddell (1983).

    Raises:
        ValueError: a negative count.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"expected counts of 0 or more, got {only_first} and {only_second}")
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n)
