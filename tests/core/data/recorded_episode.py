"""A whole recorded episode as the stack's recorder writes it: states, commands, depth, transforms, marks."""

import functools
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from clar_core.data.bag_writer import BagWriter, offered_qos
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import apply_delta, inverse, make_pose, matrix_to_quaternion, rotation_vector_to_matrix
from tests.core.data.recorded import MS, STORE, header
from tests.core.observation.scene import INTRINSICS, T_BASE_CAMERA, render

OPTICAL = "camera_depth_optical_frame"
COLOR_OPTICAL = "camera_color_optical_frame"
T_DEPTH_COLOR = make_pose(None, (0.059, 0.0, 0.0))
COLOR_INTRINSICS = Intrinsics(320, 240, 190.0, 188.0, 158.0, 121.0)
DOWN = np.diag([1.0, -1.0, -1.0])
START = make_pose(DOWN, (0.5, 0.0, 0.3))
T_LINK_OPTICAL = make_pose(rotation_vector_to_matrix((0.3, -0.2, 0.1)), (0.01, 0.05, 0.0))
CALIBRATION = "sha256:" + "a" * 64
BEGIN_MS = 1_000
TYPES = STORE.types


@dataclass
class Recipe:
    """What is recorded, and what goes wrong with it."""

    ticks: int = 24
    outcome: int = 1
    source: str = "teleop"
    actions: np.ndarray | None = None
    unobserved: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()
    sources: dict[int, str] = field(default_factory=dict)
    frozen_from: int | None = None
    encoding: str = "16UC1"
    without: tuple[str, ...] = ()
    calibration: str = CALIBRATION
    state_jump_ms: int = 0
    disconnected_at: int | None = None
    name: str = "20260131T120000_0001"
    T_base_camera: np.ndarray = field(default_factory=lambda: T_BASE_CAMERA)
    intrinsics: Intrinsics = INTRINSICS
    instruction: str = "put the cube into the basin"
    color: bool = False
    undecodable: tuple[int, ...] = ()

    def steps(self) -> np.ndarray:
        """(ticks, 7) actions that were commanded."""
        if self.actions is not None:
            return self.actions
        steps = np.zeros((self.ticks, 7))
        steps[:, 0] = 0.004
        steps[:, 2] = -0.006
        steps[:, 5] = 0.01
        steps[:, 6] = (np.arange(self.ticks) < self.ticks // 2).astype(float)
        return steps


def serialized(kind, message):
    return bytes(STORE.serialize_cdr(message, kind))


def pose_message(T):
    return TYPES["geometry_msgs/msg/Pose"](
        position=TYPES["geometry_msgs/msg/Point"](*T[:3, 3]),
        orientation=TYPES["geometry_msgs/msg/Quaternion"](*matrix_to_quaternion(T[:3, :3])),
    )


def _twist():
    zero = TYPES["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)
    return TYPES["geometry_msgs/msg/Twist"](linear=zero, angular=zero)


def state(stamp_ms, T_measured, T_commanded, owner, sequence, width=0.08):
    message = TYPES["clar_interfaces/msg/RobotState"](
        header=header(stamp_ms * MS), mode=2 if owner else 1, owner=owner, reason="",
        measured_pose=pose_message(T_measured), commanded_pose=pose_message(T_commanded),
        measured_twist=_twist(), commanded_twist=_twist(), gripper_width=width, gripper_target=1.0, errors=[],
        robot_mode="Idle", control_command_success_rate=1.0, last_sequence=sequence, clamped_commands=0,
        rejected_commands=0,
    )  # fmt: skip
    return serialized("clar_interfaces/msg/RobotState", message)


def command(stamp_ms, observation_ms, action, source, sequence):
    vector = TYPES["geometry_msgs/msg/Vector3"]
    message = TYPES["clar_interfaces/msg/DeltaCommand"](
        header=header(stamp_ms * MS), translation=vector(*action[:3]), rotation=vector(*action[3:6]),
        gripper=float(action[6]), source=source, sequence=sequence,
        observation_stamp=TYPES["builtin_interfaces/msg/Time"](
            sec=observation_ms // 1000, nanosec=observation_ms % 1000 * MS
        ),
    )  # fmt: skip
    return serialized("clar_interfaces/msg/DeltaCommand", message)


def episode_mark(stamp_ms, outcome, recipe):
    message = TYPES["clar_interfaces/msg/Episode"](
        header=header(stamp_ms * MS), episode_id=recipe.name, task="place_cube_in_basin",
        instruction=recipe.instruction, operator_name="someone", source=recipe.source, outcome=outcome,
        seed=7, calibration_hash=CALIBRATION, checkpoint="",
    )  # fmt: skip
    return serialized("clar_interfaces/msg/Episode", message)


def teleop_status(stamp_ms, connected):
    message = TYPES["clar_interfaces/msg/TeleopStatus"](
        header=header(stamp_ms * MS), device="joy", source="teleop", connected=connected, dead_man=True, gripper=1.0,
        speed_scale=1.0, frame="base", phase="recording", prompt="",
    )  # fmt: skip
    return serialized("clar_interfaces/msg/TeleopStatus", message)


def camera_info(stamp_ms, i=INTRINSICS, frame=OPTICAL):
    message = TYPES["sensor_msgs/msg/CameraInfo"](
        header=header(stamp_ms * MS, frame), height=i.height, width=i.width, distortion_model="plumb_bob",
        d=np.zeros(5), k=np.array([i.fx, 0, i.cx, 0, i.fy, i.cy, 0, 0, 1.0]), r=np.eye(3).reshape(-1), p=np.zeros(12),
        binning_x=0, binning_y=0, roi=TYPES["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
    )  # fmt: skip
    return serialized("sensor_msgs/msg/CameraInfo", message)


def jpeg(stamp_ms, number, decodable=True):
    """A colour image whose red is eight times its number."""
    data = cv2.imencode(".jpg", np.full((240, 320, 3), (80, 40, 8 * number), np.uint8))[1].reshape(-1)
    message = TYPES["sensor_msgs/msg/CompressedImage"](
        header=header(stamp_ms * MS, COLOR_OPTICAL), format="rgb8; jpeg compressed bgr8",
        data=data if decodable else data[:20],
    )  # fmt: skip
    return serialized("sensor_msgs/msg/CompressedImage", message)


def depth(stamp_ms, pixels, encoding="16UC1"):
    message = TYPES["sensor_msgs/msg/Image"](
        header=header(stamp_ms * MS, OPTICAL), height=pixels.shape[0], width=pixels.shape[1], encoding=encoding,
        is_bigendian=0, step=2 * pixels.shape[1], data=np.ascontiguousarray(pixels).view(np.uint8).reshape(-1),
    )  # fmt: skip
    return serialized("sensor_msgs/msg/Image", message)


def transform(parent, child, T, stamp_ms=0):
    stamped = TYPES["geometry_msgs/msg/TransformStamped"](
        header=header(stamp_ms * MS, parent),
        child_frame_id=child,
        transform=TYPES["geometry_msgs/msg/Transform"](
            translation=TYPES["geometry_msgs/msg/Vector3"](*T[:3, 3]),
            rotation=TYPES["geometry_msgs/msg/Quaternion"](*matrix_to_quaternion(T[:3, :3])),
        ),
    )
    return serialized("tf2_msgs/msg/TFMessage", TYPES["tf2_msgs/msg/TFMessage"](transforms=[stamped]))


def string(text):
    return serialized("std_msgs/msg/String", TYPES["std_msgs/msg/String"](data=text))


TOPICS = {
    "/camera/camera/depth/image_rect_raw": "sensor_msgs/msg/Image",
    "/camera/camera/depth/camera_info": "sensor_msgs/msg/CameraInfo",
    "/tf_static": "tf2_msgs/msg/TFMessage",
    "/clar/robot/state": "clar_interfaces/msg/RobotState",
    "/clar/command": "clar_interfaces/msg/DeltaCommand",
    "/clar/episode": "clar_interfaces/msg/Episode",
    "/clar/calibration": "std_msgs/msg/String",
    "/clar/teleop/status": "clar_interfaces/msg/TeleopStatus",
    "/camera/camera/color/image_raw/compressed": "sensor_msgs/msg/CompressedImage",
    "/camera/camera/color/camera_info": "sensor_msgs/msg/CameraInfo",
}


def messages(recipe):
    """(time of reception in ms, topic, serialized message), not yet in order."""
    r = recipe
    link = r.T_base_camera @ inverse(T_LINK_OPTICAL)
    yield 0, "/tf_static", transform("fr3_link0", "camera_link", link)
    yield 0, "/tf_static", transform("camera_link", OPTICAL, T_LINK_OPTICAL)
    if r.color:
        yield 0, "/tf_static", transform("camera_link", COLOR_OPTICAL, T_LINK_OPTICAL @ T_DEPTH_COLOR)
    yield 0, "/clar/calibration", string(r.calibration)
    yield BEGIN_MS, "/clar/episode", episode_mark(BEGIN_MS, 0, r)
    end_ms = BEGIN_MS + 100 * r.ticks + 200
    if r.outcome:
        yield end_ms, "/clar/episode", episode_mark(end_ms, r.outcome, r)
    yield from _stream(r, end_ms)


def _stream(r, end_ms):
    actions = r.steps()
    T, sequence, owner = START, 0, r.source
    executed = {}
    for tick in range(r.ticks):
        at_ms = BEGIN_MS + 60 + 100 * tick
        source = r.sources.get(tick, r.source)
        observation = 0 if tick in r.unobserved else BEGIN_MS + 100 * tick + 20
        yield at_ms, "/clar/command", command(at_ms, observation, actions[tick], source, tick + 1)
        if tick not in r.refused:
            executed[at_ms + 5] = (tick, source)
    for stamp in range(BEGIN_MS - 40, end_ms + 1, 10):
        for at_ms in [t for t in executed if stamp - 10 < t <= stamp]:
            tick, owner = executed[at_ms]
            T = apply_delta(T, actions[tick][:3], actions[tick][3:6])
            sequence = tick + 1
        width = 0.08 * actions[min(max((stamp - BEGIN_MS) // 100, 0), r.ticks - 1), 6]
        shift = r.state_jump_ms if stamp > (BEGIN_MS + end_ms) // 2 else 0
        yield stamp, "/clar/robot/state", state(stamp + shift, T, T, owner, sequence, width)
    for stamp in range(BEGIN_MS - 30, end_ms, 50):
        frame = (stamp - BEGIN_MS) // 50
        seed = frame if r.frozen_from is None else min(frame, r.frozen_from)
        yield stamp - 1, "/camera/camera/depth/camera_info", camera_info(stamp, r.intrinsics)
        pixels = rendered(seed + 10)
        yield stamp, "/camera/camera/depth/image_rect_raw", depth(stamp, pixels, r.encoding)
        if r.color and frame % 2 == 0:
            yield stamp + 7, "/camera/camera/color/camera_info", camera_info(stamp + 7, COLOR_INTRINSICS, COLOR_OPTICAL)
            data = jpeg(stamp + 7, frame // 2, frame // 2 not in r.undecodable)
            yield stamp + 7, "/camera/camera/color/image_raw/compressed", data
        lost = r.disconnected_at is not None and stamp > BEGIN_MS + 100 * r.disconnected_at
        yield stamp, "/clar/teleop/status", teleop_status(stamp, not lost)


@functools.lru_cache(maxsize=128)
def rendered(seed):
    """The scene with the noise of one frame; the scene itself is traced once."""
    noise = np.random.default_rng(seed).integers(-1, 2, _scene().shape)
    return np.where(_scene() > 0, _scene() + noise, 0).astype(np.uint16)


@functools.cache
def _scene():
    return render().astype(np.int32)


def record(folder: Path, recipe: Recipe | None = None, **changes) -> Path:
    """Write a bag; returns its folder."""
    recipe = recipe or Recipe(**changes)
    writer = BagWriter(folder / recipe.name, STORE)
    for topic, kind in TOPICS.items():
        if topic not in recipe.without and (recipe.color or "/color/" not in topic):
            latched = topic in ("/tf_static", "/clar/episode", "/clar/calibration")
            writer.add_topic(topic, kind, [offered_qos(durability="transient_local" if latched else "volatile")])
    for at_ms, topic, data in sorted(messages(recipe), key=lambda m: m[0]):
        if topic not in recipe.without:
            writer.write(topic, at_ms * MS, data)
    return writer.close({"task": "place_cube_in_basin"})
