"""The motions that augmentation may make: what is upright stays so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clar_core.control.spaces import TCP_DELTA, ActionSpace

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PlanarMotion:
    """A rotation about the vertical axis through ``pivot_m``, then a translation; the part of SE(3) that keeps "up"."""

    yaw_rad: float
    translation_m: Array
    pivot_m: Array

    @property
    def rotation(self) -> Array:
        """(3, 3) float32."""
        c, s = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=np.float32)

    def move_points(self, points: Array) -> Array:
        """Points (..., 3) in metres."""
        return np.asarray((points - self.pivot_m) @ self.rotation.T + (self.pivot_m + self.translation_m))

    def move_state(self, state: Array) -> Array:
        """Proprioception (10,): the position moves, the rotation columns turn, the gripper stays."""
        columns = state[3:9].reshape(2, 3) @ self.rotation.T
        return np.concatenate([self.move_points(state[:3]), columns.reshape(6), state[9:]])

    def move_action(self, action: Array, space: ActionSpace = TCP_DELTA) -> Array:
        """Action (7,): both vectors turn, for R exp(w) R^T = exp(R w); the gripper stays.

        An absolute pose (10,) moves as the proprioception does: its position, and its rotation from the left.
        """
        if space.absolute:
            return self.move_state(action)
        vectors = action[:6].reshape(2, 3) @ self.rotation.T
        return np.concatenate([vectors.reshape(6), action[6:]])
