"""Slow ways by request of the operator, checked before they begin: home by the joints, to a pose in a straight line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clar_core.control.envelope import EnvelopeLimits
from clar_core.control.robot import ArmDriver, RobotReading
from clar_core.control.supervisor import RefusedError
from clar_core.geometry import poses

Array = NDArray[np.float64]

_PATH_SAMPLES = 25
_JOINT_TOLERANCE_RAD = 0.02
_TOLERANCE_M = 0.002
_TOLERANCE_RAD = 0.02


class Goal(Protocol):
    """Where to go, and how."""

    @property
    def name(self) -> str:
        """What the way is called in messages."""

    def path(self, reading: RobotReading, arm: ArmDriver) -> Array:
        """(n, 4, 4) TCP poses on the way from a reading."""

    def begin(self, arm: ArmDriver) -> None:
        """Set off."""

    def missed(self, reading: RobotReading) -> str:
        """How far from the goal a reading is, in words; empty when it is there."""


@dataclass(frozen=True, eq=False)
class JointGoal:
    """A joint position (7,) at a fraction of the robot's limits."""

    joints_rad: Array
    speed: float
    name: str = "the way home"

    def path(self, reading: RobotReading, arm: ArmDriver) -> Array:
        """TCP poses on the way, all joints moving together."""
        way = np.linspace(reading.joints_rad, self.joints_rad, _PATH_SAMPLES)
        return np.array([arm.tcp_pose(joints) for joints in way])

    def begin(self, arm: ArmDriver) -> None:
        """Set off."""
        arm.start_joint_motion(self.joints_rad, self.speed)

    def missed(self, reading: RobotReading) -> str:
        """Empty within 0.02 rad in every joint."""
        error_rad = float(np.abs(reading.joints_rad - self.joints_rad).max())
        return f"{np.degrees(error_rad):.1f} degrees" if error_rad > _JOINT_TOLERANCE_RAD else ""


@dataclass(frozen=True, eq=False)
class PoseGoal:
    """A TCP pose (4, 4), in a straight line, at a fraction of the robot's limits."""

    T_base_tcp: Array
    speed: float
    name: str = "the way back to the start"

    def path(self, reading: RobotReading, arm: ArmDriver) -> Array:
        """TCP poses on the straight line."""
        translation, rotation = poses.delta_between(reading.T_base_tcp, self.T_base_tcp)
        fractions = np.linspace(0.0, 1.0, _PATH_SAMPLES)
        return np.array([poses.apply_delta(reading.T_base_tcp, f * translation, f * rotation) for f in fractions])

    def begin(self, arm: ArmDriver) -> None:
        """Set off."""
        arm.start_cartesian_motion(self.T_base_tcp, self.speed)

    def missed(self, reading: RobotReading) -> str:
        """Empty within 2 mm and 0.02 rad."""
        translation, rotation = poses.delta_between(reading.T_base_tcp, self.T_base_tcp)
        distance_m, angle_rad = float(np.linalg.norm(translation)), float(np.linalg.norm(rotation))
        if distance_m <= _TOLERANCE_M and angle_rad <= _TOLERANCE_RAD:
            return ""
        return f"{distance_m * 1e3:.1f} mm and {np.degrees(angle_rad):.1f} degrees"


def check_path(T_base_tcp: Array, limits: EnvelopeLimits, name: str = "the way home") -> None:
    """Check a path of TCP poses (n, 4, 4) against the motion box and the keep-outs.

    Raises:
        RefusedError: it leaves the motion box or enters a keep-out; the text says where.
    """
    for position in T_base_tcp[:, :3, 3]:
        where = ", ".join(f"{value:.3f}" for value in position)
        if limits.outside_m(position).any():
            raise RefusedError(f"{name} leaves motion_box at ({where}) m: guide the arm by hand nearer to its end")
        obstacle = limits.obstacle(position)
        if obstacle is not None:
            raise RefusedError(f"{name} crosses keep-out {obstacle!r} at ({where}) m: guide the arm around it")
