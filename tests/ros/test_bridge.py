"""Messages and arrays carry the same numbers both ways, without copies where the layout allows it."""

from __future__ import annotations

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from clar import bridge
from clar_core.control.action import Action, InvalidActionError
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import make_pose, rotation_vector_to_matrix
from clar_interfaces.msg import DeltaCommand

POSE = make_pose(rotation_vector_to_matrix((0.3, -1.2, 0.7)), (0.4, -0.2, 0.9))


@pytest.mark.parametrize("stamp_ns", [0, 1, 999_999_999, 1_700_000_000_123_456_789])
def test_stamps_keep_every_nanosecond(stamp_ns: int) -> None:
    assert bridge.stamp_to_ns(bridge.ns_to_stamp(stamp_ns)) == stamp_ns


def test_poses_and_transforms_round_trip() -> None:
    np.testing.assert_allclose(bridge.pose_to_matrix(bridge.matrix_to_pose(POSE)), POSE, atol=1e-12)
    np.testing.assert_allclose(bridge.transform_to_matrix(bridge.matrix_to_transform(POSE)), POSE, atol=1e-12)


def test_an_unset_orientation_is_refused() -> None:
    pose = Pose()
    pose.orientation.w = 0.0
    with pytest.raises(ValueError, match="quaternion"):
        bridge.pose_to_matrix(pose)


@pytest.mark.parametrize(
    ("encoding", "dtype", "shape"),
    [("16UC1", np.uint16, (4, 6)), ("32FC1", np.float32, (4, 6)), ("rgb8", np.uint8, (4, 6, 3))],
)
def test_images_round_trip(encoding: str, dtype: type, shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    message = bridge.array_to_image(pixels, encoding, Header(frame_id="f"))
    received = deserialize_message(serialize_message(message), Image)
    np.testing.assert_array_equal(bridge.image_to_array(received), pixels)
    assert (received.height, received.width, received.header.frame_id) == (4, 6, "f")


def test_an_image_becomes_a_view_of_the_messages_bytes() -> None:
    message = bridge.array_to_image(np.zeros((4, 6), dtype=np.uint16), "16UC1", Header())
    view = bridge.image_to_array(message)
    message.data[0] = 7
    assert view[0, 0] == 7


def test_padded_rows_and_foreign_byte_order_are_understood() -> None:
    pixels = np.array([[1, 2], [3, 4]], dtype=">u2")
    message = Image(height=2, width=2, encoding="16UC1", is_bigendian=1, step=6)
    message.data = b"".join(row.tobytes() + b"\xff\xff" for row in pixels)
    np.testing.assert_array_equal(bridge.image_to_array(message), [[1, 2], [3, 4]])


def test_a_truncated_or_unknown_image_is_refused_by_field() -> None:
    message = bridge.array_to_image(np.zeros((4, 6), dtype=np.uint16), "16UC1", Header())
    message.data = message.data[:-1]
    with pytest.raises(bridge.BridgeError, match=r"Image\.data"):
        bridge.image_to_array(message)
    message.encoding = "yuv422"
    with pytest.raises(bridge.BridgeError, match=r"Image\.encoding.*yuv422"):
        bridge.image_to_array(message)
    with pytest.raises(bridge.BridgeError, match="16UC1"):
        bridge.array_to_image(np.zeros((4, 6), dtype=np.float32), "16UC1", Header())


def test_intrinsics_round_trip() -> None:
    intrinsics = Intrinsics(width=640, height=480, fx=385.0, fy=386.0, cx=320.5, cy=239.5)
    assert bridge.camera_info_to_intrinsics(bridge.intrinsics_to_camera_info(intrinsics, Header())) == intrinsics


def test_an_empty_camera_info_is_refused() -> None:
    with pytest.raises(bridge.BridgeError, match="positive focal lengths"):
        bridge.camera_info_to_intrinsics(CameraInfo())


def test_clouds_round_trip() -> None:
    points = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    message = deserialize_message(
        serialize_message(bridge.points_to_cloud(points, Header(frame_id="fr3_link0"))), PointCloud2
    )
    np.testing.assert_array_equal(bridge.cloud_to_points(message), points)
    assert bridge.cloud_to_points(bridge.points_to_cloud(points[:0], Header())).shape == (0, 3)


def test_a_cloud_without_a_coordinate_is_refused() -> None:
    message = bridge.points_to_cloud(np.zeros((2, 3), np.float32), Header())
    message.fields = message.fields[:2]
    with pytest.raises(bridge.BridgeError, match="missing z"):
        bridge.cloud_to_points(message)


def test_commands_round_trip() -> None:
    action = Action.from_array([0.01, -0.02, 0.03, 0.1, 0.0, -0.1, 1.0])
    command = bridge.action_to_command(
        action, source="policy", sequence=7, frame="fr3_link0", observation=Time(sec=3, nanosec=4)
    )
    received = deserialize_message(serialize_message(command), DeltaCommand)
    np.testing.assert_array_equal(bridge.command_to_action(received).to_array(), action.to_array())
    assert (received.source, received.sequence, received.observation_stamp.sec) == ("policy", 7, 3)


def test_a_command_that_is_not_finite_is_no_action() -> None:
    command = DeltaCommand()
    command.rotation.y = float("nan")
    with pytest.raises(InvalidActionError):
        bridge.command_to_action(command)
