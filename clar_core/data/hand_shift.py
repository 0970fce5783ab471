"""Demonstrations that never happened: the open hand set beside its way, and the motion that brings it back.

A hand that has grasped nothing is not tied to the scene. So the points of the arm, the state with them, may be shifted
against the objects, and the label becomes what leads back to the demonstrated way within the next ticks, before the
fingers close. Thirty demonstrations show thirty ways; shifted, they show how an approach that goes astray is saved, and
that the fingers close over the object rather than at a place. Shown closed, while the demonstration has it open, the
hand tells what to do after it closed on nothing.

The idea is that of SPARTN (Zhou et al., CVPR 2023), which renders the moved hand from a field of radiance; points in
the base frame need no renderer. What the shifted hand would hide or lay bare is not redone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clar_core.data.planar_motion import PlanarMotion
from clar_core.observation.spec import ObservationSpec

if TYPE_CHECKING:
    from clar_core.data.augmentation import AugmentationConfig

Array = NDArray[np.float32]

OPEN_WIDTH_M = 0.03
"""A hand that has come to rest less open than this may be holding something, and is not shifted."""

HELD_WIDTH_M = 0.015
"""A hand that is fully closed is known to be empty where the demonstration never closes it as far as this."""

_DRAWS = 4
_OPENING_TICKS = 8
"""A hand that is shown closed has this long to open before it is back on its way; half closed, half as long."""
_TOUCHING = 3
"""So many points of the scene inside the shifted hand are a collision."""
_HAND_M = ((-0.045, -0.115, -0.22), (0.045, 0.115, -0.030))
"""Box of the hand and of the flange above it, in the TCP frame: x, y (the fingers' axis), z (out of the hand)."""
_FINGER_HALF_X_M, _FINGER_THICK_M, _FINGERTIP_M = 0.018, 0.030, 0.012
_TURN_RAD = np.pi / 4
"""No shift leaves more to turn than this, or than the demonstration has to: past the middle between two grasps of a
symmetric object, the shorter way is the other one, and the label would say the opposite."""
_ARM_ABOVE_M = 0.13
"""What is this much higher than the TCP is the arm: objects stand lower."""


@dataclass(frozen=True)
class Approach:
    """What a step's future allows.

    Attributes:
        ticks: until the fingers are first told to close, or the episode ends; 0 while they are.
        lowest_m: height of the TCP at the lowest place of its episode: lower than that nothing is known to be free.
        narrowest_m: smallest opening of the episode.
        turn_rad: how far the hand still turns about the vertical until then, the short way round.
    """

    ticks: int
    lowest_m: float
    narrowest_m: float = 0.0
    turn_rad: float = 0.0


def approaches(states: Array, grippers: Array, spec: ObservationSpec) -> list[Approach]:
    """The :class:`Approach` of every step of an episode.

    Args:
        states: (T, 10) proprioception.
        grippers: (T,) targets, 1 open.
        spec: for the gripper's largest width.
    """
    widths = states[:, 9] * spec.gripper_max_width_m
    lowest, narrowest = float(states[:, 2].min()), float(widths.min())
    free = (grippers > 0.5) & (widths > OPEN_WIDTH_M)
    yaws = np.arctan2(states[:, 4], states[:, 3])
    ticks, found, closing_yaw = 0, [], float(yaws[-1])
    for is_free, yaw in zip(free[::-1], yaws[::-1], strict=True):
        ticks = ticks + 1 if is_free else 0
        closing_yaw = closing_yaw if is_free else float(yaw)
        turn = float(np.remainder(closing_yaw - yaw + np.pi, 2 * np.pi) - np.pi)
        found.append(Approach(ticks, lowest, narrowest, turn))
    return found[::-1]


def is_arm(cloud: Array, state: Array, spec: ObservationSpec) -> NDArray[np.bool_]:
    """Which points (n,) of a cloud (n, 3) in the base frame belong to the hand, its fingers and the arm above.

    What lies between open fingers does not.
    """
    return (cloud[:, 2] > state[2] + _ARM_ABOVE_M) | _in_hand(cloud, state, _width_m(state, spec))


def _width_m(state: Array, spec: ObservationSpec) -> float:
    return float(state[9]) * spec.gripper_max_width_m


def _local(cloud: Array, state: Array) -> Array:
    """Points in the TCP frame."""
    x_axis, y_axis = state[3:6], state[6:9]
    return np.asarray((cloud - state[:3]) @ np.stack([x_axis, y_axis, np.cross(x_axis, y_axis)], axis=1))


def _in_hand(cloud: Array, state: Array, width_m: float) -> NDArray[np.bool_]:
    local = _local(cloud, state)
    low, high = _HAND_M
    return np.asarray(((local >= low) & (local <= high)).all(axis=1) | _in_fingers(local, width_m))


def _in_fingers(local: Array, width_m: float) -> NDArray[np.bool_]:
    x, y, z = np.abs(local[:, 0]), np.abs(local[:, 1]), local[:, 2]
    fingers = (x < _FINGER_HALF_X_M) & (z > _HAND_M[1][2]) & (z < _FINGERTIP_M)
    return np.asarray(fingers & (y > width_m / 2 - 0.006) & (y < width_m / 2 + _FINGER_THICK_M))


def _between_fingers(cloud: Array, state: Array, width_m: float) -> NDArray[np.bool_]:
    local = _local(cloud, state)
    x, y, z = np.abs(local[:, 0]), np.abs(local[:, 1]), local[:, 2]
    return np.asarray((x < _FINGER_HALF_X_M) & (y < width_m / 2) & (z > _HAND_M[1][2]) & (z < _FINGERTIP_M))


@dataclass(frozen=True, eq=False)
class HandShift:
    """A motion of the arm against the scene, undone over the next ticks: evenly, or first upwards and then the rest.

    Attributes:
        motion: turns about the vertical axis through the TCP, and shifts.
        ticks: over which the actions undo it.
        closed: whether the hand is shown closed on nothing, too. Actions keep the demonstrated gripper: open.
        opening: how far a hand that is shown closed has opened again, as a part of its width.
        rise_ticks: the first of the ticks, in which it only goes up.
    """

    motion: PlanarMotion
    ticks: int
    closed: bool = False
    opening: float = 0.0
    rise_ticks: int = 0

    def move_cloud(self, cloud: Array, state: Array, spec: ObservationSpec) -> Array:
        """A copy of a cloud (n, 3) that was seen in this state, with the arm's points moved."""
        arm = is_arm(cloud, state, spec)
        points = cloud[arm]
        if self.closed:
            local, width = _local(points, state), _width_m(state, spec)
            inwards = _in_fingers(local, width) * np.sign(local[:, 1]) * (1 - self.opening) * width / 2
            points = points - inwards[:, None].astype(np.float32) * state[6:9]
        moved = cloud.copy()
        moved[arm] = self.motion.move_points(points)
        return moved

    def move_state(self, state: Array) -> Array:
        """Proprioception (10,)."""
        moved = self.motion.move_state(state)
        if self.closed:
            moved[9] *= self.opening
        return moved

    def correct(self, actions: Array) -> Array:
        """Actions (chunk, 7) from now on, with what undoes the motion."""
        corrected, rise, end = actions.copy(), self.rise_ticks, self.ticks
        undone = np.r_[self.motion.translation_m, self.motion.yaw_rad]
        if rise:
            corrected[:rise, 2] -= undone[2] / rise
            undone[2] = 0.0
        if end > rise:
            corrected[rise:end, [0, 1, 2, 5]] -= undone / (end - rise)
        return corrected


def shift_hand(
    rng: np.random.Generator,
    clouds: Sequence[Array],
    states: Array,
    actions: Array,
    approach: Approach,
    config: AugmentationConfig,
    spec: ObservationSpec,
) -> tuple[list[Array], Array, Array]:
    """Observations over time (the present one last) and the actions from now on, with the arm shifted or as they are.

    Args:
        clouds: one (n, 3) for each observation; none, where states and actions alone are of interest.
        states: (history, 10).
        actions: (chunk, 7).
        approach, config, spec: see :func:`draw_hand_shift`.
    """
    shift = draw_hand_shift(rng, states[-1], approach, config, spec, clouds[-1] if clouds else None)
    if shift is None:
        return list(clouds), states, actions
    moved = [shift.move_cloud(cloud, state, spec) for cloud, state in zip(clouds, states, strict=bool(clouds))]
    return moved, np.stack([shift.move_state(state) for state in states]), shift.correct(actions)


def draw_hand_shift(
    rng: np.random.Generator,
    state: Array,
    approach: Approach,
    config: AugmentationConfig,
    spec: ObservationSpec,
    cloud: Array | None = None,
) -> HandShift | None:
    """A random shift that can be undone before the fingers close, or none.

    Refused are those that take the TCP out of reach or below the episode's lowest place, or the hand into the scene.

    Args:
        state: (10,) proprioception.
        approach: what the step's future allows.
        config: how often, how far.
        spec: for the gripper's largest width.
        cloud: (n, 3); without it the scene is not looked at.
    """
    if not config.hand_share or approach.ticks < 2 or rng.uniform() >= config.hand_share:
        return None
    low, high = np.asarray(config.reach_min_m), np.asarray(config.reach_max_m)
    width = _width_m(state, spec)
    may_close = approach.narrowest_m > HELD_WIDTH_M and (
        approach.ticks > _OPENING_TICKS or config.hand_opening_share > 0
    )
    closed = may_close and rng.uniform() < config.hand_closed_share
    opens = closed and config.hand_opening_share > 0 and rng.uniform() < config.hand_opening_share
    opening = rng.uniform() if opens else 0.0
    if approach.ticks <= _OPENING_TICKS * (1.0 - opening):
        closed, opens, opening = False, False, 0.0
    goes_low = config.hand_low_share > 0 and rng.uniform() < config.hand_low_share
    to_turn, most = approach.turn_rad, max(abs(approach.turn_rad), _TURN_RAD)
    least_yaw, most_yaw = np.clip((to_turn - most, to_turn + most), -config.hand_yaw_rad, config.hand_yaw_rad)
    for _ in range(_DRAWS):
        radius, angle, height, turn = rng.uniform(size=4)
        rise = (2 * height - 1) * config.hand_z_m
        if (closed or goes_low) and rise < 0:  # hands close on nothing at any height
            rise = (2 * height - 1) * max(float(state[2]) - approach.lowest_m, 0.0)
        aside = radius * config.hand_xy_m * np.array([np.cos(2 * np.pi * angle), np.sin(2 * np.pi * angle)])
        yaw = float(least_yaw + turn * (most_yaw - least_yaw))
        hand_shift = _undone_in_time(np.r_[aside, rise], yaw, state, approach, config, up_first=goes_low and rise < 0)
        hand_shift = replace(hand_shift, closed=closed, opening=opening)
        moved = hand_shift.move_state(state)
        if moved[2] < min(approach.lowest_m, state[2]) or not ((moved[:3] >= low) & (moved[:3] <= high)).all():
            continue
        if cloud is not None:
            scene = cloud[~is_arm(cloud, state, spec)]
            if _in_hand(scene, moved, width).sum() >= _TOUCHING:
                continue
            if opens and _between_fingers(scene, moved, width).sum() >= _TOUCHING:
                continue
        return hand_shift
    return None


def _undone_in_time(
    shift: NDArray[np.float64],
    yaw_rad: float,
    state: Array,
    approach: Approach,
    config: AugmentationConfig,
    *,
    up_first: bool,
) -> HandShift:
    """As much of a shift and of a turn as the ticks before the fingers close can undo.

    ``up_first``: beside an object, where the way back is up before it is sideways.
    """
    free, rise_ticks = approach.ticks - 1, 0
    if up_first:
        up, rise_ticks = _shrunk(shift[2:], free, config.hand_return_m)
        free -= rise_ticks
        aside, needed = _shrunk(shift[:2], free, config.hand_return_m)
        shift = np.r_[aside, up]
    else:
        shift, needed = _shrunk(shift, free, config.hand_return_m)
    turn, needed_turn = _shrunk(np.array([yaw_rad]), free, config.hand_return_rad)
    motion = PlanarMotion(float(turn[0]), shift.astype(np.float32), state[:3])
    return HandShift(motion, max(rise_ticks + max(needed, needed_turn), 1), rise_ticks=rise_ticks)


def _shrunk(vector: Array | NDArray[np.float64], ticks: int, pace: float) -> tuple[NDArray[np.float64], int]:
    """As much of a vector as so many ticks of a pace undo, and how many of them it takes."""
    needed = float(np.linalg.norm(vector)) / pace
    allowed = min(1.0, ticks / max(needed, 1e-6))
    return np.asarray(vector, np.float64) * allowed, int(np.ceil(needed * allowed - 1e-6))
