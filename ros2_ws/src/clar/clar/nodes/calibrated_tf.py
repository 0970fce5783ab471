"""Publishes base -> camera_link: the calibration composed with the camera driver's own static transforms.

The calibration knows where the depth optical frame is; the driver publishes how that frame hangs under its root,
``camera_link``. Publishing base -> optical would give the optical frame two parents, so this node waits for the
driver's transform, checks that it is the one the calibration was made with, and publishes what is missing above it.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass

import numpy as np
import rclpy.time
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer, StaticTransformBroadcaster, TransformException, TransformListener

from clar import bridge, names, qos
from clar.node import OK, WARN, Health, NodeError, SimpleNode
from clar.parameters import NodeParameters, parameter
from clar.process import run_node
from clar_calibration import CalibrationError, load_calibration
from clar_calibration.quality import check_quality
from clar_calibration.result import EYE_IN_HAND
from clar_core.control.gates import Gate
from clar_core.geometry.poses import delta_between, inverse

_POLL_S = 0.1
_SAY_AFTER_S = 5.0


@dataclass(frozen=True, kw_only=True)
class CalibratedTfParameters(NodeParameters):
    """Parameters of the calibrated_tf node."""

    calibration: str = parameter(description="Path of the calibration file.")
    base_frame: str = parameter(names.BASE_FRAME, "Base frame that the calibration must be expressed in.")
    max_age_days: float = parameter(
        30.0, "A calibration that is older is refused; 0 accepts any age.", unit="days", minimum=0.0, maximum=3650.0
    )
    accept_old: bool = parameter(False, "Run with a calibration older than max_age_days all the same; it is logged.")
    accept_poor: bool = parameter(False, "Run with a calibration that is not good enough all the same; it is logged.")
    translation_tolerance_m: float = parameter(
        0.001, "Admitted difference to the driver's stored transform.", unit="m", minimum=1e-6, maximum=0.05
    )
    rotation_tolerance_deg: float = parameter(
        0.1, "Admitted difference to the driver's stored transform.", unit="deg", minimum=1e-4, maximum=5.0
    )


class CalibratedTfNode(SimpleNode):
    """Gives the camera its place in the robot's frame tree."""

    node_name = names.NODE_CALIBRATED_TF
    parameters_type = CalibratedTfParameters

    def configure(self) -> None:
        """Load and check the calibration, publish its hash, and wait for the driver."""
        p = self.parameters
        self._calibration = load_calibration(p.calibration)
        in_hand = self._calibration.set_up == EYE_IN_HAND
        expected = names.TCP_FRAME if in_hand else p.base_frame
        if self._calibration.base_frame != expected:
            raise NodeError(
                f"{p.calibration}: frames.base: expected {expected}, got {self._calibration.base_frame};"
                f" calibrate in the {'TCP' if in_hand else 'base'} frame of this robot"
            )
        self._remark = ""
        self._check_age()
        self._check_quality()
        self._own: TransformStamped | None = None
        self._since_s = time.monotonic()
        self.create_publisher(String, names.TOPIC_CALIBRATION, qos.LATCHED).publish(String(data=self._calibration.hash))
        self._gate_publisher = self.create_publisher(DiagnosticStatus, names.TOPIC_GATES, qos.LATCHED)
        self._set_gate("the camera's place is not known yet: is its driver running?")
        self._broadcaster = StaticTransformBroadcaster(self)
        self._buffer = Buffer(node=self)
        self._listener = TransformListener(self._buffer, self)
        self.create_subscription(TFMessage, names.TOPIC_TF_STATIC, self._refuse_other_parents, qos.TF_STATIC)
        self._poll = self.create_timer(_POLL_S, self._compose)

    def health(self) -> Health:
        """A warning until the camera has its place."""
        c = self._calibration
        values: dict[str, object] = {
            "hash": c.hash,
            "date": c.date.isoformat(),
            "camera_serial": c.camera_serial,
            "holdout_translation_mm": c.holdout_translation_mm,
            "holdout_rotation_deg": c.holdout_rotation_deg,
        }
        if self._own is None:
            return Health(WARN, f"waiting for the driver's {c.link_frame} -> {c.optical_frame}", values)
        return Health(OK, f"publishing {c.base_frame} -> {c.link_frame}", values)

    def _check_age(self) -> None:
        p = self.parameters
        if p.max_age_days == 0:
            return
        try:
            self._calibration.check_age(p.max_age_days)
        except ValueError as error:
            if not p.accept_old:
                raise NodeError(f"{p.calibration}: {error}, or set accept_old") from error
            self._remark = f"accepted by override: {error}"
            self.get_logger().warning(self._remark)

    def _check_quality(self) -> None:
        try:
            check_quality(self._calibration)
        except CalibrationError as error:
            if not self.parameters.accept_poor:
                raise NodeError(f"{self.parameters.calibration}: {error}, or set accept_poor") from error
            self._remark = "; ".join(filter(None, (self._remark, f"accepted by override: {error}")))
            self.get_logger().warning(f"accepted by override: {error}")

    def _compose(self) -> None:
        c = self._calibration
        T_link_optical = self._lookup(c.link_frame, c.optical_frame)
        if T_link_optical is None:
            if time.monotonic() - self._since_s > _SAY_AFTER_S:
                self.get_logger().warning(
                    f"waiting for the driver's static transform {c.link_frame} -> {c.optical_frame} on"
                    f" {names.TOPIC_TF_STATIC}: is the camera running, and is it the one of the calibration?",
                    throttle_duration_sec=_SAY_AFTER_S,
                )
            return
        self._compare(T_link_optical)
        T_base_link = c.T_base_optical @ inverse(T_link_optical)
        message = TransformStamped(child_frame_id=c.link_frame, transform=bridge.matrix_to_transform(T_base_link))
        message.header.frame_id = c.base_frame
        message.header.stamp = self.get_clock().now().to_msg()
        self._broadcaster.sendTransform(message)
        self._own = message
        self._set_gate("")
        self.get_logger().info(f"publishing {c.base_frame} -> {c.link_frame} of calibration {c.hash}")
        self.destroy_timer(self._poll)
        self._listener.unregister()  # a static place needs no further transforms

    def _set_gate(self, objection: str) -> None:
        gate = Gate(names.GATE_CALIBRATION, objection, self._remark)
        self._gate_publisher.publish(bridge.gate_to_status(gate))

    def _refuse_other_parents(self, message: TFMessage) -> None:
        """Stop when somebody else says where the camera is: a frame has one parent."""
        link_frame = self._calibration.link_frame
        for transform in message.transforms:
            if transform.child_frame_id == link_frame and transform != self._own:
                raise NodeError(
                    f"another node publishes {transform.header.frame_id} -> {link_frame} on {names.TOPIC_TF_STATIC}:"
                    " end it, a frame must have one parent and this node is the one that knows the calibration"
                )

    def _compare(self, T_link_optical: np.ndarray) -> None:
        """Stop unless the driver's transform is the one that the calibration was made with."""
        p, c = self.parameters, self._calibration
        translation, rotation = delta_between(c.T_link_optical, T_link_optical)
        distance_m = float(np.linalg.norm(translation))
        angle_deg = math.degrees(float(np.linalg.norm(rotation)))
        if distance_m > p.translation_tolerance_m or angle_deg > p.rotation_tolerance_deg:
            raise NodeError(
                f"the driver's {c.link_frame} -> {c.optical_frame} differs from the one in {p.calibration} by"
                f" {distance_m * 1e3:.2f} mm and {angle_deg:.2f} degrees, expected at most"
                f" {p.translation_tolerance_m * 1e3:g} mm and {p.rotation_tolerance_deg:g} degrees: this is another"
                f" camera or driver than the calibrated one (serial {c.camera_serial}); calibrate again"
            )

    def _lookup(self, target: str, source: str) -> np.ndarray | None:
        try:
            transform = self._buffer.lookup_transform(target, source, rclpy.time.Time())
        except TransformException:
            return None
        return bridge.transform_to_matrix(transform.transform)


def main() -> int:
    """Run the calibrated_tf node."""
    return run_node(CalibratedTfNode)


if __name__ == "__main__":
    sys.exit(main())
