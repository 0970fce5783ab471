"""The whole stack around one policy, on the real robot or in the simulated cell.

    ros2 launch clar policy.launch.py cell:=my_cell.yaml checkpoint:=outputs/runs/mine
    ros2 launch clar policy.launch.py hardware:=sim

It ends active and DISARMED; `clar arm`, then `clar start policy` make the arm move, `clar stop` stops it. What a file
or an argument lacks is said here, before anything starts; a node that fails ends the launch with an error.
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from clar import names
from clar_calibration import load_calibration
from clar_calibration.result import EYE_TO_HAND
from clar_core.cell_config import CellConfig, load_cell
from clar_core.observation.stored import spec_of_checkpoint

BOOLEAN = ("true", "false")
RESTART_DELAY_S = 1.0

ARGUMENTS = [
    DeclareLaunchArgument("hardware", default_value="real", choices=("real", "sim"), description="What is driven."),
    DeclareLaunchArgument(
        "cell",
        default_value="",
        description="cell.yaml of the robot cell; hardware:=sim has its own. `clar cell init` writes one.",
    ),
    DeclareLaunchArgument(
        "checkpoint", default_value="", description="Policy checkpoint directory; hardware:=sim has one for its task."
    ),
    DeclareLaunchArgument("instruction", default_value="", description="Sentence for a language-conditioned policy."),
    DeclareLaunchArgument(
        "device", default_value="auto", choices=("auto", "cpu", "cuda"), description="Where the network runs."
    ),
    DeclareLaunchArgument(
        "camera",
        default_value="builtin",
        choices=("builtin", "realsense_ros", "external"),
        description="Whose depth images: CLAR's own node (the simulator's in simulation), realsense-ros started here,"
        " or any driver with the same topics that runs already.",
    ),
    DeclareLaunchArgument("record", default_value="false", choices=BOOLEAN, description="Record the run as a bag."),
    DeclareLaunchArgument("bag", default_value="", description="Bag to record; a new one in outputs/bags when empty."),
    DeclareLaunchArgument(
        "accept_calibration",
        default_value="false",
        choices=BOOLEAN,
        description="Run although the calibration is old or poor, or the camera seems to have moved; it is logged.",
    ),
    DeclareLaunchArgument(
        "robot_ip", default_value="", description="Address of the robot; the cell file's when empty."
    ),
    DeclareLaunchArgument(
        "auto_arm", default_value="false", choices=BOOLEAN, description="Arm without the operator; hardware:=sim only."
    ),
    DeclareLaunchArgument("task", default_value="place_cube_in_basin", description="Task of the simulated cell."),
    DeclareLaunchArgument("seed", default_value="0", description="Start of the simulated cell's objects."),
    DeclareLaunchArgument(
        "camera_shift_mm",
        default_value="[]",
        description="Displace the simulated camera by x y z, as a bumped tripod is: to see what the scene check says.",
    ),
]

ENVIRONMENT = [
    SetEnvironmentVariable(
        "FASTRTPS_DEFAULT_PROFILES_FILE",
        EnvironmentVariable(
            "FASTRTPS_DEFAULT_PROFILES_FILE",
            default_value=PathJoinSubstitution([FindPackageShare("clar"), "config", "fastdds.xml"]),
        ),
    ),
    # The nodes work on small arrays: one thread each is faster than several that wait for each other.
    SetEnvironmentVariable("OMP_NUM_THREADS", EnvironmentVariable("OMP_NUM_THREADS", default_value="1")),
]


class LaunchError(RuntimeError):
    """The launch cannot start as asked for; the text says what is missing and how to get it."""


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, *ENVIRONMENT, OpaqueFunction(function=compose)])


def compose(context: LaunchContext) -> list[Node]:
    """The nodes of the stack, once every file that they need has been checked."""
    given = {argument.name: LaunchConfiguration(argument.name).perform(context).strip() for argument in ARGUMENTS}
    share = Path(FindPackageShare("clar").perform(context))
    simulated = given["hardware"] == "sim"
    if given["auto_arm"] == "true" and not simulated:
        raise LaunchError("auto_arm: refused with hardware:=real; arm by hand: clar arm")
    cell = find_cell(given, share)
    calibration = load_calibration(cell.calibration_path)
    # A scene to compare with, of a camera that stands still: whether it was moved since can be told.
    watched = bool(calibration.reference) and calibration.set_up == EYE_TO_HAND
    accepted = given["accept_calibration"] == "true"
    checkpoint = find_checkpoint(given, share)

    recorder = [names.NODE_RECORDER] if given["record"] == "true" else []
    driver = [names.NODE_SIM] if simulated else [names.NODE_CAMERA] if given["camera"] == "builtin" else []
    robot_ip = given["robot_ip"] or cell.robot_ip
    nodes = [
        node(
            share,
            "manager",
            {
                "hardware": given["hardware"],
                "auto_arm": given["auto_arm"] == "true",
                "managed_nodes": [names.NODE_ARM, names.NODE_POLICY, *recorder],
                "awaited_nodes": [names.NODE_CLOUD, names.NODE_CALIBRATED_TF, *driver],
                "record_episodes": bool(recorder),
            },
        ),
        node(
            share,
            "arm",
            {
                "cell": str(cell.path),
                "hardware": given["hardware"],
                "robot_ip": robot_ip,
                "required_gates": [names.GATE_CALIBRATION, *([names.GATE_SCENE] if watched else [])],
                **({"overridden_gates": [names.GATE_SCENE]} if accepted else {}),
            },
            restart=True,
        ),
        node(
            share,
            "policy",
            {
                "checkpoint": str(checkpoint),
                "instruction": given["instruction"],
                "device": given["device"],
            },
            restart=True,
        ),
        node(share, "cloud", {"checkpoint": str(checkpoint)}),
        node(
            share,
            "calibrated_tf",
            {
                "calibration": str(cell.calibration_path),
                # The simulated camera does not age.
                **({"max_age_days": 0.0} if simulated else {}),
                **({"accept_old": True, "accept_poor": True} if accepted else {}),
            },
        ),
    ]
    if watched:
        nodes.append(node(share, "scene_check", {"calibration": str(cell.calibration_path)}))
    if recorder:
        nodes.append(node(share, "recorder", recorder_parameters(given)))
    return [*nodes, *camera(given, share, cell, robot_ip)]


def find_cell(given: dict[str, str], share: Path) -> CellConfig:
    """The cell file, checked."""
    if given["cell"]:
        return load_cell(os.path.abspath(given["cell"]))
    if given["hardware"] == "sim":
        return load_cell(share / "cells" / "sim" / "cell.yaml")
    raise LaunchError(
        "cell: required with hardware:=real, it holds the robot's address, the motion box and the calibration; write"
        " one with `clar cell init my_cell.yaml`, edit it, calibrate the camera, then launch with cell:=my_cell.yaml"
        " (to see the stack without a robot: hardware:=sim)"
    )


def find_checkpoint(given: dict[str, str], share: Path) -> Path:
    """The checkpoint's directory, with a readable observation spec."""
    if given["checkpoint"]:
        path = Path(os.path.abspath(given["checkpoint"]))
    elif given["hardware"] == "sim":
        path = share / "checkpoints" / given["task"]
        if not path.is_dir():
            raise LaunchError(
                f"checkpoint: none is shipped for task {given['task']!r}; train one and give checkpoint:=<directory>"
            )
    else:
        raise LaunchError("checkpoint: required with hardware:=real; give the directory that `clar train` wrote")
    spec_of_checkpoint(path)
    return path


def camera(given: dict[str, str], share: Path, cell: CellConfig, robot_ip: str) -> list[Node]:
    """Whoever publishes the depth images; in simulation the simulator, which is the robot, too."""
    if given["hardware"] == "sim":
        return [
            node(
                share,
                "sim",
                {
                    "task": given["task"],
                    "seed": integer("seed", given["seed"]),
                    "robot_ip": robot_ip,
                    **({"camera_shift_mm": shift} if (shift := numbers("camera_shift_mm", given)) else {}),
                },
            )
        ]
    if given["camera"] == "external":
        return []
    if given["camera"] == "realsense_ros":
        return [realsense(cell)]
    return [node(share, "camera", {"cell": str(cell.path)}, restart=True)]


def realsense(cell: CellConfig) -> Node:
    """The official driver, native depth, with the names that it gives its topics by default."""
    c = cell.camera
    return Node(
        package="realsense2_camera",
        executable="realsense2_camera_node",
        namespace="camera",
        name="camera",
        parameters=[
            {
                **({"serial_no": f"_{c.serial}"} if c.serial else {}),
                "depth_module.depth_profile": f"{c.width}x{c.height}x{c.fps}",
                "rgb_camera.color_profile": f"{c.width}x{c.height}x{c.fps}",
            }
        ],
        output="screen",
        on_exit=end_launch,
    )


def recorder_parameters(given: dict[str, str]) -> dict[str, object]:
    """One bag for the whole run, with its episodes marked in it."""
    if not given["bag"]:
        return {"record_run": True, "directory": os.path.abspath(os.path.join("outputs", "bags"))}
    directory, name = os.path.split(os.path.abspath(given["bag"]))
    return {"record_run": True, "directory": directory, "run_name": name}


def node(share: Path, executable: str, parameters: dict[str, object], *, restart: bool = False) -> Node:
    """One of CLAR's nodes with the parameters of config/stack.yaml and these. Its end is the end of the launch.

    With ``restart`` a node that was killed or crashed comes back, and the manager brings it up again: the arm DISARMED.
    """
    return Node(
        package="clar",
        executable=executable,
        parameters=[str(share / "config" / "stack.yaml"), parameters],
        output="screen",
        respawn=restart,
        respawn_delay=RESTART_DELAY_S,
        on_exit=end_launch_unless_killed if restart else end_launch,
    )


def end_launch(event: object, context: LaunchContext) -> list[Shutdown] | None:
    """A node that ends by itself ends the launch: in error, unless it ended in good order."""
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        raise LaunchError(f"{event.process_name} ended with exit code {event.returncode}: see its last messages above")
    return [Shutdown(reason=f"{event.process_name} has ended")]


def end_launch_unless_killed(event: object, context: LaunchContext) -> list[Shutdown] | None:
    """As ``end_launch``, but a process that a signal killed is left to be started again."""
    return None if event.returncode < 0 else end_launch(event, context)


def numbers(name: str, given: dict[str, str]) -> list[float]:
    """A list of numbers of a launch argument; empty when there is no such argument."""
    text = given.get(name, "")
    try:
        return [float(value) for value in yaml.safe_load(text) or []]
    except (TypeError, ValueError, yaml.YAMLError):
        raise LaunchError(f"{name}: expected a list of numbers such as [0.1, 0.2, 0.3], got {text!r}") from None


def integer(name: str, text: str) -> int:
    """A whole number of a launch argument."""
    try:
        return int(text)
    except ValueError:
        raise LaunchError(f"{name}: expected a whole number, got {text!r}") from None
