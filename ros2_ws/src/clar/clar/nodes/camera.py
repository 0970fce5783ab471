"""A RealSense D455 under the topic and frame names of realsense-ros, so that either driver serves the stack.

Native depth in millimetres with its intrinsics, colour as JPEG (raw only while somebody listens), optionally depth
aligned to colour, and the device's own extrinsics on ``/tf_static``. A camera that is unplugged is waited for; one that
freezes is held back, then connected again. Frames go out from the driver's own thread, so nothing here delays them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pyrealsense2 as rs
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from tf2_ros import StaticTransformBroadcaster

from clar import bridge, names, qos
from clar.camera_frames import camera_tree
from clar.drivers.camera_stream import CameraStream, StreamLimits
from clar.drivers.realsense import Frame, RealSenseCamera
from clar.drivers.realsense_device import FILTERS, PRESETS, CameraDescription, CameraSettings
from clar.node import ERROR, OK, WARN, Health, NodeError, SimpleNode
from clar.parameters import NodeParameters, parameter
from clar.process import run_node
from clar_core.cell_config import CameraConfig, load_cell
from clar_core.observation.device_time import GLOBAL_TIME
from clar_interfaces.msg import StageTimings

_NICENESS = -5
_FPS_SLACK = 0.8


@dataclass(frozen=True, kw_only=True)
class CameraParameters(NodeParameters):
    """Parameters of the camera node. Serial number and profile are the cell file's."""

    cell: str = parameter("", "The cell file; empty: the only camera there is, 640x480 at 30 fps.")
    recording: str = parameter("", "Play this file of librealsense's recorder instead of a camera.")
    color: bool = parameter(True, "Publish colour images.")
    align_depth: bool = parameter(False, "Publish depth aligned to colour, too.")
    jpeg_quality: int = parameter(85, "Quality of the compressed colour images.", minimum=10, maximum=100)
    color_fps: float = parameter(
        30.0, "At most so many colour images per second are compressed.", unit="Hz", minimum=0.5, maximum=90.0
    )
    preset: str = parameter("keep", "Preset of the depth sensor; keep: as it is.", choices=("keep", *PRESETS))
    laser_power_mw: float = parameter(
        -1.0, "Infrared projector; 0: off, negative: as it is.", unit="mW", minimum=-1.0, maximum=360.0
    )
    depth_exposure_us: float = parameter(
        0.0, "Fixed exposure of the depth sensor; 0: automatic.", unit="us", minimum=0.0, maximum=200000.0
    )
    color_exposure_us: float = parameter(
        0.0, "Fixed exposure of the colour sensor; 0: automatic.", unit="us", minimum=0.0, maximum=1000000.0
    )
    filters: tuple[str, ...] = parameter(
        (), f"Filters of librealsense for depth: {', '.join(FILTERS)}. A policy wants those of its training data."
    )
    decimation: int = parameter(2, "Factor of the decimation filter.", minimum=2, maximum=8)
    threshold_min_m: float = parameter(
        0.15, "Nearest depth of the threshold filter.", unit="m", minimum=0.0, maximum=16.0
    )
    threshold_max_m: float = parameter(
        4.0, "Farthest depth of the threshold filter.", unit="m", minimum=0.0, maximum=16.0
    )
    accept_usb2: bool = parameter(False, "Run on USB 2 all the same.")
    frame_timeout_s: float = parameter(
        1.0, "Without a frame for longer the camera is connected again.", unit="s", minimum=0.2, maximum=30.0
    )
    max_repeat_s: float = parameter(
        0.15,
        "Images whose content has not changed for longer are held back as frozen; 0 switches this off.",
        unit="s",
        minimum=0.0,
        maximum=5.0,
    )
    restart_after_s: float = parameter(
        1.0, "A camera frozen for longer is connected again.", unit="s", minimum=0.2, maximum=30.0
    )
    retry_s: float = parameter(0.5, "Pause between attempts to connect.", unit="s", minimum=0.1, maximum=30.0)


class CameraNode(SimpleNode):
    """Publishes what the camera sees."""

    node_name = names.NODE_CAMERA
    parameters_type = CameraParameters
    make_context: ClassVar[Callable[[], Any]] = rs.context

    def configure(self) -> None:
        """Connect, and start publishing. A camera that is not there is waited for."""
        p = self.parameters
        config = load_cell(p.cell).camera if p.cell else CameraConfig()
        if config.optical_frame != names.DEPTH_OPTICAL_FRAME:
            raise NodeError(
                f"{p.cell}: camera.optical_frame: this node publishes {names.DEPTH_OPTICAL_FRAME}, got"
                f" {config.optical_frame!r}: leave the field out, or use another driver with camera:=external"
            )
        settings = camera_settings(p, config)
        self._fps = settings.fps
        self._description: CameraDescription | None = None
        self._age_ms = 0.0
        self._domain = ""
        self._color_due_s = 0.0
        self._reported = (0, time.monotonic())
        self._depth = self.create_publisher(Image, names.TOPIC_DEPTH_IMAGE, qos.SENSOR_PUBLISHER)
        self._depth_info = self.create_publisher(CameraInfo, names.TOPIC_DEPTH_INFO, qos.SENSOR_PUBLISHER)
        if p.color:
            self._color = self.create_publisher(Image, names.TOPIC_COLOR_IMAGE, qos.SENSOR_PUBLISHER)
            self._jpeg = self.create_publisher(CompressedImage, names.TOPIC_COLOR_COMPRESSED, qos.SENSOR_PUBLISHER)
            self._color_info = self.create_publisher(CameraInfo, names.TOPIC_COLOR_INFO, qos.SENSOR_PUBLISHER)
        if p.align_depth:
            self._aligned = self.create_publisher(Image, names.TOPIC_ALIGNED_IMAGE, qos.SENSOR_PUBLISHER)
            self._aligned_info = self.create_publisher(CameraInfo, names.TOPIC_ALIGNED_INFO, qos.SENSOR_PUBLISHER)
        self._timings = self.create_publisher(StageTimings, names.TOPIC_TIMINGS, qos.STATUS)
        self._transforms = StaticTransformBroadcaster(self)
        self._stream = CameraStream(
            lambda: RealSenseCamera(settings, type(self).make_context),
            self._on_frame,
            on_connected=self._on_connected,
            on_problem=lambda text: self.get_logger().error(text),
            limits=StreamLimits(max_repeat_s=p.max_repeat_s, restart_after_s=p.restart_after_s, retry_s=p.retry_s),
        )
        self._stream.start()
        self.on_release(self._stream.close)

    def waiting_for(self) -> str:
        """The first image."""
        return "" if self._stream.frames else f"the camera's first image: {self._stream.problem}"

    def health(self) -> Health:
        """An error while no images come, a warning for a doubtful clock, a slow stream or USB 2."""
        stream, now_s = self._stream, time.monotonic()
        (frames, since_s), self._reported = self._reported, (stream.frames, now_s)
        fps = (stream.frames - frames) / max(now_s - since_s, 1e-3)
        values: dict[str, object] = {
            "fps": fps,
            "lost": stream.lost,
            "held": stream.held,
            "restarts": stream.restarts,
            "age_ms": self._age_ms,
            "time_domain": self._domain,
        }
        d = self._description
        if d is not None:
            values |= {"name": d.name, "serial": d.serial, "firmware": d.firmware, "usb": d.usb}
        if stream.problem:
            return Health(ERROR, stream.problem, values)
        if self._domain != GLOBAL_TIME and not self.parameters.recording:
            text = f"stamps in {self._domain}, expected {GLOBAL_TIME}: the age of images is only estimated"
            return Health(WARN, f"{text}; install librealsense's kernel module or its udev rules", values)
        if fps < _FPS_SLACK * self._fps:
            return Health(WARN, f"{fps:.1f} images a second, expected {self._fps}: check USB and lights", values)
        return Health(OK, "streaming", values)

    def _on_connected(self, description: CameraDescription) -> None:
        self._description = description
        self._transforms.sendTransform(camera_tree(description.T_depth_color, self.get_clock().now().to_msg()))
        self.get_logger().info(
            f"{description.name} {description.serial}, firmware {description.firmware}, USB {description.usb}"
        )

    def _on_frame(self, frame: Frame) -> None:
        description = self._description
        assert description is not None
        header = Header(stamp=bridge.ns_to_stamp(frame.stamp_ns), frame_id=names.DEPTH_OPTICAL_FRAME)
        arrived_ms = (time.time_ns() - frame.stamp_ns) * 1e-6
        self._depth_info.publish(bridge.intrinsics_to_camera_info(description.depth, header))
        self._depth.publish(bridge.array_to_image(frame.depth, "16UC1", header))
        self._age_ms = (time.time_ns() - frame.stamp_ns) * 1e-6
        self._domain = frame.domain
        stages_ms = {"capture_to_driver": arrived_ms, "publish": self._age_ms - arrived_ms}
        self._timings.publish(bridge.stage_timings("camera", header.stamp, stages_ms))
        if frame.color is None or description.color is None:
            return
        header = Header(stamp=bridge.ns_to_stamp(frame.color_stamp_ns), frame_id=names.COLOR_OPTICAL_FRAME)
        if self._color.get_subscription_count():
            self._color.publish(bridge.array_to_image(frame.color, "rgb8", header))
        now_s = time.monotonic()
        if now_s >= self._color_due_s:
            self._color_due_s = max(self._color_due_s + 1.0 / self.parameters.color_fps, now_s - 0.01)
            self._color_info.publish(bridge.intrinsics_to_camera_info(description.color, header))
            self._jpeg.publish(bridge.array_to_jpeg(frame.color, self.parameters.jpeg_quality, header))
        if frame.aligned_depth is not None:
            # stamped as the depth image it was made of, in the frame of the pixels it has
            aligned = Header(stamp=bridge.ns_to_stamp(frame.stamp_ns), frame_id=names.COLOR_OPTICAL_FRAME)
            self._aligned_info.publish(bridge.intrinsics_to_camera_info(description.color, aligned))
            self._aligned.publish(bridge.array_to_image(frame.aligned_depth, "16UC1", aligned))


def camera_settings(p: CameraParameters, config: CameraConfig) -> CameraSettings:
    """The driver's settings, of the node's parameters and the cell file. Raises CameraError for impossible ones."""
    return CameraSettings(
        serial=config.serial,
        width=config.width,
        height=config.height,
        fps=config.fps,
        color=p.color,
        align=p.align_depth,
        preset="" if p.preset == "keep" else p.preset,
        laser_power_mw=p.laser_power_mw,
        depth_exposure_us=p.depth_exposure_us,
        color_exposure_us=p.color_exposure_us,
        filters=p.filters,
        decimation=p.decimation,
        threshold_m=(p.threshold_min_m, p.threshold_max_m),
        accept_usb2=p.accept_usb2,
        recording=p.recording,
        frame_timeout_s=p.frame_timeout_s,
    )


def main(node_type: type[CameraNode] = CameraNode) -> int:
    """Run the camera node."""
    return run_node(node_type, niceness=_NICENESS)


if __name__ == "__main__":
    sys.exit(main())
