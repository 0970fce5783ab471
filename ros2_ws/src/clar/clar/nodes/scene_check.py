"""Tells whether the camera still is where it was calibrated, and closes the arm's gate when it is not.

Looks once the camera and the arm are there, again when the arm is armed, now and then while it does not run, and on
demand; never while it runs. Serves `clar calibrate check` and `clar calibrate verify`.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from clar import bridge, names, qos
from clar.calls import CallError
from clar.look import take_look
from clar.node import OK, WARN, Health, NodeError, SimpleNode
from clar.parameters import NodeParameters, parameter
from clar.process import run_node
from clar_calibration import load_calibration
from clar_calibration.arm_in_cloud import ArmNotSeenError, check_arm
from clar_calibration.arm_shape import ArmShape
from clar_calibration.reference import load_scene
from clar_calibration.result import EYE_TO_HAND
from clar_calibration.scene_check import ANGLE_LIMIT_DEG, DISTANCE_LIMIT_MM, SceneError, check_scene
from clar_core.control.gates import Gate
from clar_interfaces.msg import RobotState

_POLL_S = 0.2
_RETRY_S = 3.0
_NICENESS = 10
_NOT_YET = "the scene has not been looked at yet: wait a moment; is the camera running, with colour and depth?"


@dataclass(frozen=True, kw_only=True)
class SceneCheckParameters(NodeParameters):
    """Parameters of the scene_check node."""

    calibration: str = parameter(description="Path of the calibration file.")
    period_s: float = parameter(
        30.0, "Time between two looks while the arm does not run.", unit="s", minimum=2.0, maximum=3600.0
    )
    distance_limit_mm: float = parameter(
        DISTANCE_LIMIT_MM, "A camera displaced by more has moved.", unit="mm", minimum=0.2, maximum=50.0
    )
    angle_limit_deg: float = parameter(
        ANGLE_LIMIT_DEG, "A camera turned by more has moved.", unit="deg", minimum=0.02, maximum=10.0
    )
    arm_limit_mm: float = parameter(
        5.0, "`verify` is satisfied when the arm appears this near to its model.", unit="mm", minimum=0.5, maximum=50.0
    )
    inverse_lens: bool = parameter(True, "As for the calibrate node.")


class SceneCheckNode(SimpleNode):
    """Looks, compares, and says so on the gate."""

    node_name = names.NODE_SCENE_CHECK
    parameters_type = SceneCheckParameters
    parameters: SceneCheckParameters

    def configure(self) -> None:
        """Load the calibration, its scene, and the arm's model."""
        path = Path(self.parameters.calibration)
        self._calibration = load_calibration(path)
        if self._calibration.set_up != EYE_TO_HAND:
            raise NodeError(f"{path}: set_up: the scene of a camera on the hand is not static; leave this node out")
        self._reference = load_scene(self._calibration, path) if self._calibration.reference else None
        self._shape = ArmShape.seen_by(self._calibration.camera_serial)
        self._answer = _NOT_YET
        self._moved = False
        self._mode = RobotState.MODE_DISARMED
        self._due_s = 0.0
        self._seen = False
        self._looking = threading.Lock()

    def activate(self) -> None:
        """Listen to the arm, and start looking."""
        group = ReentrantCallbackGroup()
        self._group = group
        self._gate_publisher = self.create_publisher(DiagnosticStatus, names.TOPIC_GATES, qos.LATCHED)
        self.create_subscription(RobotState, names.TOPIC_ROBOT_MODE, self._on_mode, qos.LATCHED, callback_group=group)
        self.create_service(Trigger, names.SERVICE_CHECK_SCENE, self._on_check, callback_group=group)
        self.create_service(Trigger, names.SERVICE_VERIFY_CALIBRATION, self._on_verify, callback_group=group)
        if self._reference is None:
            self._answer = "the calibration has no reference scene, so that nobody can tell whether the camera moved"
            self._publish("", self._answer)
            return
        self._publish(_NOT_YET)
        self.in_thread("scene", self._watch)

    def health(self) -> Health:
        """The newest answer."""
        return Health(WARN if self._moved or self._reference is None else OK, self._answer)

    def _watch(self) -> None:
        while not self.stop_requested.wait(_POLL_S):
            if self._mode == RobotState.MODE_RUNNING or time.monotonic() < self._due_s:
                continue
            try:
                self._check()
            except (CallError, SceneError) as error:
                self._answer = f"no look at the scene: {error}"
                # a look that fails (the arm is just moved) takes back no answer that there is
                if not self._seen:
                    self._publish(self._answer)
                self._due_s = time.monotonic() + _RETRY_S

    def _check(self) -> str:
        """Look, compare, tell the gate; the answer as text."""
        p, reference = self.parameters, self._reference
        if reference is None:
            raise CallError(f"{p.calibration}: {self._answer}; calibrate again with calibrate.launch.py")
        with self._looking:
            look = take_look(self, self._group, inverse_lens=p.inverse_lens, cancelled=self.stop_requested.is_set)
            check = check_scene(
                reference,
                look.scene(self._calibration.T_base_optical, self._shape),
                distance_limit_mm=p.distance_limit_mm,
                angle_limit_deg=p.angle_limit_deg,
            )
        self._due_s = time.monotonic() + p.period_s
        self._seen, self._moved, self._answer = True, check.moved, str(check)
        if check.moved:
            self._publish(f"{check}; put it back, or calibrate again: ros2 launch clar calibrate.launch.py")
        else:
            self._publish("", check.doubt)
        return str(check)

    def _publish(self, objection: str, remark: str = "") -> None:
        self._gate_publisher.publish(bridge.gate_to_status(Gate(names.GATE_SCENE, objection, remark)))

    def _on_mode(self, state: RobotState) -> None:
        if state.mode == RobotState.MODE_ARMED and self._mode != RobotState.MODE_ARMED:
            self._due_s = 0.0
        self._mode = state.mode

    def _on_check(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message = self._check()
        except (CallError, SceneError) as error:
            response.success, response.message = False, str(error)
        else:
            response.success = not self._moved
        return response

    def _on_verify(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        p = self.parameters
        try:
            with self._looking:
                look = take_look(self, self._group, inverse_lens=p.inverse_lens)
            found = check_arm([look.posture], self._calibration.T_base_optical, look.depth, self._shape)
        except (CallError, ArmNotSeenError) as error:
            response.success, response.message = False, str(error)
            return response
        response.success, response.message = found.distance_mm <= p.arm_limit_mm, str(found)
        return response


def main() -> int:
    """Run the scene_check node."""
    return run_node(SceneCheckNode, threads=4, niceness=_NICENESS)


if __name__ == "__main__":
    sys.exit(main())
