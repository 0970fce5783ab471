"""The calibration of the simulated cell: exact, because there the camera's pose is known.

Written to its file by ``python -m clar_calibration.simulated calibration/cells/sim/calibration.yaml``.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import numpy as np

from clar_calibration.board import Board
from clar_calibration.result import CalibrationResult, save_calibration
from clar_core.geometry.poses import Array, make_pose, transform_points
from clar_core.simulation.camera import T_BASE_DEPTH, T_LINK_DEPTH
from clar_core.simulation.plate import Plate

# A fixed date keeps the hash a function of the camera's pose alone.
_DATE = datetime(2026, 1, 1, tzinfo=UTC)


BOARD = Board()
"""The board of the simulated cell: a page of A4."""

_FACE = make_pose([[0.0, 0.5, -0.866], [-1.0, 0.0, 0.0], [0.0, 0.866, 0.5]])
T_TCP_BOARD = make_pose(
    np.linalg.svd(_FACE[:3, :3])[0] @ np.linalg.svd(_FACE[:3, :3])[2],
    transform_points(_FACE, np.array([[-0.5 * BOARD.width_m, -0.5 * BOARD.height_m + 0.045, -0.10]]))[0],
)
"""How the simulated hand holds the board: 10 cm in front of the TCP, tilted upwards by 30 degrees, towards the camera
when the arm is at home. No calibration knows this number; the solver finds it."""

_MARGIN_M = 0.009
_TEXTURE_PX = (512, 256)
"""Powers of two: OpenGL would resample any other size, and shift the corners by tenths of a pixel."""


def board_plate(board: Board = BOARD, T_parent_board: Array = T_TCP_BOARD, *, on_hand: bool = True) -> Plate:
    """The board as a plate of the simulated cell, with a white margin around the pattern."""
    return Plate(
        board.image(margin_m=_MARGIN_M, size_px=_TEXTURE_PX),
        board.width_m + 2 * _MARGIN_M,
        board.height_m + 2 * _MARGIN_M,
        T_parent_board @ make_pose(None, (-_MARGIN_M, -_MARGIN_M, 0.0)),
        on_hand,
    )


def simulated_calibration() -> CalibrationResult:
    """Calibration of the simulated D455."""
    return CalibrationResult(
        T_base_optical=T_BASE_DEPTH,
        T_link_optical=T_LINK_DEPTH,
        base_frame="fr3_link0",
        link_frame="camera_link",
        optical_frame="camera_depth_optical_frame",
        date=_DATE,
        camera_serial="simulated",
        method="simulated",
        holdout_translation_mm=0.0,
        holdout_rotation_deg=0.0,
        holdout_samples=0,
    )


if __name__ == "__main__":
    save_calibration(simulated_calibration(), sys.argv[1])
