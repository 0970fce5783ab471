"""Which topic of a bag holds what: the stack's own names, or a site's, from a YAML file.

depth_image: /cam/depth/image_rect_raw
depth_info: /cam/depth/camera_info
pose: /franka/pose              # geometry_msgs/PoseStamped; left out: base_frame -> tcp_frame from the transforms
gripper: /franka_gripper/joint_states
gripper_joints: [fr3_finger_joint1, fr3_finger_joint2]   # their positions add up to the width in metres
task: place_cube_in_basin
instruction: put the red cube into the blue basin
T_base_camera: [[...], [...], [...], [...]]              # where the transforms do not tell
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from clar_core.data.bag_clouds import DepthTopics
from clar_core.geometry.poses import check_pose

Matrix = tuple[tuple[float, ...], ...]


class MappingError(ValueError):
    """A mapping file cannot be used; the message names the file and the field."""


@dataclass(frozen=True, kw_only=True)
class BagMapping:
    """Names in a bag. The defaults are those of the stack's recorder.

    Attributes:
        depth_image, depth_info, color, color_info, tf, tf_static: camera and transforms; ``color`` may be compressed
            or an Image of rgb8 or bgr8.
        state: ``clar_interfaces/RobotState``; where a bag has none, ``pose`` and ``gripper`` stand in for it.
        command: ``clar_interfaces/DeltaCommand``; where a bag has none, labels come from measured poses.
        episode, teleop, calibration: what the recorder tells about the episode.
        pose: ``geometry_msgs/PoseStamped`` of the TCP; empty takes ``tcp_frame`` in ``base_frame`` from ``tf``.
        gripper: ``sensor_msgs/JointState`` with the fingers.
        gripper_joints: joints whose positions add up to the opening in metres.
        base_frame, tcp_frame: frames.
        depth_scale_m: metres per unit of depth.
        T_base_camera: (4, 4) depth optical frame in the base frame, instead of the transforms; or None.
        inverse_lens: colour's distortion is inverse Brown-Conrady under the label plumb_bob, as with RealSense cameras.
        T_base_color: (4, 4) colour optical frame in the base frame, instead of the transforms; or None.
        task, instruction: of episodes that do not say it themselves.
        success: outcome of episodes that do not say it themselves.
    """

    depth_image: str = "/camera/camera/depth/image_rect_raw"
    depth_info: str = "/camera/camera/depth/camera_info"
    color: str = "/camera/camera/color/image_raw/compressed"
    color_info: str = "/camera/camera/color/camera_info"
    tf: str = "/tf"
    tf_static: str = "/tf_static"
    state: str = "/clar/robot/state"
    command: str = "/clar/command"
    episode: str = "/clar/episode"
    teleop: str = "/clar/teleop/status"
    calibration: str = "/clar/calibration"
    pose: str = ""
    gripper: str = "/joint_states"
    gripper_joints: tuple[str, ...] = ("fr3_finger_joint1", "fr3_finger_joint2")
    base_frame: str = "fr3_link0"
    tcp_frame: str = "fr3_hand_tcp"
    depth_scale_m: float = 0.001
    T_base_camera: Matrix | None = None
    inverse_lens: bool = True
    T_base_color: Matrix | None = None
    task: str = ""
    instruction: str = ""
    success: bool = True

    @property
    def depth_topics(self) -> DepthTopics:
        """The part that clouds are made from."""
        return DepthTopics(self.depth_image, self.depth_info, self.tf, self.tf_static)


OWN_NAMES = BagMapping()
"""What the stack's own recorder writes."""


def load_mapping(path: Path | str) -> BagMapping:
    """A mapping file; what it leaves out keeps the stack's own names.

    Raises:
        MappingError: no such file, not YAML, an unknown field, or a value of the wrong type.
    """
    try:
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise MappingError(f"{path}: not a readable YAML file: {error}") from error
    if not isinstance(content, dict):
        raise MappingError(f"{path}: expected fields such as depth_image, got {type(content).__name__}")
    known = {field.name: field.default for field in dataclasses.fields(BagMapping)}
    if unknown := sorted(map(str, set(content) - set(known))):
        raise MappingError(f"{path}: {', '.join(unknown)}: unknown field; known are {', '.join(known)}")
    try:
        return BagMapping(**{name: _checked(name, value, known[name]) for name, value in content.items()})
    except (TypeError, ValueError) as error:
        raise MappingError(f"{path}: {error}") from error


def _checked(name: str, value: Any, default: Any) -> Any:
    if name in ("T_base_camera", "T_base_color"):
        matrix = check_pose(np.asarray(value, dtype=np.float64), name)
        return tuple(tuple(row) for row in matrix.tolist())
    if name == "gripper_joints":
        if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise ValueError(f"{name}: expected a list of names, got {value!r}")
        return tuple(value)
    kind = type(default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind):
        raise ValueError(f"{name}: expected {kind.__name__}, got {value!r}")
    return value
