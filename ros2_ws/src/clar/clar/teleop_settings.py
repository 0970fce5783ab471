"""Parameters of the teleop node, and what they mean for devices."""

from __future__ import annotations

from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from clar import names
from clar.node import ERROR, NodeError
from clar.parameters import NodeParameters, parameter
from clar.topic_devices import JoyDevice, TwistDevice
from clar_core.teleop.joy import SPACENAV, XBOX
from clar_core.teleop.reading import Device, DeviceLostError

_MAPPINGS = {"xbox": XBOX, "spacenav": SPACENAV}


@dataclass(frozen=True, kw_only=True)
class TeleopParameters(NodeParameters):
    """Parameters of the teleop node."""

    device: str = parameter(
        "keyboard",
        "Who commands: a terminal's keys, a SpaceMouse, a Joy or a TwistStamped topic, or the task's expert.",
        choices=("keyboard", "spacemouse", "joy", "twist", "scripted"),
    )
    task: str = parameter("place_cube_in_basin", "Task of the episodes.")
    instruction: str = parameter("", "Sentence of the episodes; empty: the task's own.")
    operator_name: str = parameter("", "Who is at the controls; stored with the episodes.")
    hardware: str = parameter("real", "What the stack drives.", choices=("real", "sim"))
    auto_arm: bool = parameter(False, "Arm, and recover, without asking. Simulated cell only.")
    frame: str = parameter("base", "Frame in which deflections count at first.", choices=("base", "tool"))
    linear_m_s: float = parameter(0.15, "Speed at full deflection.", unit="m/s", minimum=0.005, maximum=0.5)
    angular_rad_s: float = parameter(0.7, "Rotation at full deflection.", unit="rad/s", minimum=0.02, maximum=2.0)
    dead_zone: float = parameter(
        0.08, "Deflections below this part of the full one are none.", minimum=0.0, maximum=0.5
    )
    joy_topic: str = parameter(names.TOPIC_JOY, "Topic of the gamepad, or of a six-axis device's buttons.")
    joy_mapping: str = parameter("xbox", "What the axes and buttons mean.", choices=tuple(_MAPPINGS))
    twist_topic: str = parameter(names.TOPIC_TWIST, "Topic of a six-axis device, geometry_msgs/TwistStamped.")
    twist_full_linear: float = parameter(
        1.0, "What its driver publishes at full deflection, linear.", minimum=1e-3, maximum=1e4
    )
    twist_full_angular: float = parameter(1.0, "The same, angular.", minimum=1e-3, maximum=1e4)
    device_timeout_s: float = parameter(
        0.5, "A topic that is silent for longer is a lost device.", unit="s", minimum=0.05, maximum=5.0
    )
    countdown_s: float = parameter(
        3.0, "From the end of the preparation to the start of the episode.", unit="s", minimum=0.0, maximum=60.0
    )
    home_first: bool = parameter(True, "Open the gripper and go home before every episode.")
    first_seed: int = parameter(0, "Simulated cell: seed of the first episode; they count up.", minimum=0)
    episodes: int = parameter(
        0, "Scripted: successful episodes to record, then the node ends. 0 only commands, for tests.", minimum=0
    )
    time_limit_s: float = parameter(
        0.0, "Scripted: longest episode; 0 takes one and a half times the task's.", unit="s", minimum=0.0, maximum=600.0
    )
    disturb_rate: float = parameter(
        0.04, "Scripted: probability per tick that a push begins.", minimum=0.0, maximum=1.0
    )
    miss_rate: float = parameter(
        0.0,
        "Scripted: probability per tick with an open hand that it closes on nothing and moves off, and must try again.",
        minimum=0.0,
        maximum=1.0,
    )


def make_device(node: Node, p: TeleopParameters, group: CallbackGroup) -> Device:
    """The device that the parameters ask for. Raises NodeError when it cannot be opened."""
    from clar.drivers.keyboard import Keyboard
    from clar.drivers.spacemouse import SpaceMouse

    try:
        if p.device == "keyboard":
            return Keyboard()
        if p.device == "spacemouse":
            return SpaceMouse()
    except DeviceLostError as error:
        raise NodeError(str(error)) from error
    mapping = _MAPPINGS[p.joy_mapping]
    if p.device == "joy":
        return JoyDevice(node, p.joy_topic, group, mapping=mapping, timeout_s=p.device_timeout_s)
    return TwistDevice(
        node,
        p.twist_topic,
        p.joy_topic,
        group,
        full_linear=p.twist_full_linear,
        full_angular=p.twist_full_angular,
        mapping=mapping,
        timeout_s=p.device_timeout_s,
    )


def recorder_line(status: DiagnosticStatus | None) -> str:
    """What the recorder says of itself, in one line."""
    if status is None:
        return "no recorder"
    values = {item.key: item.value for item in status.values}
    if status.level == ERROR:
        return f"RECORDER: {status.message}"
    rates = {key.removesuffix(" [Hz]"): value for key, value in values.items() if key.endswith(" [Hz]")}
    shown = {"depth": names.TOPIC_DEPTH_IMAGE, "state": names.TOPIC_ROBOT_STATE}
    parts = [f"{name} {rates[topic]} Hz" for name, topic in shown.items() if topic in rates]
    parts += [f"{key} {value}" for key, value in values.items() if key.endswith(" lost")]
    for key in ("free_gb", "episodes", "last_verdict"):
        if values.get(key):
            parts.append(f"{key} {values[key][:40]}")
    return ", ".join(parts) or status.message
