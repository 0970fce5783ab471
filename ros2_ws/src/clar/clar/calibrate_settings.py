"""Parameters of the calibrate node, and what they mean for board, rough poses and limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clar.node import NodeError
from clar.parameters import NodeParameters, parameter
from clar_calibration import CalibrationError, load_calibration
from clar_calibration.board import Board
from clar_calibration.planning import PlanSettings
from clar_calibration.problem import HandEye
from clar_calibration.result import EYE_IN_HAND, EYE_TO_HAND
from clar_core.cell_config import CellConfig
from clar_core.geometry.poses import Array, make_pose, rotation_vector_to_matrix
from clar_core.simulation.camera import look_at

_DEFAULT_BOARD = Board()


@dataclass(frozen=True, kw_only=True)
class CalibrateParameters(NodeParameters):
    """Parameters of the calibrate node."""

    cell: str = parameter(description="The cell file: motion box, home, and where the calibration goes.")
    session: str = parameter(description="Folder of the samples; one that has some is continued.")
    output: str = parameter("", "Calibration file to write; empty: the cell file's.")
    set_up: str = parameter(
        EYE_TO_HAND,
        "A static camera and the board on the hand, or the other way round.",
        choices=(EYE_TO_HAND, EYE_IN_HAND),
    )
    mode: str = parameter(
        "auto", "The arm moves itself through planned poses, or the operator guides it.", choices=("auto", "guided")
    )
    samples: int = parameter(20, "Views to take.", minimum=6, maximum=200)
    seed: int = parameter(0, "Seed of the planned poses.", minimum=0)
    board: str = parameter("charuco", "Kind of board.", choices=("charuco", "apriltag"))
    board_columns: int = parameter(0, "Squares or tags in a row; 0: the default board's.", minimum=0, maximum=40)
    board_rows: int = parameter(0, "Rows of them.", minimum=0, maximum=40)
    square_mm: float = parameter(0.0, "Side of a square, or pitch of the tags.", unit="mm", minimum=0.0, maximum=500.0)
    marker_mm: float = parameter(0.0, "Side of a marker.", unit="mm", minimum=0.0, maximum=500.0)
    board_width_mm: float = parameter(
        0.0, "Measured width of the printed pattern; 0: as it should be.", unit="mm", minimum=0.0, maximum=5000.0
    )
    inverse_lens: bool = parameter(
        True, "The colour stream's distortion is librealsense's inverse Brown-Conrady, whatever its label says."
    )
    camera_position_m: tuple[float, ...] = parameter(
        (), "Where the camera roughly is (eye_in_hand: in the TCP frame); empty: as the old calibration says.", unit="m"
    )
    camera_target_m: tuple[float, ...] = parameter((), "What it roughly looks at, in the same frame.", unit="m")
    board_mount: tuple[float, ...] = parameter(
        (), "How board hangs on hand (or lies on the table), roughly: x y z [m], rotation vector [rad] of its top left."
    )
    clearance_m: float = parameter(0.04, "Lowest height of the board's corners.", unit="m", minimum=0.0, maximum=0.5)
    speed_m_s: float = parameter(0.15, "Speed of the hand.", unit="m/s", minimum=0.01, maximum=0.3)
    turn_rad_s: float = parameter(0.6, "Rate of its turning.", unit="rad/s", minimum=0.05, maximum=1.5)
    still_timeout_s: float = parameter(
        8.0, "How long the arm may take to come to rest.", unit="s", minimum=1.0, maximum=60.0
    )
    exit_when_done: bool = parameter(True, "End the process, and with it the launch, when all is done.")


def make_board(p: CalibrateParameters) -> Board:
    """The board, with its measured size. Raises BoardError."""
    default = _DEFAULT_BOARD if p.board == "charuco" else Board.apriltags()
    board = Board(
        kind=default.kind,
        columns=p.board_columns or default.columns,
        rows=p.board_rows or default.rows,
        square_m=p.square_mm * 1e-3 or default.square_m,
        marker_m=p.marker_mm * 1e-3 or default.marker_m,
        dictionary=default.dictionary,
    )
    return board.measured(p.board_width_mm * 1e-3) if p.board_width_mm else board


def rough_poses(p: CalibrateParameters, cell: CellConfig, T_depth_color: Array) -> HandEye:
    """Where camera and board are to some centimetres: enough to plan, nothing that the result depends on.

    Raises:
        NodeError: nobody says where they are.
    """
    if len(p.board_mount) != 6:
        raise NodeError(
            "board_mount: needed to plan poses: x y z in metres and a rotation vector in radians of the pattern's top"
            " left corner, x right, y down, z into the board, in the TCP frame (eye_in_hand: the base frame); or guide"
            " the arm yourself with mode:=guided"
        )
    mount = make_pose(rotation_vector_to_matrix(p.board_mount[3:]), p.board_mount[:3])
    if len(p.camera_position_m) == 3 and len(p.camera_target_m) == 3:
        x, y, z = p.camera_position_m
        u, v, w = p.camera_target_m
        return HandEye(look_at((x, y, z), (u, v, w)), mount)
    try:
        old = load_calibration(cell.calibration_path)
    except CalibrationError as error:
        raise NodeError(
            "camera_position_m, camera_target_m: needed to plan poses, for there is no old calibration to start"
            f" from ({error}); or guide the arm yourself with mode:=guided"
        ) from error
    return HandEye(old.T_base_optical @ T_depth_color, mount)


def plan_settings(p: CalibrateParameters, cell: CellConfig) -> PlanSettings:
    """Limits of the planned poses."""
    return PlanSettings(
        box_min_m=cell.motion_box.min_m,
        box_max_m=cell.motion_box.max_m,
        keep_outs=cell.keep_out_boxes,
        clearance_m=p.clearance_m,
        tilt_max_rad=float(np.radians(55.0)),
    )
