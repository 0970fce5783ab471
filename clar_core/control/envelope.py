"""What no command may exceed: step, speed, space, tilt and distance from the measured pose.

Every 10 Hz action passes through ``Envelope.apply``. What is too large is scaled down and counted; what is not finite
is dropped whole; what keeps asking for too much halts the arm. All poses are ``T_base_tcp``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clar_core.control.action import STEP_PERIOD_S, Action, InvalidActionError
from clar_core.control.tracking import limit_norm
from clar_core.geometry import poses

Array = NDArray[np.float64]
Vector3 = tuple[float, float, float]

_FEWEST_SAMPLES = 5
"""A fraction of clamped commands is judged only from this many on."""
_BISECTIONS = 24
_STANDOFF_M = 1e-6
"""Steps end this far in front of a wall or a keep-out, so that rounding never puts the TCP inside."""


@dataclass(frozen=True)
class KeepOut:
    """A box in the base frame, in metres, that the TCP may not enter."""

    name: str
    min_m: Vector3
    max_m: Vector3

    def contains(self, point: ArrayLike) -> bool:
        """Whether a point (3,) lies strictly inside."""
        p = np.asarray(point)
        return bool((p > self.min_m).all() and (p < self.max_m).all())

    def entry(self, start: Array, step: Array) -> float:
        """Fraction of the step, from a start outside, at which it enters the box; inf when it does not."""
        enter, leave = -math.inf, math.inf
        for p, d, low, high in zip(start, step, self.min_m, self.max_m, strict=True):
            if d == 0.0:
                if not low < p < high:
                    return math.inf
                continue
            near, far = sorted(((low - p) / d, (high - p) / d))
            enter, leave = max(enter, near), min(leave, far)
        return max(enter, 0.0) if enter < leave and leave > 0.0 and enter < 1.0 else math.inf


@dataclass(frozen=True, kw_only=True)
class EnvelopeLimits:
    """The limits of one cell. The motion box has no default: nobody but the site knows where its table is.

    Attributes:
        motion_box_min_m: lowest TCP position (3) in the base frame.
        motion_box_max_m: highest TCP position (3) in the base frame.
        keep_outs: boxes inside the motion box that the TCP may not enter.
        step_translation_m: longest translation of one action.
        step_rotation_rad: largest rotation of one action.
        velocity_m_s: highest speed; an action covers 100 ms.
        angular_velocity_rad_s: highest rate of rotation.
        acceleration_m_s2: how fast the speed may grow from one action to the next. Slowing down is never limited here.
        angular_acceleration_rad_s2: the same for rotation.
        braking_m_s2: deceleration on which the approach to a wall or a keep-out counts, so that it ends in front of it.
        position_tolerance_m: so far outside the motion box the TCP still counts as inside.
        tilt_max_rad: largest angle between the TCP's z axis and straight down.
        leash_m: largest distance of the commanded pose from the measured one.
        leash_rad: largest angle between them.
        leash_time_s: longer saturation of the leash halts.
        clamped_window_s: over this time the clamped commands are counted.
        clamped_fraction_max: a larger fraction of clamped commands halts.
        invalid_in_a_row_max: this many actions that are not finite, in a row, halt.
    """

    motion_box_min_m: Vector3
    motion_box_max_m: Vector3
    keep_outs: tuple[KeepOut, ...] = ()
    step_translation_m: float = 0.05
    step_rotation_rad: float = 0.25
    velocity_m_s: float = 0.5
    angular_velocity_rad_s: float = 2.5
    acceleration_m_s2: float = 3.0
    angular_acceleration_rad_s2: float = 15.0
    braking_m_s2: float = 2.0
    position_tolerance_m: float = 0.005
    tilt_max_rad: float = math.radians(70.0)
    leash_m: float = 0.020
    leash_rad: float = math.radians(5.0)
    leash_time_s: float = 1.0
    clamped_window_s: float = 1.0
    clamped_fraction_max: float = 0.5
    invalid_in_a_row_max: int = 3

    def __post_init__(self) -> None:
        low, high = np.asarray(self.motion_box_min_m), np.asarray(self.motion_box_max_m)
        if low.shape != (3,) or high.shape != (3,) or not (np.isfinite(low) & np.isfinite(high) & (low < high)).all():
            raise ValueError(f"motion_box: expected three finite numbers min < max, got min {low}, max {high}")

    def outside_m(self, position: ArrayLike) -> Array:
        """(3,) metres by which a position lies outside the motion box, signed; zeros inside, to the tolerance."""
        p = np.asarray(position, dtype=np.float64)
        beyond = p - np.clip(p, self.motion_box_min_m, self.motion_box_max_m)
        return beyond if np.abs(beyond).max() > self.position_tolerance_m else np.zeros(3)

    def free_fraction(self, start: Array, step: Array) -> float:
        """The part of a step (3,) that stays in the motion box; from outside only steps towards the box are free."""
        fraction = 1.0
        for p, d, low, high in zip(start, step, self.motion_box_min_m, self.motion_box_max_m, strict=True):
            if d > 0.0 and p + d > high:
                fraction = min(fraction, max((high - p) / d, 0.0))
            elif d < 0.0 and p + d < low:
                fraction = min(fraction, max((low - p) / d, 0.0))
        return fraction

    def obstacle(self, position: ArrayLike) -> str | None:
        """Name of the keep-out box that contains a position, if any."""
        return next((box.name for box in self.keep_outs if box.contains(position)), None)


def tilt_rad(rotation: Array) -> float:
    """Angle between the z axis of a rotation (3, 3) and straight down, in radians."""
    return math.acos(float(np.clip(-rotation[2, 2], -1.0, 1.0)))


@dataclass(frozen=True, eq=False)
class EnvelopeResult:
    """What became of one action.

    Attributes:
        T_target: (4, 4) the pose to go to, equal to the commanded pose when the action was dropped.
        action: the action as executed, after scaling; None when it was dropped.
        clamped: names of the limits that scaled it, empty when it passed unchanged.
        halt: why the arm must halt now, or None.
    """

    T_target: Array
    action: Action | None
    clamped: tuple[str, ...] = ()
    halt: str | None = None


class Envelope:
    """Applies the limits to a stream of actions; it remembers the last step and what was clamped of late."""

    def __init__(self, limits: EnvelopeLimits) -> None:
        self.limits = limits
        self.reset()

    def reset(self) -> None:
        """Forget the past, as at START and when the owner changes."""
        self._previous: tuple[float, float, float] | None = None
        self._recent: deque[tuple[float, bool]] = deque()
        self._leash_since_s: float | None = None
        self._invalid_in_a_row = 0

    def apply(self, T_commanded: Array, values: Action | ArrayLike, T_measured: Array, now_s: float) -> EnvelopeResult:
        """Where one action may lead.

        Args:
            T_commanded: (4, 4) commanded pose before this action.
            values: the action, or its (7,) array as it came.
            T_measured: (4, 4) measured pose.
            now_s: monotonic time in seconds.
        """
        try:
            action = values if isinstance(values, Action) else Action.from_array(values)
        except InvalidActionError as error:
            return self._dropped(T_commanded, error)
        self._invalid_in_a_row = 0

        limits, clamped = self.limits, []
        T_start, leashed = self._leash(T_commanded, T_measured)
        if leashed:
            clamped.append("leash")
        translation = self._scale_translation(T_start[:3, 3], action.translation, now_s, clamped)
        rotation = self._scale_rotation(T_start[:3, :3], action.rotation, now_s, clamped)
        self._previous = (now_s, float(np.linalg.norm(translation)), float(np.linalg.norm(rotation)))

        executed = Action(translation, rotation, action.gripper)
        T_target = executed.applied_to(T_start)
        T_target[:3, 3] = _within(T_target[:3, 3], T_start[:3, 3], limits)
        halt = (
            self._outside(T_measured) or self._leash_halt(leashed, now_s) or self._clamped_halt(tuple(clamped), now_s)
        )
        return EnvelopeResult(T_target, executed, tuple(clamped), halt)

    def _dropped(self, T_commanded: Array, error: InvalidActionError) -> EnvelopeResult:
        self._invalid_in_a_row += 1
        self._previous = None
        halt = None
        if self._invalid_in_a_row >= self.limits.invalid_in_a_row_max:
            halt = f"{self._invalid_in_a_row} invalid actions in a row, the last: {error}"
        return EnvelopeResult(T_commanded, None, ("invalid",), halt)

    def _leash(self, T_commanded: Array, T_measured: Array) -> tuple[Array, bool]:
        translation, rotation = poses.delta_between(T_measured, T_commanded)
        if np.linalg.norm(translation) <= self.limits.leash_m and np.linalg.norm(rotation) <= self.limits.leash_rad:
            return T_commanded, False
        translation = limit_norm(translation, self.limits.leash_m)
        return poses.apply_delta(T_measured, translation, limit_norm(rotation, self.limits.leash_rad)), True

    def _scale_translation(self, start: Array, step: Array, now_s: float, clamped: list[str]) -> Array:
        limits = self.limits
        step = _limited(step, limits.step_translation_m, "step_translation", clamped)
        step = _limited(step, limits.velocity_m_s * STEP_PERIOD_S, "velocity", clamped)
        largest = self._previous_norm(1, now_s) + limits.acceleration_m_s2 * STEP_PERIOD_S**2
        step = _limited(step, largest, "acceleration", clamped)
        step = self._brake(step, partial(limits.free_fraction, start), "motion_box", clamped)
        for box in limits.keep_outs:
            step = self._brake(step, partial(box.entry, start), f"keep_out {box.name}", clamped)
        return step

    def _brake(self, step: Array, free: Callable[[Array], float], name: str, clamped: list[str]) -> Array:
        """Scale a step so that the arm, braking after it, comes to rest in front of an obstacle.

        ``free`` tells which fraction of a step (3,) may be made. From a step of length n the arm needs n^2 / (2 a T^2)
        more to come to rest.
        """
        length = float(np.linalg.norm(step))
        if length == 0.0:
            return step
        twice_braking = 2.0 * self.limits.braking_m_s2 * STEP_PERIOD_S**2
        ahead_m = length + length**2 / twice_braking
        fraction = free(step * (ahead_m / length))
        if fraction >= 1.0:
            return step
        clamped.append(name)
        free_m = max(fraction * ahead_m - _STANDOFF_M, 0.0)
        return step * (0.5 * twice_braking * (math.sqrt(1.0 + 4.0 * free_m / twice_braking) - 1.0) / length)

    def _scale_rotation(self, start: Array, step: Array, now_s: float, clamped: list[str]) -> Array:
        limits = self.limits
        step = _limited(step, limits.step_rotation_rad, "step_rotation", clamped)
        step = _limited(step, limits.angular_velocity_rad_s * STEP_PERIOD_S, "angular_velocity", clamped)
        largest = self._previous_norm(2, now_s) + limits.angular_acceleration_rad_s2 * STEP_PERIOD_S**2
        step = _limited(step, largest, "angular_acceleration", clamped)

        def tilt_after(fraction: float) -> float:
            return tilt_rad(poses.rotation_vector_to_matrix(fraction * step) @ start)

        allowed = max(limits.tilt_max_rad, tilt_rad(start))
        if tilt_after(1.0) > allowed:
            clamped.append("tilt")
            low, high = 0.0, 1.0
            for _ in range(_BISECTIONS):
                middle = 0.5 * (low + high)
                low, high = (middle, high) if tilt_after(middle) <= allowed else (low, middle)
            step = step * low
        return step

    def _previous_norm(self, index: int, now_s: float) -> float:
        """Size of the last step, or zero when it was so long ago that the arm stood still since."""
        if self._previous is None or now_s - self._previous[0] > 2.5 * STEP_PERIOD_S:
            return 0.0
        return self._previous[index]

    def _outside(self, T_measured: Array) -> str | None:
        outside = self.limits.outside_m(T_measured[:3, 3])
        if not outside.any():
            return None
        return f"the TCP is outside motion_box by {_millimetres(outside)}"

    def _leash_halt(self, leashed: bool, now_s: float) -> str | None:
        if not leashed:
            self._leash_since_s = None
            return None
        if self._leash_since_s is None:
            self._leash_since_s = now_s
        if now_s - self._leash_since_s <= self.limits.leash_time_s:
            return None
        return (
            f"the arm does not follow: {self.limits.leash_m * 1e3:.0f} mm / {math.degrees(self.limits.leash_rad):.0f}"
            f" degrees behind its commands for {self.limits.leash_time_s:g} s; is it blocked?"
        )

    def _clamped_halt(self, clamped: tuple[str, ...], now_s: float) -> str | None:
        clamped = tuple(name for name in clamped if name != "leash")  # which has a time limit of its own
        self._recent.append((now_s, bool(clamped)))
        while self._recent and now_s - self._recent[0][0] > self.limits.clamped_window_s:
            self._recent.popleft()
        count = sum(was_clamped for _, was_clamped in self._recent)
        fraction = count / len(self._recent)
        if len(self._recent) < _FEWEST_SAMPLES or fraction <= self.limits.clamped_fraction_max or not clamped:
            return None
        return (
            f"{count} of the last {len(self._recent)} commands were beyond the limits (at most"
            f" {self.limits.clamped_fraction_max:.0%} may be), the last: {', '.join(clamped)}"
        )


def _limited(step: Array, maximum: float, name: str, clamped: list[str]) -> Array:
    limited = limit_norm(step, maximum)
    if limited is not step:
        clamped.append(name)
    return limited


def _within(target: Array, start: Array, limits: EnvelopeLimits) -> Array:
    """The target without what rounding added beyond the box; a start outside keeps its own bound."""
    low = np.minimum(limits.motion_box_min_m, start)
    high = np.maximum(limits.motion_box_max_m, start)
    return np.asarray(np.clip(target, low, high))


def _millimetres(offset_m: Array) -> str:
    return ", ".join(f"{axis} {value * 1e3:+.0f} mm" for axis, value in zip("xyz", offset_m, strict=True) if value)
