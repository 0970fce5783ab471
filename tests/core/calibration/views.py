"""Views of a board by arithmetic alone: hand poses, corners, and known noise on both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clar_calibration.detection import Detection
from clar_calibration.problem import HandEye
from clar_calibration.samples import SetUp
from clar_calibration.simulated import BOARD, T_TCP_BOARD
from clar_core.geometry.camera import project
from clar_core.geometry.poses import inverse, make_pose, orthonormalize, rotation_vector_to_matrix, transform_points
from clar_core.simulation.camera import COLOR_INTRINSICS, T_BASE_DEPTH, T_DEPTH_COLOR

Array = NDArray[np.float64]

DOWN = np.array([[0.574, 0.819, 0.0], [0.819, -0.574, 0.0], [0.0, 0.0, -1.0]])
EYE_TO_HAND = HandEye(T_BASE_DEPTH @ T_DEPTH_COLOR, T_TCP_BOARD)
# A camera beside the gripper that looks the way the fingers point, over a board on the table.
EYE_IN_HAND = HandEye(
    make_pose(rotation_vector_to_matrix((0.1, -0.05, 1.5)), (0.06, 0.02, -0.08)),
    make_pose([[0, -1, 0], [-1, 0, 0], [0, 0, -1]], (0.62, 0.10, 0.0)),
)
TRUTHS: dict[str, HandEye] = {"eye_to_hand": EYE_TO_HAND, "eye_in_hand": EYE_IN_HAND}


def views(
    seed: int,
    count: int = 20,
    *,
    set_up: SetUp = "eye_to_hand",
    corner_px: float = 0.1,
    hand_m: float = 3e-4,
    hand_rad: float = 5e-4,
    turn_rad: float = 0.5,
    axes: tuple[float, float, float] = (1.0, 1.0, 1.0),
    scale: float = 1.0,
) -> tuple[Array, list[Detection]]:
    """Measured hand poses (count, 4, 4) and what the camera sees; ``scale`` is the board's true over its given size."""
    random, truth = np.random.default_rng(seed), TRUTHS[set_up]
    box = ([0.35, -0.25, 0.15], [0.7, 0.2, 0.5]) if set_up == "eye_to_hand" else ([0.4, -0.1, 0.35], [0.7, 0.2, 0.55])
    poses: list[Array] = []
    detections: list[Detection] = []
    while len(poses) < count:
        turn = rotation_vector_to_matrix(np.multiply(random.uniform(-turn_rad, turn_rad, 3), axes))
        T = make_pose(orthonormalize(turn @ DOWN), random.uniform(*box))
        A = T if set_up == "eye_to_hand" else inverse(T)
        pixels = project(transform_points(inverse(truth.X) @ A @ truth.Y, scale * BOARD.points), COLOR_INTRINSICS)
        size = (COLOR_INTRINSICS.width, COLOR_INTRINSICS.height)
        if not np.isfinite(pixels).all() or (pixels < 8).any() or (pixels > np.subtract(size, 8)).any():
            continue
        error = make_pose(rotation_vector_to_matrix(random.normal(0.0, hand_rad, 3)), random.normal(0.0, hand_m, 3))
        poses.append(T @ error)
        seen = pixels + random.normal(0.0, corner_px, pixels.shape)
        detections.append(Detection(np.arange(len(pixels)), seen, 1.0, 1.5))
    return np.array(poses), detections
