"""Disturbances of what a demonstrator executes, so that the labels also show how to come back.

Without them an expert never leaves its way, and a policy that left it once has never seen what to do there: behaviour
cloning with noise injected into the demonstrator (Laskey et al., DART, CoRL 2017). Two kinds:

- a push: for a few ticks the step is off in a direction drawn for each;
- a miss: the open hand closes on nothing and sets off as if it held something, which shows how an empty hand looks
  and that it opens and tries again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clar_core.geometry.poses import Array
from clar_core.simulation.expert import CLOSED, Pace, step_towards

_OPEN_ABOVE = 0.5


@dataclass(frozen=True)
class Perturbation:
    """Bursts that replace or add to the executed action, never to the label.

    Attributes:
        rate: probability per tick that a push begins.
        ticks: length of a push.
        translation_m, rotation_rad: largest size of a push per tick.
        miss_rate: probability per tick with an open hand that a miss begins.
        miss_ticks: length of a miss; a Franka Hand closes within the first eight.
        miss_step_m: largest step of a miss per tick.
        miss_min_m, miss_max_m: box in the base frame that a miss's destination is drawn from.
    """

    rate: float = 0.06
    ticks: int = 4
    translation_m: float = 0.010
    rotation_rad: float = 0.04
    miss_rate: float = 0.0
    miss_ticks: int = 14
    miss_step_m: float = 0.020
    miss_min_m: tuple[float, float, float] = (0.36, -0.24, 0.14)
    miss_max_m: tuple[float, float, float] = (0.64, 0.24, 0.42)


NO_PERTURBATION = Perturbation(rate=0.0)


class Perturber:
    """Disturbs the actions of one episode, one burst at a time.

    Args:
        config: which bursts, and how often.
        rng: that they are drawn from.
    """

    def __init__(self, config: Perturbation, rng: np.random.Generator) -> None:
        self._config, self._rng = config, rng
        self._push, self._destination = np.zeros(6), np.zeros(3)
        self._push_left = self._miss_left = 0

    def disturb(self, action: Array, T_base_tcp: Array) -> Array | None:
        """What to execute at a pose in the place of an action (7,); None leaves the action as it is."""
        c, rng = self._config, self._rng
        if not (self._push_left or self._miss_left):
            if rng.random() < c.rate:
                self._push_left = c.ticks
                push = [_direction(rng) * c.translation_m, _direction(rng) * c.rotation_rad]
                self._push = np.concatenate(push) * rng.uniform(0.3, 1.0)
            elif c.miss_rate > 0.0 and action[6] > _OPEN_ABOVE and rng.random() < c.miss_rate:
                self._miss_left = c.miss_ticks
                self._destination = rng.uniform(c.miss_min_m, c.miss_max_m)
        if self._push_left:
            self._push_left -= 1
            return action + np.append(self._push, 0.0)
        if self._miss_left:
            self._miss_left -= 1
            pace = Pace(far_m=c.miss_step_m)
            return step_towards(T_base_tcp, self._destination, T_base_tcp[:3, :3], CLOSED, pace=pace).to_array()
        return None


def _direction(rng: np.random.Generator) -> Array:
    vector = rng.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector))
