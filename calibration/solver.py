"""The camera's place from views of the board: closed form, then joint robust least squares, then how good it is.

1. The closed form that most views agree with (closed_form.py).
2. Views that miss it by far are left out and named.
3. Joint least squares over the camera's pose, the board's mount and, on request, the intrinsics: all corners of all
   views, whitened by the covariance of their corners and of their hand pose, under a Huber loss (scipy).
4. Statistics over views (estimation.py): hold-out errors, intervals, what is wrong with each view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import chi2

from clar_calibration.board import Board
from clar_calibration.closed_form import METHODS, closed_form, combined_errors, consensus
from clar_calibration.detection import Detection, board_pose
from clar_calibration.estimation import (
    Estimate,
    Noise,
    bootstrap,
    condense,
    displacement,
    estimate,
    estimate_noise,
    estimate_scale,
)
from clar_calibration.problem import UNKNOWNS, HandEye, Problem
from clar_calibration.samples import SetUp
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import delta_between, inverse, transform_points

Array = NDArray[np.float64]

LEAST_VIEWS = 6
CONFIDENCE = 0.95
_HUBER = 3.0
_ROUNDS = 3
_COARSE_FACTOR = 5.0
_COARSE_FLOOR_M = 0.003
_OUTLIER_PROBABILITY = 1e-7
_INTRINSICS = 4


class SolveError(ValueError):
    """The views do not determine the camera's pose; the text says why and what to add."""


@dataclass(frozen=True, eq=False)
class Interval:
    """Largest errors that are plausible with 95 % confidence.

    Attributes:
        translation_mm: (3,) half widths of the camera's position, along the axes of its parent frame.
        rotation_deg: (3,) half widths of its rotation, about the axes of its parent frame.
        distance_mm: error of the camera's position.
        angle_deg: error of its rotation.
        at_work_mm: displacement of what it sees in the middle of the views.
    """

    translation_mm: Array
    rotation_deg: Array
    distance_mm: float
    angle_deg: float
    at_work_mm: float


@dataclass(frozen=True, eq=False)
class View:
    """What became of one view: the names of what speaks against it, and its errors when the others predict it."""

    number: int
    used: bool
    reprojection_px: float
    held_out_mm: float
    held_out_deg: float
    remark: str = ""


@dataclass(frozen=True, eq=False)
class Solution:
    """The camera's pose and all that is known about it.

    Attributes:
        hand_eye: X = T_parent_camera and Y = T_carrier_board, of the colour camera.
        intrinsics: of the colour camera: refined when that was asked for, otherwise as given.
        views: one entry for each view given, used or not.
        interval: 95 % intervals of X.
        errors: (draws, 12) bootstrap errors behind them.
        noise: sizes of corner and hand errors.
        estimate: the linear statistics.
        held_out_mm, held_out_deg: root mean square errors of views predicted by the others.
        scale, scale_std: true over assumed size of the board, as the hand's motion tells it.
        starts: the closed forms alone, by name, where they have an answer.
        problem: the views that were used.
        centre: (3,) middle of the views, in the parent frame.
    """

    hand_eye: HandEye
    intrinsics: Intrinsics
    views: tuple[View, ...]
    interval: Interval
    errors: Array
    noise: Noise
    estimate: Estimate
    held_out_mm: float
    held_out_deg: float
    scale: float
    scale_std: float
    starts: dict[str, HandEye]
    problem: Problem
    centre: Array
    remarks: tuple[str, ...] = field(default_factory=tuple)

    @property
    def used(self) -> list[int]:
        """Numbers of the views that were used."""
        return [view.number for view in self.views if view.used]


def solve(
    set_up: SetUp,
    T_base_tcp: Array,
    detections: Sequence[Detection],
    board: Board,
    intrinsics: Intrinsics,
    *,
    refine_intrinsics: bool = False,
    seed: int = 0,
) -> Solution:
    """Solve for the colour camera's pose.

    Args:
        set_up: ``eye_to_hand`` or ``eye_in_hand``.
        T_base_tcp: (k, 4, 4) measured hand poses.
        detections: k views of the board.
        board: its true size.
        intrinsics: of the colour images, with the right direction of the lens model.
        refine_intrinsics: solve for focal lengths and centre, too. Needs many views that fill the picture.
        seed: of the random parts.

    Raises:
        SolveError: too few views, or views that do not determine the pose.
    """
    if len(detections) < LEAST_VIEWS:
        raise SolveError(f"too few views: {len(detections)}, at least {LEAST_VIEWS} are needed and 20 are good")
    problem = Problem(set_up, T_base_tcp, detections, board, intrinsics)
    seen = np.array([board_pose(d, board, intrinsics) for d in detections])
    start = consensus(problem.A, seen, seed=seed)
    if start is None:
        raise SolveError(
            "the views do not determine the camera's pose: no closed form has an answer; turn the board about at least"
            " two different axes, by 20 degrees or more"
        )
    solution, kept = start[0], _coarse_inliers(combined_errors(problem.A, seen, start[0]))
    noise = Noise(0.2, 5e-4, 1e-3)
    for round_ in range(_ROUNDS):
        part = problem.subset(kept)
        solution, intrinsics = _least_squares(part, solution, noise, refine_intrinsics and round_ == _ROUNDS - 1)
        if intrinsics != problem.intrinsics:
            problem = Problem(set_up, T_base_tcp, detections, board, intrinsics)
            part = problem.subset(kept)
        noise = estimate_noise(condense(part, solution))
        kept = _inliers(problem, solution, noise, kept)
    part = problem.subset(kept)
    views = condense(part, solution)
    noise = estimate_noise(views)
    statistics = estimate(views, noise)
    centre = _centre(part, solution)
    errors = bootstrap(statistics, seed=seed)
    held_out_mm, held_out_deg = _held_out(part, seen[kept], solution, statistics)
    scale, scale_std = estimate_scale(views, noise)
    starts = {name: found for name in METHODS if (found := closed_form(problem.A, seen, name)) is not None}
    return Solution(
        hand_eye=solution,
        intrinsics=intrinsics,
        views=_views(problem, seen, solution, kept, statistics),
        interval=_interval(errors, solution, centre),
        errors=errors,
        noise=noise,
        estimate=statistics,
        held_out_mm=float(np.sqrt(np.mean(held_out_mm**2))),
        held_out_deg=float(np.sqrt(np.mean(held_out_deg**2))),
        scale=scale,
        scale_std=scale_std,
        starts=starts,
        problem=part,
        centre=centre,
    )


def _least_squares(
    problem: Problem, start: HandEye, noise: Noise, refine_intrinsics: bool
) -> tuple[HandEye, Intrinsics]:
    """All corners of all views, whitened view by view, under a Huber loss."""
    whiten = _whitening(problem, start, noise)
    intrinsics = problem.intrinsics

    def at(delta: Array) -> Problem:
        if not refine_intrinsics:
            return problem
        return Problem(
            problem.set_up, problem.T_base_tcp, problem.detections, problem.board, _refined(intrinsics, delta)
        )

    def residuals(delta: Array) -> Array:
        raw = at(delta).linearize(start.moved(delta)).residuals
        return np.concatenate([L @ raw[rows].reshape(-1) for L, rows in whiten])

    def jacobian(delta: Array) -> Array:
        here = at(delta).linearize(start.moved(delta))
        columns = here.unknowns
        if refine_intrinsics:
            columns = np.concatenate([columns, _by_intrinsics(at(delta), delta, intrinsics)], axis=2)
        return np.concatenate([L @ columns[rows].reshape(-1, columns.shape[2]) for L, rows in whiten])

    unknowns = UNKNOWNS + (_INTRINSICS if refine_intrinsics else 0)
    found = least_squares(residuals, np.zeros(unknowns), jac=jacobian, loss="huber", f_scale=_HUBER, x_scale="jac")
    if not np.isfinite(found.x).all():
        raise SolveError("the least squares did not converge; are robot poses and pictures of the same moments?")
    return start.moved(found.x), _refined(intrinsics, found.x) if refine_intrinsics else intrinsics


def _whitening(problem: Problem, solution: HandEye, noise: Noise) -> list[tuple[Array, NDArray[np.bool_]]]:
    """For each view the inverse square root of the covariance of its residuals, and its rows."""
    at = problem.linearize(solution)
    result = []
    for i in range(len(problem)):
        rows = problem.pose == i
        J = at.hand[rows].reshape(-1, 6)
        covariance = noise.corner_px**2 * np.eye(len(J)) + J @ noise.hand_covariance @ J.T
        values, vectors = np.linalg.eigh(covariance)
        # the symmetric root, so that an outlying corner stays one large residual
        result.append(((vectors / np.sqrt(values)) @ vectors.T, rows))
    return result


def _refined(intrinsics: Intrinsics, delta: Array) -> Intrinsics:
    fx, fy, cx, cy = delta[UNKNOWNS:]
    return replace(
        intrinsics,
        fx=intrinsics.fx * np.exp(fx),
        fy=intrinsics.fy * np.exp(fy),
        cx=intrinsics.cx + 100.0 * cx,
        cy=intrinsics.cy + 100.0 * cy,
    )


def _by_intrinsics(problem: Problem, delta: Array, intrinsics: Intrinsics) -> Array:
    """(n, 2, 4) derivatives of the residuals by the intrinsics' unknowns, by differences."""
    step = 1e-6
    columns = []
    for index in range(_INTRINSICS):
        changed = delta.copy()
        changed[UNKNOWNS + index] += step
        other = Problem(
            problem.set_up, problem.T_base_tcp, problem.detections, problem.board, _refined(intrinsics, changed)
        )
        columns.append(-problem.focal_px * (other.seen - problem.seen) / step)
    return np.stack(columns, axis=2)


def _coarse_inliers(errors_m: Array) -> NDArray[np.int64]:
    limit = max(_COARSE_FACTOR * 1.4826 * float(np.median(errors_m)), _COARSE_FLOOR_M)
    kept = np.flatnonzero(errors_m < limit)
    return kept if len(kept) >= LEAST_VIEWS else np.argsort(errors_m)[:LEAST_VIEWS]


def _inliers(problem: Problem, solution: HandEye, noise: Noise, kept: NDArray[np.int64]) -> NDArray[np.int64]:
    """Views that fit what the kept ones say, by their Mahalanobis distance; at most a third may fall out."""
    distances = _distances(problem, solution, noise, kept)
    good = np.flatnonzero(distances < chi2.ppf(1.0 - _OUTLIER_PROBABILITY, 6))
    least = max(LEAST_VIEWS, (2 * len(problem)) // 3)
    return good if len(good) >= least else np.sort(np.argsort(distances)[:least])


def _distances(problem: Problem, solution: HandEye, noise: Noise, kept: NDArray[np.int64]) -> Array:
    everything = condense(problem, solution)
    inside = estimate(condense(problem.subset(kept), solution), noise)
    noise_covariance = noise.corner_px**2 * everything.corners + noise.hand_covariance
    distances = np.zeros(len(problem))
    for i in range(len(problem)):
        if i in kept:
            distances[i] = inside.distance[int(np.flatnonzero(kept == i)[0])]
        else:
            rest = everything.d[i] - everything.G[i] @ inside.theta
            spread = noise_covariance[i] + everything.G[i] @ inside.covariance @ everything.G[i].T
            distances[i] = rest @ np.linalg.solve(spread, rest)
    return distances


def _miss(A: Array, seen: Array, solution: HandEye, centre: Array) -> tuple[float, float]:
    """Distance in mm at the board's centre, and angle in degrees, between where a board was seen and is predicted."""
    predicted = inverse(solution.X) @ A @ solution.Y
    _, rotation = delta_between(predicted, seen)
    gap = transform_points(predicted, centre[None]) - transform_points(seen, centre[None])
    return float(np.linalg.norm(gap)) * 1e3, float(np.degrees(np.linalg.norm(rotation)))


def _held_out(problem: Problem, seen: Array, solution: HandEye, statistics: Estimate) -> tuple[Array, Array]:
    centre = problem.board.outline.mean(axis=0)
    pairs = [
        _miss(problem.A[i], seen[i], solution.moved(statistics.theta + statistics.influence[i]), centre)
        for i in range(len(problem))
    ]
    return np.array([mm for mm, _ in pairs]), np.array([deg for _, deg in pairs])


def _views(
    problem: Problem, seen: Array, solution: HandEye, kept: NDArray[np.int64], statistics: Estimate
) -> tuple[View, ...]:
    residuals = problem.linearize(solution).residuals
    centre = problem.board.outline.mean(axis=0)
    views = []
    for i in range(len(problem)):
        pixels = float(np.sqrt(np.mean(np.sum(residuals[problem.pose == i] ** 2, axis=1))))
        used = bool(np.isin(i, kept))
        other = solution
        if used:
            other = solution.moved(statistics.theta + statistics.influence[int(np.flatnonzero(kept == i)[0])])
        mm, deg = _miss(problem.A[i], seen[i], other, centre)
        remark = ""
        if not used:
            remark = (
                f"outlier: the board was {mm:.1f} mm and {deg:.2f} degrees from where the other views put it; did the"
                " arm or the board still move, or did the board slip in the hand?"
            )
        views.append(View(i, used, pixels, mm, deg, remark))
    return tuple(views)


def _interval(errors: Array, solution: HandEye, centre: Array) -> Interval:
    def bound(values: Array) -> Array:
        return np.asarray(np.quantile(np.abs(values), CONFIDENCE, axis=0))

    return Interval(
        translation_mm=bound(errors[:, :3]) * 1e3,
        rotation_deg=np.degrees(bound(errors[:, 3:6])),
        distance_mm=float(bound(np.linalg.norm(errors[:, :3], axis=1))) * 1e3,
        angle_deg=float(np.degrees(bound(np.linalg.norm(errors[:, 3:6], axis=1)))),
        at_work_mm=float(bound(displacement(errors, solution.X, centre))) * 1e3,
    )


def _centre(problem: Problem, solution: HandEye) -> Array:
    """Middle of the boards that were seen, in the camera's parent frame."""
    middle = problem.board.outline.mean(axis=0)[None]
    return np.mean([transform_points(A @ solution.Y, middle)[0] for A in problem.A], axis=0)
