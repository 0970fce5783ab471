"""Which hand poses to calibrate at: the board seen whole and large, every way reachable, and together well spread.

Candidates are drawn at random in the motion box, with the board turned towards the camera and then away from it by up
to forty degrees about any axis. From those that pass, the set is grown by the pose that tells most about the unknowns
(D-optimal design): that is what makes it well spread. The order is that of the shortest way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clar_calibration.board import Board
from clar_calibration.diagnosis import SPREAD_GOOD_DEG, rotation_spread_deg
from clar_calibration.estimation import Noise, view_information
from clar_calibration.kinematics import Arm, path_between
from clar_calibration.problem import HandEye
from clar_calibration.samples import SetUp
from clar_core.control.envelope import KeepOut, tilt_rad
from clar_core.geometry.camera import Intrinsics, project
from clar_core.geometry.poses import (
    delta_between,
    inverse,
    make_pose,
    orthonormalize,
    rotation_vector_to_matrix,
    transform_points,
)

Array = NDArray[np.float64]

_NOISE = Noise(0.15, 3e-4, 5e-4)
_TRIES = 4000
_RAD_PER_M = 2.0


class PlanError(ValueError):
    """No set of poses fits; the text says which condition ruled out most candidates."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanSettings:
    """What poses must satisfy. Lengths in metres, base frame.

    Attributes:
        box_min_m, box_max_m: where the TCP may be: the motion box of the cell.
        box_margin_m: distance kept from its sides.
        keep_outs: boxes inside it that the TCP may not enter.
        clearance_m: lowest height of the board's corners, if the board is on the hand.
        tilt_max_rad: of the TCP from straight down.
        turn_max_rad: how far the board is turned away from facing the camera.
        edge_px: distance of the board from the picture's edge.
        square_px: smallest side of a square in the picture.
    """

    box_min_m: tuple[float, float, float]
    box_max_m: tuple[float, float, float]
    box_margin_m: float = 0.02
    keep_outs: Sequence[KeepOut] = ()
    clearance_m: float = 0.04
    tilt_max_rad: float = np.radians(55.0)
    turn_max_rad: float = np.radians(40.0)
    edge_px: float = 12.0
    square_px: float = 16.0


@dataclass(frozen=True, eq=False)
class Plan:
    """Poses in the order of the way.

    Attributes:
        T_base_tcp: (k, 4, 4).
        joints_rad: (k, 7) the arm's joints there, when it comes the planned way.
        rotation_spread_deg: about the second most used axis.
        score: 0 to 1: rotation spread against what is good.
        expected_mm: standard deviation of the camera's position that the poses promise, per axis.
    """

    T_base_tcp: Array
    joints_rad: Array
    rotation_spread_deg: float
    score: float
    expected_mm: Array


def plan(
    count: int,
    *,
    set_up: SetUp,
    rough: HandEye,
    board: Board,
    intrinsics: Intrinsics,
    arm: Arm,
    start_joints_rad: Array,
    settings: PlanSettings,
    seed: int = 0,
) -> Plan:
    """Plan ``count`` poses from where the arm is.

    Args:
        count: poses wanted.
        set_up: which of the two.
        rough: where camera and board are, to some centimetres and degrees.
        board, intrinsics: of the colour camera.
        arm: the kinematics.
        start_joints_rad: (7,) where the arm starts; every way begins and ends at straight lines between poses.
        settings: limits.
        seed: of the draw.

    Raises:
        PlanError: fewer poses pass than were asked for, with what ruled the candidates out.
    """
    random = np.random.default_rng(seed)
    T_start = arm.pose(start_joints_rad)
    refusals: dict[str, int] = {}
    candidates: list[tuple[Array, Array]] = []
    judge = PoseJudge(set_up, rough, board, intrinsics, settings)
    for _ in range(_TRIES):
        if len(candidates) >= 5 * count:
            break
        T = _draw(random, T_start, set_up, rough, settings)
        reason = judge(T)
        if not reason:
            path = path_between(T_start, T)
            if any(judge.blocked(step) for step in path):
                reason = "the way there leaves the box or enters a keep-out"
            elif arm.follow(start_joints_rad, path) is None:
                reason = "the arm cannot go there: joint limits or singularity"
            else:
                information = view_information(set_up, rough, board, intrinsics, T, _NOISE)
                if information is not None:
                    candidates.append((T, information))
        if reason:
            refusals[reason] = refusals.get(reason, 0) + 1
    if len(candidates) < count:
        ranking = sorted(refusals.items(), key=lambda item: -item[1])
        raise PlanError(
            f"only {len(candidates)} of {count} poses are possible; candidates failed because"
            f" {'; '.join(f'{reason} ({number})' for reason, number in ranking[:3])}. Check motion_box, the camera's"
            " rough pose and how the board is held"
        )
    chosen = _most_telling(candidates, min(len(candidates), count + max(4, count // 4)))
    ordered = _ordered(T_start, [candidates[i][0] for i in chosen])
    others = [T for i, (T, _) in enumerate(candidates) if i not in chosen]
    return _checked(count, [*ordered, *others], [candidates[i][1] for i in chosen], arm, start_joints_rad, judge)


def _draw(random: np.random.Generator, T_start: Array, set_up: SetUp, rough: HandEye, settings: PlanSettings) -> Array:
    low = np.add(settings.box_min_m, settings.box_margin_m)
    high = np.subtract(settings.box_max_m, settings.box_margin_m)
    position = random.uniform(low, high)
    if set_up == "eye_to_hand":
        # turn about the vertical so that the board, as it is held, faces the camera from here
        facing = T_start[:3, :3]
        normal = -(facing @ rough.Y[:3, 2])
        towards = rough.X[:3, 3] - position
        yaw = np.arctan2(towards[1], towards[0]) - np.arctan2(normal[1], normal[0])
        facing = rotation_vector_to_matrix((0.0, 0.0, yaw)) @ facing
    else:
        facing = T_start[:3, :3]
    axis = random.standard_normal(3)
    angle = settings.turn_max_rad * np.sqrt(random.uniform(0.05, 1.0))
    turn = rotation_vector_to_matrix(angle * axis / np.linalg.norm(axis))
    return make_pose(orthonormalize(turn @ facing), position)


class PoseJudge:
    """Whether a hand pose shows the board well and is allowed."""

    def __init__(
        self, set_up: SetUp, rough: HandEye, board: Board, intrinsics: Intrinsics, settings: PlanSettings
    ) -> None:
        self._set_up, self._rough, self._board = set_up, rough, board
        self._intrinsics, self._settings = intrinsics, settings
        self._low = np.add(settings.box_min_m, 0.5 * settings.box_margin_m)
        self._high = np.subtract(settings.box_max_m, 0.5 * settings.box_margin_m)

    def blocked(self, T_base_tcp: Array) -> bool:
        """Whether the arm may not be there, on its way either."""
        position = T_base_tcp[:3, 3]
        if (position < self._low).any() or (position > self._high).any():
            return True
        if any(box.contains(position) for box in self._settings.keep_outs):
            return True
        return self._set_up == "eye_to_hand" and self._lowest(T_base_tcp) < self._settings.clearance_m

    def __call__(self, T_base_tcp: Array) -> str:
        """Why a pose is refused; empty when it is not."""
        settings, board = self._settings, self._board
        if tilt_rad(T_base_tcp[:3, :3]) > settings.tilt_max_rad:
            return "the hand would tilt too far"
        if self.blocked(T_base_tcp):
            return "hand or board would be too low, outside the box or in a keep-out"
        A = T_base_tcp if self._set_up == "eye_to_hand" else inverse(T_base_tcp)
        T = inverse(self._rough.X) @ A @ self._rough.Y
        outline = transform_points(T, board.outline)
        pixels = project(outline, self._intrinsics)
        if not np.isfinite(pixels).all():
            return "the board would be behind the camera"
        size = np.array([self._intrinsics.width, self._intrinsics.height])
        if (pixels < settings.edge_px).any() or (pixels > size - settings.edge_px).any():
            return "the board would not be whole in the picture"
        middle = outline.mean(axis=0)
        facing = float(T[:3, 2] @ middle / np.linalg.norm(middle))
        if facing < np.cos(np.radians(55.0)):
            return "the board would be seen from too far aside"
        across = np.linalg.norm(np.roll(pixels, -1, axis=0) - pixels, axis=1)
        squares = np.array([board.columns, board.rows, board.columns, board.rows])
        if (across / squares).min() < settings.square_px:
            return "the board would be too small in the picture"
        return ""

    def _lowest(self, T_base_tcp: Array) -> float:
        corners = transform_points(T_base_tcp @ self._rough.Y, self._board.outline)
        return float(corners[:, 2].min())


def _most_telling(candidates: list[tuple[Array, Array]], count: int) -> list[int]:
    """Greedy D-optimal choice."""
    chosen: list[int] = []
    total = 1e3 * np.eye(12)
    for _ in range(count):
        gains = [
            -np.inf if i in chosen else float(np.linalg.slogdet(total + information)[1])
            for i, (_, information) in enumerate(candidates)
        ]
        best = int(np.argmax(gains))
        chosen.append(best)
        total = total + candidates[best][1]
    return chosen


def _distance(T_a: Array, T_b: Array) -> float:
    translation, rotation = delta_between(T_a, T_b)
    return max(float(np.linalg.norm(translation)), float(np.linalg.norm(rotation)) / _RAD_PER_M)


def _ordered(T_start: Array, poses: list[Array]) -> list[Array]:
    """Nearest neighbour, then two-opt: a short way through all of them."""
    left, order, here = list(range(len(poses))), [], T_start
    while left:
        nearest = min(left, key=lambda i: _distance(here, poses[i]))
        left.remove(nearest)
        order.append(nearest)
        here = poses[nearest]
    route = [T_start, *(poses[i] for i in order)]
    improved = True
    while improved:
        improved = False
        for i in range(1, len(route) - 1):
            for j in range(i + 1, len(route)):
                after = route[j + 1] if j + 1 < len(route) else None
                old = _distance(route[i - 1], route[i]) + (0.0 if after is None else _distance(route[j], after))
                new = _distance(route[i - 1], route[j]) + (0.0 if after is None else _distance(route[i], after))
                if new < old - 1e-9:
                    route[i : j + 1] = route[i : j + 1][::-1]
                    improved = True
    return route[1:]


def _checked(
    count: int, ordered: list[Array], information: list[Array], arm: Arm, start_joints_rad: Array, judge: PoseJudge
) -> Plan:
    """The poses in an order in which each is reached from the one before; a dead end among them is left out."""
    start = (arm.pose(start_joints_rad), np.asarray(start_joints_rad, dtype=np.float64))
    way: list[tuple[Array, Array]] = []
    longest: list[tuple[Array, Array]] = []
    left = list(ordered)
    while left and len(way) < count:
        T_here, q = way[-1] if way else start
        found = _first_reachable(left, q, T_here, arm, judge)
        if found is not None:
            index, q = found
            way.append((left.pop(index), q))
            longest = max(longest, way[:], key=len)
        elif way:
            way.pop()
        else:
            break
    if 2 * len(longest) < count:
        raise PlanError(
            f"only {len(longest)} of {count} poses can be reached one after the other; move the arm nearer to the"
            " middle of motion_box and plan again, or take another seed"
        )
    poses, joints = zip(*longest, strict=True)
    spread, _ = rotation_spread_deg(np.array(poses))
    covariance = np.linalg.inv(np.sum(information, axis=0) + 1e-6 * np.eye(12))
    expected_mm = np.sqrt(np.diag(covariance)[:3]) * 1e3
    return Plan(np.array(poses), np.array(joints), spread, min(1.0, spread / SPREAD_GOOD_DEG), expected_mm)


def _first_reachable(
    poses: list[Array], joints_rad: Array, T_here: Array, arm: Arm, judge: PoseJudge
) -> tuple[int, Array] | None:
    """Index of the first pose that the arm can go to from here, and its joints (7,) there."""
    for index, T in enumerate(poses):
        path = path_between(T_here, T)
        reached = None if any(judge.blocked(step) for step in path) else arm.follow(joints_rad, path)
        if reached is not None:
            return index, reached
    return None
