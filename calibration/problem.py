"""The hand-eye equations: where each corner should appear, and how that changes with all that is unknown.

Both set-ups are one equation, ``p_camera = X^-1 A Y p_board``:

- eye-to-hand: X = T_base_camera, A = T_base_tcp, Y = T_tcp_board;
- eye-in-hand: X = T_tcp_camera, A = T_tcp_base, Y = T_base_board.

X and Y change by ``R <- exp(w) R, t <- t + v`` (v first), so the first six unknowns are the camera's displacement in
its parent frame. The measured hand pose has an error of its own, ``T_base_tcp exp(d)``, d = (translation, rotation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clar_calibration.board import Board
from clar_calibration.detection import Detection, normalized
from clar_calibration.samples import SetUp
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import inverse, make_pose, rotation_vector_to_matrix

Array = NDArray[np.float64]
UNKNOWNS = 12
BEHIND_M = 0.01


@dataclass(frozen=True, eq=False)
class HandEye:
    """A solution: X = T_parent_camera (4, 4) and Y = T_carrier_board (4, 4)."""

    X: Array
    Y: Array

    def moved(self, delta: Array) -> HandEye:
        """The solution changed by (12,): v, w of X, then of Y."""
        return HandEye(_moved(self.X, delta[:6]), _moved(self.Y, delta[6:12]))


@dataclass(frozen=True, eq=False)
class Linearization:
    """Residuals at a solution and their derivatives, in ideal pixels.

    Attributes:
        residuals: (n, 2) predicted minus seen.
        unknowns: (n, 2, 12) by X and Y.
        hand: (n, 2, 6) by the error of the hand pose, translation first.
        scale: (n, 2) by the size of the board.
    """

    residuals: Array
    unknowns: Array
    hand: Array
    scale: Array


class Problem:
    """Corners of all views in one pile.

    Args:
        set_up: which of the two equations.
        T_base_tcp: (k, 4, 4) measured hand poses.
        detections: k views.
        board: the board.
        intrinsics: of the colour images.
    """

    def __init__(
        self,
        set_up: SetUp,
        T_base_tcp: Array,
        detections: Sequence[Detection],
        board: Board,
        intrinsics: Intrinsics,
    ) -> None:
        self.set_up = set_up
        self.T_base_tcp = np.asarray(T_base_tcp, dtype=np.float64)
        self.detections = list(detections)
        self.board = board
        self.intrinsics = intrinsics
        self.focal_px = 0.5 * (intrinsics.fx + intrinsics.fy)
        self.A = self.T_base_tcp if set_up == "eye_to_hand" else np.array([inverse(T) for T in self.T_base_tcp])
        self.points = np.concatenate([board.points[d.ids] for d in detections])
        self.seen = np.concatenate([normalized(d, intrinsics) for d in detections])
        self.pose = np.repeat(np.arange(len(detections)), [len(d.ids) for d in detections])

    def __len__(self) -> int:
        return len(self.detections)

    def subset(self, kept: NDArray[np.int64] | Sequence[int]) -> Problem:
        """The same with some of the views."""
        kept = np.asarray(kept)
        return Problem(
            self.set_up, self.T_base_tcp[kept], [self.detections[i] for i in kept], self.board, self.intrinsics
        )

    def linearize(self, solution: HandEye) -> Linearization:
        """Residuals and derivatives of every corner."""
        R_x, t_x = solution.X[:3, :3], solution.X[:3, 3]
        R_y, t_y = solution.Y[:3, :3], solution.Y[:3, 3]
        R_a, t_a = self.A[self.pose, :3, :3], self.A[self.pose, :3, 3]
        turned = self.points @ R_y.T
        on_carrier = turned + t_y
        in_parent = np.einsum("nij,nj->ni", R_a, on_carrier) + t_a
        in_camera = (in_parent - t_x) @ R_x
        z = np.maximum(in_camera[:, 2], BEHIND_M)
        ideal = in_camera[:, :2] / z[:, None]
        project = np.zeros((len(z), 2, 3))
        project[:, 0, 0] = project[:, 1, 1] = self.focal_px / z
        project[:, :, 2] = -self.focal_px * ideal / z[:, None]
        to_camera = project @ R_x.T
        carrier = to_camera @ R_a
        by_unknowns = np.concatenate(
            [
                -to_camera,
                to_camera @ _cross_matrices(in_parent - t_x),
                carrier,
                -carrier @ _cross_matrices(turned),
            ],
            axis=2,
        )
        if self.set_up == "eye_to_hand":
            by_hand = np.concatenate([carrier, -carrier @ _cross_matrices(on_carrier)], axis=2)
        else:
            by_hand = np.concatenate([-to_camera, to_camera @ _cross_matrices(in_parent)], axis=2)
        by_scale = np.einsum("nij,nj->ni", carrier, turned)
        return Linearization(self.focal_px * (ideal - self.seen), by_unknowns, by_hand, by_scale)


def average_pose(poses: Array) -> Array:
    """Mean of nearby poses (k, 4, 4): the chordal mean of the rotations, the median of the translations."""
    u, _, vt = np.linalg.svd(poses[:, :3, :3].mean(axis=0))
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    return make_pose(rotation, np.median(poses[:, :3, 3], axis=0))


def _moved(T: Array, delta: Array) -> Array:
    return make_pose(rotation_vector_to_matrix(delta[3:]) @ T[:3, :3], T[:3, 3] + delta[:3])


def _cross_matrices(v: Array) -> Array:
    """(n, 3, 3) with ``M @ w = v x w``."""
    matrices = np.zeros((len(v), 3, 3))
    matrices[:, 0, 1], matrices[:, 0, 2] = -v[:, 2], v[:, 1]
    matrices[:, 1, 0], matrices[:, 1, 2] = v[:, 2], -v[:, 0]
    matrices[:, 2, 0], matrices[:, 2, 1] = -v[:, 1], v[:, 0]
    return matrices
