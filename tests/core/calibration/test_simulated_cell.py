"""The files of the simulated cell say what the simulation does."""

from __future__ import annotations

from pathlib import Path

from clar_calibration import load_calibration
from clar_calibration.simulated import simulated_calibration
from clar_core.cell_config import load_cell
from clar_core.simulation.scene import HOME_JOINT_POSITIONS_RAD, MOTION_BOX_MAX_M, MOTION_BOX_MIN_M

CELL = Path(__file__).parents[3] / "calibration" / "cells" / "sim" / "cell.yaml"


def test_the_cell_file_has_the_simulations_home_and_motion_box() -> None:
    cell = load_cell(CELL)
    assert cell.home_joint_positions_rad == HOME_JOINT_POSITIONS_RAD
    assert (cell.motion_box.min_m, cell.motion_box.max_m) == (MOTION_BOX_MIN_M, MOTION_BOX_MAX_M)


def test_the_calibration_is_the_simulated_cameras_pose() -> None:
    stored = load_calibration(load_cell(CELL).calibration_path)
    assert stored.hash == simulated_calibration().hash, (
        "the simulated camera has moved: python -m clar_calibration.simulated calibration/cells/sim/calibration.yaml"
    )
