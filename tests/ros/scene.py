"""A camera on a table-top scene, as a driver would publish it: synthetic, seeded, with noise."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_ros import StaticTransformBroadcaster

from clar import bridge, names, qos
from clar_calibration import CalibrationResult, save_calibration
from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import make_pose
from tests.ros.processes import Probe

INTRINSICS = Intrinsics(width=640, height=480, fx=385.0, fy=385.0, cx=319.5, cy=239.5)

# Above the middle of the crop box, looking straight down, 0.9 m over the table.
T_BASE_OPTICAL = make_pose([[0, -1, 0], [-1, 0, 0], [0, 0, -1]], [0.5, 0.0, 0.9])
T_LINK_OPTICAL = make_pose([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.004, 0.0475, 0.001])


def calibration(**changes: object) -> CalibrationResult:
    """The calibration of this camera."""
    fields: dict[str, object] = {
        "T_base_optical": T_BASE_OPTICAL,
        "T_link_optical": T_LINK_OPTICAL,
        "base_frame": names.BASE_FRAME,
        "link_frame": names.CAMERA_FRAME,
        "optical_frame": names.DEPTH_OPTICAL_FRAME,
        "date": datetime.now(UTC),
        "camera_serial": "0",
        "method": "synthetic",
        "holdout_translation_mm": 0.5,
        "holdout_rotation_deg": 0.05,
        "holdout_samples": 4,
    }
    return CalibrationResult(**{**fields, **changes})  # type: ignore[arg-type]


def write_calibration(path: Path, **changes: object) -> CalibrationResult:
    """Save the calibration of this camera."""
    result = calibration(**changes)
    save_calibration(result, path)
    return result


def depth_image(seed: int, *, box: bool = True) -> NDArray[np.uint16]:
    """A table at 900 mm with a box 100 mm high on it, and a millimetre of noise."""
    depth = np.full((INTRINSICS.height, INTRINSICS.width), 900, dtype=np.int32)
    if box:
        depth[200:280, 280:360] = 800
    depth += np.random.default_rng(seed).integers(-1, 2, depth.shape)
    return depth.astype(np.uint16)


class Driver:
    """Publishes depth, intrinsics and the driver's static transform from a thread.

    Attributes:
        frozen: publish the same image over and over.
        box: put the box on the table.
        age_s: how far behind the clock the stamps are.
    """

    def __init__(
        self, probe: Probe, *, rate_hz: float = 30.0, T_link_optical: NDArray[np.float64] = T_LINK_OPTICAL
    ) -> None:
        self.frozen = False
        self.box = True
        self.age_s = 0.0
        self.published: list[int] = []
        node = probe.node
        self._node = node
        self._images = node.create_publisher(Image, names.TOPIC_DEPTH_IMAGE, qos.SENSOR_PUBLISHER)
        self._infos = node.create_publisher(CameraInfo, names.TOPIC_DEPTH_INFO, qos.SENSOR_PUBLISHER)
        self._broadcaster = StaticTransformBroadcaster(node)
        transform = TransformStamped(child_frame_id=names.DEPTH_OPTICAL_FRAME)
        transform.header.frame_id = names.CAMERA_FRAME
        transform.header.stamp = node.get_clock().now().to_msg()
        transform.transform = bridge.matrix_to_transform(T_link_optical)
        self._broadcaster.sendTransform(transform)
        self._period_s = 1.0 / rate_hz
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Driver:
        """Begin streaming."""
        self._thread.start()
        return self

    def listeners(self) -> int:
        """How many subscribers both the images and their intrinsics reach."""
        return min(self._images.get_subscription_count(), self._infos.get_subscription_count())

    def stop(self) -> None:
        """End streaming."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        seed = 0
        with suppress(Exception):  # the context may end first
            while not self._ending.wait(self._period_s):
                seed += not self.frozen
                self.publish(depth_image(seed, box=self.box), time.time_ns() - int(self.age_s * 1e9))

    def publish(self, depth: NDArray[np.uint16], stamp_ns: int) -> None:
        """Publish one image and its intrinsics."""
        header = Header(stamp=bridge.ns_to_stamp(stamp_ns), frame_id=names.DEPTH_OPTICAL_FRAME)
        self._infos.publish(bridge.intrinsics_to_camera_info(INTRINSICS, header))
        self._images.publish(bridge.array_to_image(depth, "16UC1", header))
        self.published.append(stamp_ns)
