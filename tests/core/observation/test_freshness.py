"""An observation is too old by its stamp or by its content."""

from __future__ import annotations

import numpy as np
import pytest

from clar_core.observation.freshness import AgeLimits, RepeatDetector

MS = 1_000_000


def test_a_repeated_image_ages_from_when_its_content_was_new() -> None:
    detector = RepeatDetector()
    rng = np.random.default_rng(0)
    image = rng.integers(500, 900, (48, 64), dtype=np.uint16)
    assert detector.unchanged_s(image, 1000 * MS) == 0
    assert detector.unchanged_s(image.copy(), 1033 * MS) == pytest.approx(0.033)
    assert detector.unchanged_s(image.copy(), 1166 * MS) == pytest.approx(0.166)
    changed = image.copy()
    changed[4, 3] += 1
    assert detector.unchanged_s(changed, 1200 * MS) == 0


def test_a_clock_that_jumps_back_starts_the_age_anew() -> None:
    detector = RepeatDetector()
    image = np.zeros((8, 8), dtype=np.uint16)
    detector.unchanged_s(image, 1000 * MS)
    assert detector.unchanged_s(image, 500 * MS) == 0


@pytest.mark.parametrize(
    ("age_ms", "objection"),
    [(0, None), (150, None), (151, "151 ms old, expected at most 150 ms"), (-20, None), (-21, "21 ms in the future")],
)
def test_age_limits(age_ms: int, objection: str | None) -> None:
    found = AgeLimits().objection(10_000 * MS, (10_000 + age_ms) * MS)
    assert (found is None) if objection is None else objection in str(found)
