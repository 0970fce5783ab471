"""Give demonstrations: the robot or the simulated cell, an operator's device, and the recorder.

    ros2 launch clar record.launch.py task:=place_cube_in_basin cell:=my_cell.yaml teleop:=spacemouse
    ros2 launch clar record.launch.py hardware:=sim teleop:=scripted episodes:=30 auto_arm:=true

One bag an episode goes into outputs/bags/<task>. With teleop:=keyboard (or none) the operator's node runs in a terminal
of its own: clar teleop keyboard. It ends active and DISARMED; arming is the operator's (clar arm, or the device).
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from clar import names
from clar_calibration import load_calibration

# How nodes, cell and camera are started is written once, in the launch file of the policy.
policy = runpy.run_path(str(Path(__file__).with_name("policy.launch.py")))
BOOLEAN = policy["BOOLEAN"]
_SHARED = ("hardware", "cell", "camera", "robot_ip", "auto_arm", "task", "seed")
# The expert and the pairing of its actions with images want the cell's state more often than a trial does.
_SIM_STATE_HZ = 20.0

ARGUMENTS = [
    *(argument for argument in policy["ARGUMENTS"] if argument.name in _SHARED),
    DeclareLaunchArgument(
        "teleop",
        default_value="keyboard",
        choices=("keyboard", "spacemouse", "joy", "twist", "scripted", "none"),
        description="The operator's device; keyboard and none leave it to `clar teleop` in another terminal.",
    ),
    DeclareLaunchArgument("instruction", default_value="", description="Sentence stored with the episodes."),
    DeclareLaunchArgument("operator", default_value="", description="Who gives the demonstrations."),
    DeclareLaunchArgument("directory", default_value="", description="Where bags go; outputs/bags/<task> when empty."),
    DeclareLaunchArgument(
        "episodes", default_value="0", description="teleop:=scripted: successful episodes to record, then it ends."
    ),
    DeclareLaunchArgument("cloud", default_value="false", choices=BOOLEAN, description="Run the cloud node too."),
]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, *policy["ENVIRONMENT"], OpaqueFunction(function=compose)])


def compose(context: LaunchContext) -> list[Node]:
    """The nodes, once every file that they need has been checked."""
    given = {argument.name: LaunchConfiguration(argument.name).perform(context).strip() for argument in ARGUMENTS}
    share = Path(FindPackageShare("clar").perform(context))
    simulated, auto_arm = given["hardware"] == "sim", given["auto_arm"] == "true"
    if auto_arm and not simulated:
        raise policy["LaunchError"]("auto_arm: refused with hardware:=real; arm by hand: clar arm")
    if given["teleop"] == "scripted" and not simulated:
        raise policy["LaunchError"]("teleop:=scripted: the expert sees the simulated cell only; use another device")
    cell = policy["find_cell"](given, share)
    load_calibration(cell.calibration_path)
    robot_ip = given["robot_ip"] or cell.robot_ip
    seed = policy["integer"]("seed", given["seed"])
    driver = [names.NODE_SIM] if simulated else [names.NODE_CAMERA] if given["camera"] == "builtin" else []
    node = policy["node"]
    nodes = [
        node(
            share,
            "manager",
            {
                "hardware": given["hardware"],
                "auto_arm": auto_arm,
                "managed_nodes": [names.NODE_ARM, names.NODE_RECORDER],
                "awaited_nodes": [names.NODE_CALIBRATED_TF, *driver],
            },
        ),
        node(
            share,
            "arm",
            {
                "cell": str(cell.path),
                "hardware": given["hardware"],
                "robot_ip": robot_ip,
                "required_gates": [names.GATE_CALIBRATION],
            },
            restart=True,
        ),
        node(
            share,
            "calibrated_tf",
            {"calibration": str(cell.calibration_path), **({"max_age_days": 0.0} if simulated else {})},
        ),
        node(share, "recorder", {"directory": directory(given)}, restart=True),
    ]
    if given["cloud"] == "true":
        nodes.append(node(share, "cloud", {}))
    if simulated:
        nodes.append(
            node(
                share,
                "sim",
                {"task": given["task"], "seed": seed, "robot_ip": robot_ip, "state_rate_hz": _SIM_STATE_HZ},
            )
        )
    else:
        nodes += policy["camera"](given, share, cell, robot_ip)
    return [*nodes, operator(given, share, seed)]


def directory(given: dict[str, str]) -> str:
    """Where bags go."""
    return os.path.abspath(given["directory"] or os.path.join("outputs", "bags", given["task"]))


def operator(given: dict[str, str], share: Path, seed: int) -> Node | LogInfo:
    """The operator's node, or what to type in another terminal."""
    if given["teleop"] in ("keyboard", "none"):
        task = f" --task {given['task']} --hardware {given['hardware']}"
        return LogInfo(msg=f"in another terminal: clar teleop keyboard{task}")
    parameters = {
        "device": given["teleop"],
        "task": given["task"],
        "instruction": given["instruction"],
        "operator_name": given["operator"],
        "hardware": given["hardware"],
        "auto_arm": given["auto_arm"] == "true",
        "first_seed": seed,
        "episodes": policy["integer"]("episodes", given["episodes"]),
    }
    return policy["node"](share, "teleop", parameters)
