"""Depth images -> cropped clouds in the robot's base frame, through the one observation path.

Takes the camera's depth stream, its intrinsics and the camera's pose from TF at the capture stamp; publishes
``/clar/cloud`` under the capture stamp, how long each stage took, and (latched) the observation spec that the clouds
follow, which the policy compares with its checkpoint. What cannot be trusted is held back, never repaired: a frozen
camera, a missing transform, a crop box that is almost empty.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass

import rclpy.time
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header, String
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer, TransformException, TransformListener

from clar import bridge, names, qos
from clar.node import ERROR, OK, Health, SimpleNode
from clar.parameters import NodeParameters, parameter
from clar.process import run_node
from clar_core.geometry.camera import Intrinsics
from clar_core.observation.builder import TooFewPointsError, build_cloud
from clar_core.observation.freshness import MAX_REPEAT_S, RepeatDetector
from clar_core.observation.spec import ObservationSpec
from clar_core.observation.stored import spec_of_checkpoint
from clar_interfaces.msg import StageTimings

_LOG_PERIOD_S = 2.0
_NICENESS = -5


@dataclass(frozen=True, kw_only=True)
class CloudParameters(NodeParameters):
    """Parameters of the cloud node."""

    checkpoint: str = parameter(
        "", "Policy checkpoint whose observation spec the clouds follow; empty: the stack's default spec."
    )
    depth_topic: str = parameter(names.TOPIC_DEPTH_IMAGE, "Native depth images, 16UC1.")
    info_topic: str = parameter(names.TOPIC_DEPTH_INFO, "Intrinsics of the depth images.")
    depth_scale_m: float = parameter(0.001, "Length of one depth unit.", unit="m", minimum=1e-5, maximum=0.01)
    camera_moves: bool = parameter(
        False, "Follow /tf too, for a camera on the arm. A fixed camera's place is in /tf_static alone."
    )
    max_repeat_s: float = parameter(
        MAX_REPEAT_S,
        "Images whose content has not changed for longer are held back as frozen; 0 switches this off.",
        unit="s",
        minimum=0.0,
        maximum=5.0,
    )
    silence_s: float = parameter(
        1.0, "Without a depth image for longer, diagnostics report an error.", unit="s", minimum=0.1, maximum=60.0
    )


class CloudNode(SimpleNode):
    """Publishes the cropped cloud of every depth image that can be trusted."""

    node_name = names.NODE_CLOUD
    parameters_type = CloudParameters

    def configure(self) -> None:
        """Load the observation spec and connect."""
        p = self.parameters
        self._spec = spec_of_checkpoint(p.checkpoint) if p.checkpoint else ObservationSpec()
        self._repeats = RepeatDetector()
        self._intrinsics: Intrinsics | None = None
        self._held: str | None = "no depth image has arrived yet"
        self._last_image_s = time.monotonic()
        self._clouds = self._images = self._holds = 0
        self._points = 0
        self._buffer = Buffer(node=self)
        if p.camera_moves:
            self._listener = TransformListener(self._buffer, self)
        else:
            self.create_subscription(TFMessage, names.TOPIC_TF_STATIC, self._on_static, qos.TF_STATIC)
        self._cloud_publisher = self.create_publisher(PointCloud2, names.TOPIC_CLOUD, qos.SENSOR_PUBLISHER)
        self._timings_publisher = self.create_publisher(StageTimings, names.TOPIC_TIMINGS, qos.STATUS)
        spec_publisher = self.create_publisher(String, names.TOPIC_CLOUD_SPEC, qos.LATCHED)
        spec_publisher.publish(String(data=json.dumps(self._spec.to_dict())))
        self.create_subscription(CameraInfo, p.info_topic, self._on_info, qos.SENSOR)
        self.create_subscription(Image, p.depth_topic, self._on_depth, qos.SENSOR)

    def health(self) -> Health:
        """An error while clouds are held back or images do not come."""
        silence_s = time.monotonic() - self._last_image_s
        values: dict[str, object] = {
            "images": self._images,
            "clouds": self._clouds,
            "held": self._holds,
            "points": self._points,
        }
        if silence_s > self.parameters.silence_s:
            topic = self.parameters.depth_topic
            return Health(ERROR, f"no depth image on {topic} for {silence_s:.1f} s: is the camera running?", values)
        if self._held:
            return Health(ERROR, f"clouds are held back: {self._held}", values)
        return Health(OK, "streaming", values)

    def _on_static(self, message: TFMessage) -> None:
        for transform in message.transforms:
            self._buffer.set_transform_static(transform, self.get_name())

    def _on_info(self, info: CameraInfo) -> None:
        try:
            self._intrinsics = bridge.camera_info_to_intrinsics(info)
        except ValueError as error:
            self._intrinsics = None
            self._hold(f"{self.parameters.info_topic}: {error}")

    def _on_depth(self, image: Image) -> None:
        self._images += 1
        self._last_image_s = time.monotonic()
        try:
            self._publish_cloud(image)
        except TooFewPointsError as error:
            self._points = error.count
            self._hold(str(error))
        except TransformException as error:
            self._hold(f"no transform {self._spec.base_frame} <- {image.header.frame_id} at the capture stamp: {error}")
        except ValueError as error:
            self._hold(f"{self.parameters.depth_topic}: {error}")

    def _publish_cloud(self, image: Image) -> None:
        if self._intrinsics is None:
            self._hold(f"no intrinsics on {self.parameters.info_topic} yet")
            return
        depth = bridge.image_to_array(image)
        frozen_s = self._repeats.unchanged_s(depth, bridge.stamp_to_ns(image.header.stamp))
        if frozen_s > self.parameters.max_repeat_s > 0:
            self._hold(f"the depth image has not changed for {frozen_s:.2f} s: the camera is frozen, replug it")
            return
        transform = self._buffer.lookup_transform(
            self._spec.base_frame, image.header.frame_id, rclpy.time.Time.from_msg(image.header.stamp)
        )
        stages_ms: dict[str, float] = {}
        cloud = build_cloud(
            depth,  # type: ignore[arg-type]  # build_cloud checks the dtype
            self._intrinsics,
            bridge.transform_to_matrix(transform.transform),
            self._spec,
            depth_scale_m=self.parameters.depth_scale_m,
            stages_ms=stages_ms,
        )
        start = time.perf_counter()
        # A repeated image is as old as its first copy, whatever the driver says.
        stamp = bridge.ns_to_stamp(self._repeats.since_ns)
        header = Header(stamp=stamp, frame_id=self._spec.base_frame)
        self._cloud_publisher.publish(bridge.points_to_cloud(cloud, header))
        stages_ms["publish"] = (time.perf_counter() - start) * 1e3
        self._timings_publisher.publish(bridge.stage_timings("cloud", stamp, stages_ms))
        self._clouds += 1
        self._points = len(cloud)
        if self._held:
            self.get_logger().info(f"streaming {len(cloud)} points a cloud")
        self._held = None

    def _hold(self, reason: str) -> None:
        self._holds += 1
        self._held = reason
        self.get_logger().warning(f"cloud held back: {reason}", throttle_duration_sec=_LOG_PERIOD_S)


def main() -> int:
    """Run the cloud node."""
    return run_node(CloudNode, niceness=_NICENESS)


if __name__ == "__main__":
    sys.exit(main())
