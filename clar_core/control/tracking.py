"""From 10 Hz steps to the twists that the robot follows, and a model of how it follows them.

The live arm and the simulated environment share these: the first sends the twists to the robot, the second moves its
TCP by them through ``VelocityResponse``.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clar_core.control.action import STEP_PERIOD_S
from clar_core.geometry import poses

Array = NDArray[np.float64]

CONTROL_PERIOD_S = 0.02
"""Period of the control loop: a new twist at 50 Hz."""

_TIME_RESOLUTION_S = 1e-6


@dataclass(frozen=True)
class TrackingGains:
    """Proportional gains from pose error to twist, in 1/s."""

    translation_hz: float = 8.0
    rotation_hz: float = 8.0


@dataclass(frozen=True)
class TwistLimits:
    """Largest norms of a twist sent to the robot."""

    linear_m_s: float = 0.6
    angular_rad_s: float = 2.6


DEFAULT_GAINS = TrackingGains()
DEFAULT_TWIST_LIMITS = TwistLimits()


class StepReference:
    """The pose that the TCP should have now: it walks to each new target in one step period, then stands still.

    Standing still is what makes a skipped tick harmless: extrapolating would overshoot by a whole step.
    Times are seconds of one monotonic clock.
    """

    def __init__(self, T_base_tcp: Array, period_s: float = STEP_PERIOD_S) -> None:
        self._period_s = period_s
        self.reset(T_base_tcp)

    @property
    def target(self) -> Array:
        """The (4, 4) pose at which the reference stops."""
        return self._T_target

    def reset(self, T_base_tcp: Array) -> None:
        """Stand still at a pose, as at START, after recovery and when the owner changes."""
        self._T_start = self._T_target = np.array(T_base_tcp, dtype=np.float64)
        self._twist = np.zeros(6)
        self._start_s = -np.inf

    def set_target(self, T_target: Array, now_s: float) -> None:
        """Walk from the reference of now to ``T_target`` (4, 4), arriving one period later."""
        self._T_start = self.sample(now_s)[0]
        self._T_target = np.array(T_target, dtype=np.float64)
        self._start_s = now_s
        translation, rotation = poses.delta_between(self._T_start, self._T_target)
        self._twist = np.concatenate([translation, rotation]) / self._period_s

    def sample(self, now_s: float) -> tuple[Array, Array]:
        """Reference pose (4, 4) and feed-forward twist (6,) in m/s and rad/s, base frame; zero once it stands still."""
        elapsed_s = now_s - self._start_s
        if elapsed_s >= self._period_s - _TIME_RESOLUTION_S:
            return self._T_target, np.zeros(6)
        step = self._twist * max(elapsed_s, 0.0)
        return poses.apply_delta(self._T_start, step[:3], step[3:]), self._twist


def tracking_twist(
    T_reference: Array,
    feedforward: Array,
    T_measured: Array,
    gains: TrackingGains = DEFAULT_GAINS,
    limits: TwistLimits = DEFAULT_TWIST_LIMITS,
) -> Array:
    """Twist (6,) in m/s and rad/s, base frame: feed-forward plus a correction proportional to the pose error.

    The linear and the angular part are limited separately by scaling, so that directions are kept.
    """
    translation, rotation = poses.delta_between(T_measured, T_reference)
    linear = feedforward[:3] + gains.translation_hz * translation
    angular = feedforward[3:] + gains.rotation_hz * rotation
    return np.concatenate([limit_norm(linear, limits.linear_m_s), limit_norm(angular, limits.angular_rad_s)])


def limit_norm(vector: Array, maximum: float) -> Array:
    """The vector, scaled down to ``maximum`` when it is longer."""
    norm = math.hypot(*vector)  # unlike numpy's norm it does not overflow
    return vector if norm <= maximum else vector * (maximum / norm)


@dataclass(frozen=True)
class ResponseModel:
    """How the robot's own trajectory generator answers a stepped twist.

    The defaults are the FR3's Cartesian acceleration limits (9 m/s^2, 17 rad/s^2) at relative dynamics 0.3, the dead
    time between a command and the first motion, and the time constant of the joint controllers behind it.
    """

    linear_acceleration_m_s2: float = 2.7
    angular_acceleration_rad_s2: float = 5.1
    dead_time_s: float = 0.005
    lag_s: float = 0.010


DEFAULT_RESPONSE = ResponseModel()


class VelocityResponse:
    """Velocity of a TCP that follows stepped twist targets with limited acceleration, a dead time and a lag.

    The six axes are synchronised: each gets the fraction of its change that the slowest one can make.
    """

    def __init__(self, model: ResponseModel = DEFAULT_RESPONSE, substep_s: float = 0.001) -> None:
        self._substep_s = substep_s
        self._acceleration = np.repeat([model.linear_acceleration_m_s2, model.angular_acceleration_rad_s2], 3)
        self._lag_s = model.lag_s
        self._dead_substeps = round(model.dead_time_s / substep_s)
        self.reset()

    @property
    def twist(self) -> Array:
        """The present twist (6,) in m/s and rad/s, base frame."""
        return self._twist.copy()

    def reset(self) -> None:
        """Stand still."""
        self._generated = np.zeros(6)
        self._twist = np.zeros(6)
        self._pending: deque[Array] = deque([np.zeros(6)] * self._dead_substeps)

    def advance(self, target_twist: Array, duration_s: float) -> Array:
        """Follow a constant target twist (6,) for a duration; returns the mean twist (6,) over it.

        The displacement over the duration is the mean twist times the duration.
        """
        target = np.array(target_twist, dtype=np.float64)
        count = max(1, round(duration_s / self._substep_s))
        step_s = duration_s / count
        largest_change = self._acceleration * step_s
        blend = 1.0 - np.exp(-step_s / self._lag_s) if self._lag_s > 0 else 1.0
        total = np.zeros(6)
        for _ in range(count):
            self._pending.append(target)
            delayed = self._pending.popleft()
            change = delayed - self._generated
            # Ruckig makes all axes arrive together, so the slowest one sets the pace of the others.
            self._generated = self._generated + change / max(1.0, float(np.max(np.abs(change) / largest_change)))
            self._twist = self._twist + blend * (self._generated - self._twist)
            total += self._twist
        return total / count
