"""Parts that memoryless experts are made of: bounded steps to a pose, symmetric grasps, waiting by the finger width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clar_core.control.action import Action
from clar_core.geometry.poses import Array, matrix_to_rotation_vector, rotation_vector_to_matrix

OPEN, CLOSED = 1.0, 0.0


@dataclass(frozen=True)
class Pace:
    """How far one 10 Hz step goes: metres and radians; ``near_m`` replaces ``far_m`` close to contact.

    ``gain`` is the part of the remaining way that a step takes once that is shorter. The measured pose lags the
    commanded one by up to two ticks, and integrating with a delay of two ticks is unstable from a gain of 0.6 on.
    """

    far_m: float = 0.020
    near_m: float = 0.012
    turn_rad: float = 0.05
    gain: float = 0.3


def step_towards(
    T_base_tcp: Array,
    position_m: Array,
    rotation: Array,
    gripper: float,
    *,
    pace: Pace = Pace(),
    near: bool = False,
) -> Action:
    """One bounded step from the present TCP pose towards a target, translation and rotation clamped separately.

    The step shrinks in proportion close to the target, so that the arm arrives without overshoot.
    """
    offset = np.asarray(position_m) - T_base_tcp[:3, 3]
    turn = matrix_to_rotation_vector(rotation @ T_base_tcp[:3, :3].T)
    limit = pace.near_m if near else pace.far_m
    return Action(
        translation=_bounded(pace.gain * offset, limit),
        rotation=_bounded(pace.gain * turn, pace.turn_rad),
        gripper=gripper,
    )


def hold(gripper: float) -> Action:
    """Stay where the arm is."""
    return Action(translation=np.zeros(3), rotation=np.zeros(3), gripper=gripper)


def top_grasp(yaw_rad: float, present: Array, symmetry_rad: float) -> Array:
    """Rotation (3, 3) of a TCP that points down with its finger axis at this yaw.

    Of the yaws that the object's symmetry allows, and of the two ways to hold them, takes the one nearest to the
    present rotation, so that the choice stays the same while the arm turns towards it.
    """
    down = np.diag([1.0, -1.0, -1.0])
    candidates = [
        rotation_vector_to_matrix((0.0, 0.0, yaw_rad + k * symmetry_rad)) @ down
        for k in range(round(2 * np.pi / symmetry_rad))
    ]
    return max(candidates, key=lambda rotation: float(np.trace(rotation @ present.T)))


def yaw_of(rotation: Array) -> float:
    """Heading of a body's x axis about the vertical, in radians."""
    return float(np.arctan2(rotation[1, 0], rotation[0, 0]))


def _bounded(vector: Array, limit: float) -> Array:
    norm = float(np.linalg.norm(vector))
    return vector if norm <= limit else vector * (limit / norm)
