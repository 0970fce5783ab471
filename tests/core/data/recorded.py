"""Messages to put into bags, serialized as a robot would publish them."""

from pathlib import Path

import numpy as np

from clar_core.data.bag_writer import offered_qos
from clar_core.data.bags import make_typestore
from clar_core.data.recording import RecordedTopic

INTERFACES = Path(__file__).parents[3] / "ros2_ws/src/clar_interfaces"
STORE = make_typestore(INTERFACES)
MS = 1_000_000

IMAGE = RecordedTopic("/depth", "sensor_msgs/msg/Image", (offered_qos(reliability="best_effort"),))
EPISODE = RecordedTopic("/clar/episode", "clar_interfaces/msg/Episode", (offered_qos(durability="transient_local"),))
STATIC = RecordedTopic("/tf_static", "tf2_msgs/msg/TFMessage", (offered_qos(durability="transient_local", depth=1),))


def header(stamp_ns, frame="fr3_link0"):
    types = STORE.types
    stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def image(stamp_ns, pixels):
    """Serialized 16UC1 image."""
    height, width = pixels.shape
    message = STORE.types["sensor_msgs/msg/Image"](
        header=header(stamp_ns, "camera_depth_optical_frame"),
        height=height,
        width=width,
        encoding="16UC1",
        is_bigendian=0,
        step=2 * width,
        data=np.ascontiguousarray(pixels).view(np.uint8).reshape(-1),
    )
    return bytes(STORE.serialize_cdr(message, "sensor_msgs/msg/Image"))


def episode(stamp_ns, task):
    """Serialized clar_interfaces/Episode, a type that rosbags does not know by itself."""
    message = STORE.types["clar_interfaces/msg/Episode"](
        header=header(stamp_ns),
        episode_id="20260131T120000_0001",
        task=task,
        instruction="put the cube into the basin",
        operator_name="someone",
        source="policy",
        outcome=0,
        seed=7,
        calibration_hash="",
        checkpoint="",
    )
    return bytes(STORE.serialize_cdr(message, "clar_interfaces/msg/Episode"))
