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


@dataclass(frozen=True, kw_only=True)
class TopDownGrasp:
    """How something is grasped from above. Heights are over the point that the fingers close around.

    Attributes:
        width_m: of what is grasped, between the fingers.
        hover_m: height from which the hand comes down.
        retreat_m: height that it goes back to from beside the object.
        low_m: below this height it is close to contact and slows down.
        beside_m: below this height it must not move sideways.
        close_below_m: the fingers close below this height.
        deeper_m: so far below the point the hand is aimed. An expert that slowed down where the fingers close would
            teach a policy to hover there.
    """

    width_m: float
    hover_m: float = 0.085
    retreat_m: float = 0.105
    low_m: float = 0.065
    beside_m: float = 0.055
    deeper_m: float = 0.008
    close_below_m: float = 0.013

    def around(self, T_base_tcp: Array, point_m: Array) -> bool:
        """Whether the point is between the fingers."""
        offset = T_base_tcp[:3, 3] - point_m
        return float(np.linalg.norm(offset[:2])) < 0.020 and abs(float(offset[2])) < 0.022

    def holds(self, T_base_tcp: Array, gripper_width_m: float, point_m: Array) -> bool:
        """Whether the fingers have closed around the point."""
        return self.around(T_base_tcp, point_m) and gripper_width_m < self.width_m + 0.004

    def has_let_go(self, gripper_width_m: float) -> bool:
        """Whether the fingers are open wide enough to leave."""
        return gripper_width_m > self.width_m + 0.012

    def approach(self, T_base_tcp: Array, gripper_width_m: float, point_m: Array, rotation: Array) -> Action:
        """The next step of a hand that does not hold the object yet: above it, down, close."""
        tcp = T_base_tcp[:3, 3]
        height, aside = float(tcp[2] - point_m[2]), float(np.linalg.norm((point_m - tcp)[:2]))
        turned = float(np.trace(rotation @ T_base_tcp[:3, :3].T)) > 1 + 2 * np.cos(0.12)
        low = height < self.low_m
        if self.around(T_base_tcp, point_m) and aside < 0.017 and height < self.close_below_m:
            return hold(CLOSED)
        if turned and (aside < 0.010 or (aside < 0.016 and low)):
            return step_towards(T_base_tcp, point_m - (0.0, 0.0, self.deeper_m), rotation, OPEN, near=low)
        if low and not self.has_let_go(gripper_width_m):
            return step_towards(T_base_tcp, _at_height(tcp, point_m[2] + self.retreat_m + 0.010), rotation, OPEN)
        if height < self.beside_m and aside > 0.016:
            return step_towards(T_base_tcp, _at_height(tcp, point_m[2] + self.retreat_m), rotation, OPEN)
        return step_towards(T_base_tcp, _at_height(point_m, point_m[2] + self.hover_m), rotation, OPEN)


@dataclass(frozen=True, kw_only=True)
class SetDown:
    """How something held from above is put down at a place. Heights are of the TCP over the table, in metres."""

    clearance_m: float = 0.15
    lower_to_m: float = 0.060
    release_below_m: float = 0.085

    def step(self, T_base_tcp: Array, place_m: Array) -> Action:
        """The next step of a hand that holds the object: up, across, down, open; upright all the way."""
        tcp, present = T_base_tcp[:3, 3], T_base_tcp[:3, :3]
        upright = top_grasp(yaw_of(present), present, np.pi)
        aside = float(np.linalg.norm((place_m - tcp)[:2]))
        if aside < 0.030 and tcp[2] < self.release_below_m:
            return hold(OPEN)
        if aside < 0.025:
            return step_towards(T_base_tcp, _at_height(place_m, self.lower_to_m), upright, CLOSED)
        if tcp[2] < self.clearance_m - 0.05 and aside > 0.06:
            rise = _at_height(tcp, self.clearance_m)
            return step_towards(T_base_tcp, rise, upright, CLOSED, near=tcp[2] < 0.05)
        return step_towards(T_base_tcp, _at_height(place_m, self.clearance_m), upright, CLOSED)


def retreat(T_base_tcp: Array, height_m: float = 0.20) -> Action:
    """Open and straight up, after something was put down."""
    return step_towards(T_base_tcp, _at_height(T_base_tcp[:3, 3], height_m), T_base_tcp[:3, :3], OPEN)


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


def _at_height(position_m: Array, height_m: float) -> Array:
    return np.array([position_m[0], position_m[1], height_m])


def _bounded(vector: Array, limit: float) -> Array:
    norm = float(np.linalg.norm(vector))
    return vector if norm <= limit else vector * (limit / norm)
