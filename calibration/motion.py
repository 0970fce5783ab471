"""How the arm goes to a pose, and how one knows that it stands still there. Pure: poses and times in, poses out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clar_calibration.problem import average_pose
from clar_core.geometry.poses import delta_between, interpolate

Array = NDArray[np.float64]

_PEAK_OVER_MEAN = 1.5
_LEAST_STEPS = 4


def way(T_start: Array, T_end: Array, *, speed_m_s: float, turn_rad_s: float, period_s: float = 0.1) -> list[Array]:
    """Poses (4, 4), one a period, from one to the other: straight, starting and ending at rest, at most this fast."""
    translation, rotation = delta_between(T_start, T_end)
    seconds = max(float(np.linalg.norm(translation)) / speed_m_s, float(np.linalg.norm(rotation)) / turn_rad_s)
    steps = max(_LEAST_STEPS, int(np.ceil(_PEAK_OVER_MEAN * seconds / period_s)))
    fractions = np.arange(1, steps + 1) / steps
    return [interpolate(T_start, T_end, float(s * s * (3.0 - 2.0 * s))) for s in fractions]


@dataclass(frozen=True)
class StillLimits:
    """What counts as standing still: over ``window_s`` no pose is further than this from their mean."""

    window_s: float = 0.4
    translation_m: float = 2e-4
    rotation_rad: float = 4e-4


class Stillness:
    """Watches measured poses and their times."""

    def __init__(self, limits: StillLimits = StillLimits()) -> None:
        self.limits = limits
        self._poses: deque[tuple[float, Array]] = deque(maxlen=400)

    def add(self, time_s: float, T_base_tcp: Array) -> None:
        """Take one measured pose."""
        self._poses.append((time_s, T_base_tcp))

    def between(self, start_s: float, end_s: float) -> Array | None:
        """Mean pose (4, 4) of a stretch of time if the arm stood still all through it, else None.

        The stretch must be covered by measurements, at both ends to within a quarter of it.
        """
        inside = [(t, T) for t, T in list(self._poses) if start_s <= t <= end_s]
        slack = 0.25 * (end_s - start_s)
        if len(inside) < 4 or inside[0][0] > start_s + slack or inside[-1][0] < end_s - slack:
            return None
        mean = average_pose(np.array([T for _, T in inside]))
        for _, T in inside:
            translation, rotation = delta_between(mean, T)
            if np.linalg.norm(translation) > self.limits.translation_m:
                return None
            if np.linalg.norm(rotation) > self.limits.rotation_rad:
                return None
        return mean

    def around(self, time_s: float) -> Array | None:
        """Mean pose of a window that ends half a window after a moment, if the arm stood still all through it."""
        half = 0.5 * self.limits.window_s
        return self.between(time_s - half, time_s + half)


def is_new_view(T: Array, before: list[Array], *, distance_m: float = 0.05, angle_rad: float = 0.14) -> bool:
    """Whether a hand pose differs enough from all earlier ones to tell something new."""
    for other in before:
        translation, rotation = delta_between(other, T)
        if np.linalg.norm(translation) < distance_m and np.linalg.norm(rotation) < angle_rad:
            return False
    return True
