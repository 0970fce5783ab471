"""Starting points: OpenCV's closed-form hand-eye solutions, and the one of them that most views agree with."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from clar_calibration.problem import HandEye, average_pose
from clar_core.geometry.poses import inverse, make_pose, matrix_to_rotation_vector

Array = NDArray[np.float64]

METHODS = {
    "Tsai": cv2.CALIB_HAND_EYE_TSAI,
    "Park": cv2.CALIB_HAND_EYE_PARK,
    "Daniilidis": cv2.CALIB_HAND_EYE_DANIILIDIS,
}
_SUBSETS = 40
_SUBSET_SIZE = 5
_LEVER_M = 0.5
"""An angle counts as the distance by which it displaces a point this far away."""


def closed_form(A: Array, T_camera_board: Array, method: str = "Park") -> HandEye | None:
    """X and Y by one of ``METHODS`` from k poses A (k, 4, 4) and views (k, 4, 4); None where it has no answer."""
    moved = np.array([inverse(T) for T in A])
    try:
        rotation, translation = cv2.calibrateHandEye(
            list(moved[:, :3, :3]),
            list(moved[:, :3, 3]),
            list(T_camera_board[:, :3, :3]),
            list(T_camera_board[:, :3, 3]),
            method=METHODS[method],
        )
    except cv2.error:
        return None
    X_matrix, t = np.asarray(rotation), np.ravel(translation)
    if not np.isfinite(X_matrix).all() or not np.isfinite(t).all() or abs(np.linalg.det(X_matrix) - 1.0) > 0.1:
        return None
    u, _, vt = np.linalg.svd(X_matrix)
    X = make_pose(u @ vt, t)
    return HandEye(X, average_pose(moved @ X @ T_camera_board))


def pose_errors(A: Array, T_camera_board: Array, solution: HandEye) -> tuple[Array, Array]:
    """Distance in metres (k,) and angle in radians (k,) by which each view of the board misses its predicted place."""
    predicted = inverse(solution.X) @ A @ solution.Y
    distances = np.linalg.norm(predicted[:, :3, 3] - T_camera_board[:, :3, 3], axis=1)
    relative = np.swapaxes(predicted[:, :3, :3], 1, 2) @ T_camera_board[:, :3, :3]
    return distances, np.array([np.linalg.norm(matrix_to_rotation_vector(R)) for R in relative])


def combined_errors(A: Array, T_camera_board: Array, solution: HandEye) -> Array:
    """Both errors as one distance in metres (k,)."""
    distances, angles = pose_errors(A, T_camera_board, solution)
    return np.hypot(distances, _LEVER_M * angles)


def consensus(A: Array, T_camera_board: Array, *, seed: int = 0) -> tuple[HandEye, float] | None:
    """The closed form of all views, or of a few of them, that has the least median error, and that error in metres.

    Views that went wrong spoil a closed form; the median of the others' errors does not notice them.
    """
    count = len(A)
    random = np.random.default_rng(seed)
    subsets: list[Sequence[int] | NDArray[np.int64]] = [range(count)]
    if count > _SUBSET_SIZE:
        subsets += [random.choice(count, _SUBSET_SIZE, replace=False) for _ in range(_SUBSETS)]
    best: tuple[HandEye, float] | None = None
    for subset in subsets:
        chosen = np.asarray(subset)
        for method in ("Park", "Daniilidis") if len(chosen) == count else ("Park",):
            solution = closed_form(A[chosen], T_camera_board[chosen], method)
            if solution is None:
                continue
            error = float(np.median(combined_errors(A, T_camera_board, solution)))
            if np.isfinite(error) and (best is None or error < best[1]):
                best = solution, error
    return best
