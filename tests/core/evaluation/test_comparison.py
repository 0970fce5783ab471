import math

import pytest

from clar_core.evaluation.comparison import PairedComparison, mcnemar_exact


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (0, 5, 0.0625), (6, 0, 0.03125), (12, 2, 0.012939453125), (5, 5, 1.0)],
)
def test_the_test_is_the_binomial_one(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar_exact(only_first, only_second) == pytest.approx(p)
    assert mcnemar_exact(only_second, only_first) == pytest.approx(p)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        mcnemar_exact(-1, 2)


def test_the_interval_is_the_published_one() -> None:
    # Newcombe (1998), table II, method 10.
    assert PairedComparison(36, 12, 2, 0).interval() == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_only_common_starts_count() -> None:
    counts = PairedComparison.of({1: True, 2: True, 3: False, 4: False}, {1: True, 2: False, 3: True, 9: True})
    assert counts == PairedComparison(1, 1, 1, 0)
    nothing = PairedComparison.of({1: True}, {2: True})
    assert math.isnan(nothing.difference)
    assert nothing.interval() == (-1.0, 1.0)
    assert nothing.to_dict()["difference"] is None
    assert "no start in common" in nothing.verdict("a", "b")


def test_the_verdict_names_the_better_one_only_where_chance_is_ruled_out() -> None:
    assert PairedComparison(10, 9, 1, 5).verdict("a", "b").startswith("a is better than b")
    assert PairedComparison(10, 1, 9, 5).verdict("a", "b").startswith("b is better than a")
    assert PairedComparison(10, 3, 1, 5).verdict("a", "b").startswith("No difference")
