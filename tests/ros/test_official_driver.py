"""realsense-ros in the place of the built-in camera node: its topics, quality of service and transforms serve."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tf_transformations
from geometry_msgs.msg import Quaternion, TransformStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from tf2_ros import StaticTransformBroadcaster

from clar import bridge, names, qos
from clar.camera_frames import camera_tree
from clar_core.geometry.camera import T_BODY_OPTICAL
from clar_core.observation.builder import build_cloud
from clar_core.observation.spec import ObservationSpec
from tests.hardware.software_d455 import T_DEPTH_COLOR
from tests.ros.processes import Probe, node_process, wait_for
from tests.ros.scene import INTRINSICS, T_BASE_OPTICAL, depth_image, write_calibration


def official_tree() -> list[TransformStamped]:
    """What realsense2_camera_node publishes on /tf_static (its base is depth), by its own arithmetic."""
    optical = tf_transformations.quaternion_from_euler(-math.pi / 2, 0.0, -math.pi / 2)
    ex_quaternion = tf_transformations.quaternion_from_matrix(T_DEPTH_COLOR)
    q = tf_transformations.quaternion_multiply(
        tf_transformations.quaternion_multiply(optical, ex_quaternion), tf_transformations.quaternion_inverse(optical)
    )
    x, y, z = T_DEPTH_COLOR[:3, 3]
    edges = (
        (names.CAMERA_FRAME, "camera_depth_frame", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
        ("camera_depth_frame", names.DEPTH_OPTICAL_FRAME, (0.0, 0.0, 0.0), optical),
        (names.CAMERA_FRAME, "camera_color_frame", (z, -x, -y), q),
        ("camera_color_frame", names.COLOR_OPTICAL_FRAME, (0.0, 0.0, 0.0), optical),
    )
    transforms = []
    for parent, child, translation, rotation in edges:
        message = TransformStamped(child_frame_id=child)
        message.header.frame_id = parent
        message.transform.translation = bridge.vector3(translation)
        message.transform.rotation = Quaternion(**dict(zip("xyzw", map(float, rotation), strict=True)))
        transforms.append(message)
    return transforms


def test_both_drivers_publish_the_same_static_tree() -> None:
    ours = camera_tree(T_DEPTH_COLOR, Header().stamp)
    for own, official in zip(ours, official_tree(), strict=True):
        assert (own.header.frame_id, own.child_frame_id) == (official.header.frame_id, official.child_frame_id)
        np.testing.assert_allclose(
            bridge.transform_to_matrix(own.transform), bridge.transform_to_matrix(official.transform), atol=1e-9
        )


class OfficialDriver:
    """Publishes depth as realsense2_camera_node does, reliable or as sensor data."""

    def __init__(self, probe: Probe, reliability: ReliabilityPolicy) -> None:
        profile = QoSProfile(depth=10, reliability=reliability)
        self._images = probe.node.create_publisher(Image, names.TOPIC_DEPTH_IMAGE, profile)
        self._infos = probe.node.create_publisher(CameraInfo, names.TOPIC_DEPTH_INFO, profile)
        self._broadcaster = StaticTransformBroadcaster(probe.node)
        self._broadcaster.sendTransform(official_tree())
        self.seeds: dict[int, int] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        seed = 0
        while not self._ending.wait(1 / 30):
            seed += 1
            stamp_ns = time.time_ns()
            self.seeds[stamp_ns] = seed
            header = Header(stamp=bridge.ns_to_stamp(stamp_ns), frame_id=names.DEPTH_OPTICAL_FRAME)
            info = bridge.intrinsics_to_camera_info(INTRINSICS, header)
            info.distortion_model, info.d = "plumb_bob", [0.0] * 5
            self._infos.publish(info)
            self._images.publish(bridge.array_to_image(depth_image(seed), "16UC1", header))


@pytest.fixture(params=[ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT], ids=["reliable", "sensor_data"])
def driver(request: pytest.FixtureRequest, probe: Probe) -> Iterator[OfficialDriver]:
    driver = OfficialDriver(probe, request.param)
    yield driver
    driver.close()


def test_clouds_come_of_the_official_drivers_messages(probe: Probe, driver: OfficialDriver, tmp_path: Path) -> None:
    write_calibration(tmp_path / "calibration.yaml", T_link_optical=T_BODY_OPTICAL)
    clouds = probe.collect(PointCloud2, names.TOPIC_CLOUD, qos.SENSOR)
    with (
        node_process("clar.nodes.calibrated_tf", {"calibration": str(tmp_path / "calibration.yaml")}),
        node_process("clar.nodes.cloud"),
    ):
        wait_for(lambda: len(clouds) >= 3, "clouds")
    cloud = clouds[-1]
    seed = driver.seeds[bridge.stamp_to_ns(cloud.header.stamp)]
    expected = build_cloud(depth_image(seed), INTRINSICS, T_BASE_OPTICAL, ObservationSpec())
    np.testing.assert_allclose(bridge.cloud_to_points(cloud), expected, atol=1e-6)
