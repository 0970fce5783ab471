"""How near the arm is to the end of its joints and to a singularity, and what that means for a twist."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FR3_LOWER_RAD = np.array([-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159])
FR3_UPPER_RAD = np.array([2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159])
"""Joint limits of the Franka Research 3 (robot limits of the Franka Control Interface documentation)."""


@dataclass(frozen=True, kw_only=True)
class JointLimits:
    """Where to slow down and where to halt.

    Attributes:
        lower_rad, upper_rad: (7,) the robot's own limits.
        slow_rad: closer to a limit than this, motion towards it is slowed down.
        halt_rad: at this distance it halts.
        slow_singular_value: below this smallest singular value of the (6, 7) Jacobian, motion is slowed down.
        halt_singular_value: at this one it halts.
    """

    lower_rad: Array = field(default_factory=lambda: FR3_LOWER_RAD.copy())
    upper_rad: Array = field(default_factory=lambda: FR3_UPPER_RAD.copy())
    slow_rad: float = 0.15
    halt_rad: float = 0.05
    slow_singular_value: float = 0.04
    halt_singular_value: float = 0.015


DEFAULT_JOINT_LIMITS = JointLimits()


def arming_objections(joints_rad: Array, jacobian: Array, limits: JointLimits = DEFAULT_JOINT_LIMITS) -> list[str]:
    """Why the arm must not be armed where its joints are, each with where to move it by hand; empty when it may."""
    objections = []
    margins = np.minimum(joints_rad - limits.lower_rad, limits.upper_rad - joints_rad)
    for joint in np.flatnonzero(margins < limits.halt_rad):
        towards = "up" if joints_rad[joint] - limits.lower_rad[joint] < limits.halt_rad else "down"
        objections.append(
            f"joint {joint + 1} is at {np.degrees(joints_rad[joint]):.0f} degrees,"
            f" {np.degrees(margins[joint]):.1f} degrees from its limit: guide it {towards} by hand by 5 degrees or more"
        )
    smallest = float(np.linalg.svd(jacobian, compute_uv=False)[-1])
    if smallest < limits.halt_singular_value:
        objections.append(
            f"the arm is near a singularity (smallest singular value {smallest:.3f}, at least"
            f" {limits.halt_singular_value:g}): guide it by hand so that the elbow is bent"
        )
    return objections


def guard_twist(
    joints_rad: Array, jacobian: Array, twist: Array, limits: JointLimits = DEFAULT_JOINT_LIMITS
) -> tuple[float, str | None]:
    """Factor 0..1 by which a twist (6,) must be slowed down, and why the arm must halt, or None.

    The joint velocities are predicted by the pseudo-inverse of the Jacobian (6, 7); only motion towards a limit counts.
    """
    if not twist.any():
        return 1.0, None
    # dq = J^T (J J^T)^-1 v by one decomposition, which also gives the distance to the singularity
    u, singular, vt = np.linalg.svd(jacobian, full_matrices=False)
    smallest = float(singular[-1])
    if smallest <= limits.halt_singular_value:
        return 0.0, f"the arm came near a singularity (smallest singular value {smallest:.3f})"
    factor = _slowed(smallest, limits.halt_singular_value, limits.slow_singular_value)
    velocities = vt.T @ ((u.T @ twist) / singular)
    distances = np.where(velocities > 0, limits.upper_rad - joints_rad, joints_rad - limits.lower_rad)
    moving = np.abs(velocities) > 1e-3
    for joint in np.flatnonzero(moving & (distances < limits.slow_rad)):
        if distances[joint] <= limits.halt_rad:
            end = "upper" if velocities[joint] > 0 else "lower"
            degrees = np.degrees(distances[joint])
            return 0.0, f"joint {joint + 1} came within {degrees:.1f} degrees of its {end} limit"
        factor = min(factor, _slowed(float(distances[joint]), limits.halt_rad, limits.slow_rad))
    return factor, None


def _slowed(distance: float, halt_at: float, slow_at: float) -> float:
    """Falls from 1 where slowing begins to a fifth at the halt: a ramp to zero would creep there for ever."""
    return float(np.clip(0.2 + 0.8 * (distance - halt_at) / (slow_at - halt_at), 0.0, 1.0))
