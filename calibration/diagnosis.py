"""What is wrong with a set of views, told apart: too little turning, a board of another size, the two set-ups swapped,
the lens model the wrong way round; and what to add to a set that is only weak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from clar_calibration.board import Board
from clar_calibration.closed_form import consensus
from clar_calibration.detection import Detection, board_pose
from clar_calibration.estimation import condense, estimate, view_information
from clar_calibration.problem import Problem
from clar_calibration.samples import SetUp
from clar_calibration.solver import Solution
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import (
    inverse,
    make_pose,
    matrix_to_rotation_vector,
    rotation_vector_to_matrix,
)

Array = NDArray[np.float64]

SPREAD_LEAST_DEG = 4.0
"""With less turning about a second axis the camera's place along the first one is a guess."""
SPREAD_GOOD_DEG = 10.0
_BAD_FIT_M = 0.004
_MUCH_BETTER = 0.5
_SIZES = np.concatenate([np.linspace(0.6, 0.98, 20), np.linspace(1.02, 1.6, 30)])
_SIZE_DOUBT = 0.01
_ADVICE_DEG = 25.0
_ADVICE_GAIN = 0.10


class DiagnosisError(ValueError):
    """The views cannot give a calibration; the text names the one thing that is wrong."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found about a solved set.

    Attributes:
        rotation_spread_deg: standard deviation of the hand's rotation about its second most used axis.
        condition: ratio of the best to the worst known direction of the camera's displacement, 1 is ideal.
        lens_px: corner noise in pixels under each direction of the lens model.
        warnings: doubts, for people.
        advice: what to add, best first; empty for a good set.
    """

    rotation_spread_deg: float
    condition: float
    lens_px: dict[str, float]
    warnings: tuple[str, ...] = ()
    advice: tuple[str, ...] = field(default_factory=tuple)


def rotation_spread_deg(T_base_tcp: Array) -> tuple[float, Array]:
    """Spread of the hand's rotation about its second most used axis, and the three axes by use, rows of (3, 3)."""
    rotations = T_base_tcp[:, :3, :3]
    u, _, vt = np.linalg.svd(rotations.mean(axis=0))
    mean = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    vectors = np.array([matrix_to_rotation_vector(mean.T @ R) for R in rotations])
    values, axes = np.linalg.eigh(np.cov(vectors.T) if len(vectors) > 1 else np.zeros((3, 3)))
    return float(np.degrees(np.sqrt(max(values[1], 0.0)))), axes.T[::-1]


def refuse_hopeless(
    set_up: SetUp, T_base_tcp: Array, detections: Sequence[Detection], board: Board, intrinsics: Intrinsics
) -> None:
    """Raise DiagnosisError for views that no solver should be given.

    Raises:
        DiagnosisError: the hand was hardly turned, the set-ups are swapped, the board is of another size, or robot
            poses and pictures do not belong together.
    """
    spread, axes = rotation_spread_deg(T_base_tcp)
    if spread < SPREAD_LEAST_DEG:
        x, y, z = axes[1]
        raise DiagnosisError(
            f"degenerate poses: the hand was turned by only {spread:.1f} degrees about a second axis (at least"
            f" {SPREAD_LEAST_DEG:g}, better {SPREAD_GOOD_DEG:g}); add views with the hand turned by 20 to 40 degrees"
            f" about ({x:.1f}, {y:.1f}, {z:.1f}) of the TCP"
        )
    seen = np.array([board_pose(d, board, intrinsics) for d in detections])
    poses = {"eye_to_hand": T_base_tcp, "eye_in_hand": np.array([inverse(T) for T in T_base_tcp])}
    fits = {name: _fit(A, seen) for name, A in poses.items()}
    other = "eye_in_hand" if set_up == "eye_to_hand" else "eye_to_hand"
    if fits[set_up] < _BAD_FIT_M:
        return
    if fits[other] < _MUCH_BETTER * fits[set_up]:
        raise DiagnosisError(
            f"swapped set-up: as {set_up} the views disagree by {fits[set_up] * 1e3:.1f} mm, as {other} by only"
            f" {fits[other] * 1e3:.1f} mm; is the camera {'on the hand' if other == 'eye_in_hand' else 'static'}? Give"
            f" set_up:={other}"
        )
    scale, fit = _best_size(poses[set_up], seen)
    if fit < _MUCH_BETTER * fits[set_up]:
        raise DiagnosisError(
            f"wrong board size: the hand's motion says that the board is {scale:.1%} of the size given (square"
            f" {board.square_m * scale * 1e3:.1f} mm instead of {board.square_m * 1e3:.1f} mm); measure the printed"
            f" pattern, which should be {board.width_m * 1e3:.1f} mm wide"
        )
    if fits[set_up] > 5 * _BAD_FIT_M:
        raise DiagnosisError(
            f"robot poses and pictures do not belong together: the views disagree by {fits[set_up] * 1e3:.0f} mm; is"
            " the board fixed to the hand (or to the table), are the poses those of the TCP in the robot's base,"
            " and are both of the same moment?"
        )


def diagnose(solution: Solution, detections: Sequence[Detection], given: Intrinsics) -> Diagnosis:
    """What there is to say about a solved set. ``given`` are the intrinsics as the driver labels them."""
    problem = solution.problem
    spread, _ = rotation_spread_deg(problem.T_base_tcp)
    covariance = solution.estimate.covariance[:3, :3]
    values = np.sqrt(np.linalg.eigvalsh(covariance))
    lens = {} if given.model == "none" else lens_directions(problem, solution, detections, given)
    warnings = []
    if abs(solution.scale - 1.0) > max(_SIZE_DOUBT, 4.0 * solution.scale_std):
        warnings.append(
            f"the hand's motion says that the board is {solution.scale:.2%} of the size given (+- "
            f"{solution.scale_std:.2%}): measure its pattern, which should be {problem.board.width_m * 1e3:.1f} mm wide"
        )
    if lens and min(lens, key=lambda name: lens[name]) != given.model and lens[given.model] > 1.1 * min(lens.values()):
        better = min(lens, key=lambda name: lens[name])
        warnings.append(
            f"the lens fits better as {better} ({lens[better]:.3f} px) than as {given.model} ({lens[given.model]:.3f}"
            " px): check the direction of the camera's distortion"
        )
    if spread < SPREAD_GOOD_DEG:
        warnings.append(f"the hand was turned little: {spread:.1f} degrees about a second axis, better 10 or more")
    return Diagnosis(spread, float(values[-1] / values[0]), lens, tuple(warnings), tuple(advise(solution)))


def lens_directions(
    problem: Problem, solution: Solution, detections: Sequence[Detection], given: Intrinsics
) -> dict[str, float]:
    """Corner noise in pixels (median over views) with the coefficients taken in each direction."""
    noise = {}
    for model in ("brown_conrady", "inverse_brown_conrady"):
        other = replace(given, model=model)
        used = [detections[i] for i in solution.used]
        try:
            views = condense(Problem(problem.set_up, problem.T_base_tcp, used, problem.board, other), solution.hand_eye)
        except (ValueError, np.linalg.LinAlgError):
            continue
        if np.isfinite(views.corner_px).all():
            noise[model] = float(np.median(views.corner_px))
    return noise


def advise(solution: Solution) -> list[str]:
    """Views that would narrow the result most, from a handful that an operator can make; empty when none helps much."""
    problem = solution.problem
    middle = problem.T_base_tcp[len(problem) // 2]
    camera = solution.hand_eye.X[:3, 3] if problem.set_up == "eye_to_hand" else middle[:3, 3]
    candidates: list[tuple[str, Array]] = []
    for axis, name in enumerate("xyz"):
        for sign in (1.0, -1.0):
            turn = np.zeros(3)
            turn[axis] = sign * np.radians(_ADVICE_DEG)
            text = f"turn the hand by {sign * _ADVICE_DEG:+.0f} degrees about its {name} axis"
            candidates.append((text, middle @ make_pose(rotation_vector_to_matrix(turn))))
    towards = camera - solution.centre if problem.set_up == "eye_to_hand" else np.array([0.0, 0.0, -1.0])
    step = 0.15 * towards / max(float(np.linalg.norm(towards)), 1e-6)
    candidates.append(("bring the board 15 cm nearer to the camera", make_pose(None, step) @ middle))
    before = _work_variance(solution, np.zeros((12, 12)))
    gains = []
    for text, T in candidates:
        information = _further(problem, solution, T)
        if information is not None:
            gains.append((1.0 - np.sqrt(_work_variance(solution, information) / before), text))
    return [
        f"{text} (would narrow the result by {gain:.0%})"
        for gain, text in sorted(gains, reverse=True)[:3]
        if gain > _ADVICE_GAIN
    ]


def _further(problem: Problem, solution: Solution, T_base_tcp: Array) -> Array | None:
    """(12, 12) what a further view would tell; None when the board would be out of sight there."""
    return view_information(
        problem.set_up, solution.hand_eye, problem.board, problem.intrinsics, T_base_tcp, solution.noise
    )


def _work_variance(solution: Solution, further: Array) -> float:
    """Variance of where something in the middle of the views is taken to be, in m^2."""
    views = condense(solution.problem, solution.hand_eye)
    total = np.linalg.inv(estimate(views, solution.noise).covariance) + further
    covariance = np.linalg.inv(total)[:6, :6]
    x, y, z = solution.centre - solution.hand_eye.X[:3, 3]
    J = np.concatenate([np.eye(3), -np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])], axis=1)
    return float(np.trace(J @ covariance @ J.T))


def _fit(A: Array, seen: Array) -> float:
    found = consensus(A, seen)
    return np.inf if found is None else found[1]


def _best_size(A: Array, seen: Array) -> tuple[float, float]:
    """The size of the board, relative to the one given, that the views agree with best, and their disagreement."""
    best = (1.0, np.inf)
    for scale in _SIZES:
        scaled = seen.copy()
        scaled[:, :3, 3] *= scale
        fit = _fit(A, scaled)
        if fit < best[1]:
            best = float(scale), fit
    return best
