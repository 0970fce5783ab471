"""Success by where a trial began: a policy that fails always in one corner is not a policy of 80 %."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clar_core.evaluation.statistics import Proportion
from clar_core.evaluation.trials import Trial

REGIONS = ("near left", "near right", "far left", "far right")
"""As the robot sees them: near is small x, left is large y."""


def middle_of(trials: Sequence[Trial]) -> tuple[float, float]:
    """Where the starts are split: their medians in x and y, metres in the base frame; zeros without trials."""
    if not trials:
        return 0.0, 0.0
    x, y = np.median([t.start_m for t in trials], axis=0)
    return float(x), float(y)


def region_of(start_m: tuple[float, float], middle_m: tuple[float, float]) -> str:
    """The region of a start."""
    depth = "far" if start_m[0] > middle_m[0] else "near"
    return f"{depth} {'left' if start_m[1] > middle_m[1] else 'right'}"


def by_region(trials: Sequence[Trial], middle_m: tuple[float, float]) -> dict[str, Proportion]:
    """Success in every region, those without a trial included."""
    outcomes: dict[str, list[bool]] = {region: [] for region in REGIONS}
    for trial in trials:
        outcomes[region_of(trial.start_m, middle_m)].append(trial.success)
    return {region: Proportion(sum(results), len(results)) for region, results in outcomes.items()}
