"""Calibrates the camera of a cell: brings up robot and camera, moves the arm through planned poses, solves, reports.

    ros2 launch clar calibrate.launch.py hardware:=sim
    ros2 launch clar calibrate.launch.py cell:=my_cell.yaml board_mount:="[0.07, 0.13, -0.08, 0.0, 0.0, 0.0]"

With a real robot the arm moves only after the operator's `clar arm`. The launch ends when the calibration is written,
or with an error that says what was wrong.
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import numpy as np
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from clar import names

# Launch files are no modules; what both share is in the one for the whole stack, beside this one.
stack = runpy.run_path(str(Path(__file__).with_name("policy.launch.py")))
LaunchError, node = stack["LaunchError"], stack["node"]

BOARD = ("board", "board_columns", "board_rows", "square_mm", "marker_mm", "board_width_mm")
LISTS = ("board_mount", "camera_position_m", "camera_target_m")

ARGUMENTS = [
    DeclareLaunchArgument("hardware", default_value="real", choices=("real", "sim"), description="What is driven."),
    DeclareLaunchArgument(
        "cell", default_value="", description="cell.yaml of the robot cell; hardware:=sim has its own."
    ),
    DeclareLaunchArgument(
        "camera",
        default_value="builtin",
        choices=("builtin", "realsense_ros", "external"),
        description="Whose images, as for policy.launch.py.",
    ),
    DeclareLaunchArgument(
        "robot_ip", default_value="", description="Address of the robot; the cell file's when empty."
    ),
    DeclareLaunchArgument(
        "set_up",
        default_value="eye_to_hand",
        choices=("eye_to_hand", "eye_in_hand"),
        description="A static camera and the board on the hand, or the other way round.",
    ),
    DeclareLaunchArgument(
        "mode",
        default_value="auto",
        choices=("auto", "guided"),
        description="The arm moves itself, or the operator guides it by hand.",
    ),
    DeclareLaunchArgument("samples", default_value="20", description="Views to take."),
    DeclareLaunchArgument(
        "session",
        default_value="",
        description="Folder of samples and report; outputs/calibration/<date> when empty. An unfinished one goes on.",
    ),
    DeclareLaunchArgument(
        "output",
        default_value="",
        description="Calibration file; the cell file's when empty, for hardware:=sim calibration.yaml in the session.",
    ),
    DeclareLaunchArgument(
        "board", default_value="charuco", choices=("charuco", "apriltag"), description="Kind of board."
    ),
    DeclareLaunchArgument("board_columns", default_value="0", description="Squares or tags in a row; 0: default."),
    DeclareLaunchArgument("board_rows", default_value="0", description="Rows of them; 0: default."),
    DeclareLaunchArgument("square_mm", default_value="0.0", description="Side of a square, pitch of tags; 0: default."),
    DeclareLaunchArgument("marker_mm", default_value="0.0", description="Side of a marker; 0: default."),
    DeclareLaunchArgument("board_width_mm", default_value="0.0", description="Measured width of the printed pattern."),
    DeclareLaunchArgument(
        "board_mount",
        default_value="[]",
        description="How the board hangs on the hand, roughly: x y z [m] and rotation vector [rad] in the TCP frame.",
    ),
    DeclareLaunchArgument(
        "camera_position_m",
        default_value="[]",
        description="Where the camera roughly is; the old calibration's if empty.",
    ),
    DeclareLaunchArgument("camera_target_m", default_value="[]", description="What it roughly looks at."),
    DeclareLaunchArgument("seed", default_value="0", description="Seed of the planned poses."),
]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, *stack["ENVIRONMENT"], OpaqueFunction(function=compose)])


def compose(context: LaunchContext) -> list[Node]:
    """Robot, camera and the calibration, once every file and number has been checked."""
    given = {argument.name: LaunchConfiguration(argument.name).perform(context).strip() for argument in ARGUMENTS}
    share = Path(FindPackageShare("clar").perform(context))
    simulated = given["hardware"] == "sim"
    cell = stack["find_cell"](given, share)
    robot_ip = given["robot_ip"] or cell.robot_ip
    session = Path(os.path.abspath(given["session"] or default_session()))
    output = os.path.abspath(given["output"]) if given["output"] else ""
    if simulated and not output:
        # what belongs to the repository stays as it is
        output = str(session / "calibration.yaml")
    parameters: dict[str, object] = {
        "cell": str(cell.path),
        "session": str(session),
        "output": output,
        "set_up": given["set_up"],
        "mode": given["mode"],
        "samples": stack["integer"]("samples", given["samples"]),
        "seed": stack["integer"]("seed", given["seed"]),
        "board": given["board"],
    }
    parameters |= {name: stack["integer"](name, given[name]) for name in BOARD[1:3]}
    parameters |= {name: number(name, given[name]) for name in BOARD[3:]}
    parameters |= {name: value for name in LISTS if (value := stack["numbers"](name, given))}
    if simulated:
        parameters = simulated_guess() | parameters
    nodes = [
        node(
            share,
            "manager",
            {
                "hardware": given["hardware"],
                "auto_arm": simulated,
                "managed_nodes": [names.NODE_ARM],
                "awaited_nodes": [names.NODE_SIM] if simulated else [],
            },
        ),
        node(share, "arm", {"cell": str(cell.path), "hardware": given["hardware"], "robot_ip": robot_ip}),
        node(share, "calibrate", parameters),
    ]
    if simulated:
        task = {"task": "place_cube_in_basin", "seed": 0, "robot_ip": robot_ip, "board": True}
        return [*nodes, node(share, "sim", task)]
    return [*nodes, *stack["camera"](given, share, cell, robot_ip)]


def simulated_guess() -> dict[str, object]:
    """What a person with a tape measure would say about the simulated cell: some centimetres and degrees off."""
    from clar_calibration.simulated import T_TCP_BOARD
    from clar_core.geometry.poses import matrix_to_rotation_vector

    mount = [*(T_TCP_BOARD[:3, 3] + (0.01, -0.01, 0.01)), *(matrix_to_rotation_vector(T_TCP_BOARD[:3, :3]) + 0.03)]
    return {
        "board_mount": np.round(mount, 2).tolist(),
        "camera_position_m": [0.98, 0.60, 0.58],
        "camera_target_m": [0.50, -0.03, 0.08],
    }


def default_session() -> str:
    """A folder named by the time."""
    from datetime import datetime

    return os.path.join("outputs", "calibration", datetime.now().astimezone().strftime("%Y%m%dT%H%M%S"))


def number(name: str, text: str) -> float:
    """A number of a launch argument."""
    try:
        return float(text)
    except ValueError:
        raise LaunchError(f"{name}: expected a number, got {text!r}") from None
