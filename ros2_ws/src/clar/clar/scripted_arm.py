"""The arm as a program moves it: straight ways through the same commands, envelope and supervisor as a policy's.

While it owns the arm it sends a command every 100 ms, standing still included, because silence halts.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from clar import bridge, names, qos
from clar.calls import CallError, call_successfully, wait_until
from clar_calibration.motion import Stillness, way
from clar_core.control.tracking import limit_norm
from clar_core.geometry.poses import delta_between
from clar_interfaces.msg import DeltaCommand, RobotState
from clar_interfaces.srv import Start

Array = NDArray[np.float64]

_PERIOD_S = 0.1
_QUICK_S = 5.0
_HOME_S = 60.0
_STATE_WITHIN_S = 30.0
_ARRIVED = 0.012
_TRAILING = 0.02
"""The way waits for an arm that is further behind: a simulator on a busy machine is slower than the clock."""
_STEP_M, _STEP_RAD = 0.03, 0.12


class ScriptedArm:
    """Moves the arm for one owner.

    Args:
        node: whose entities they are; its executor must have several threads.
        group: of subscriptions and clients.
        speed_m_s, turn_rad_s: of the ways.
    """

    def __init__(self, node: Node, group: CallbackGroup, *, speed_m_s: float, turn_rad_s: float) -> None:
        self._node = node
        self._speed_m_s, self._turn_rad_s = speed_m_s, turn_rad_s
        self.stillness = Stillness()
        self.state: RobotState | None = None
        self._joints: Array | None = None
        self._lock = threading.Lock()
        self._way: deque[Array] = deque()
        self._target: Array | None = None
        self._sequence = 0
        self._publisher = node.create_publisher(DeltaCommand, names.TOPIC_COMMAND, qos.COMMAND)
        node.create_subscription(RobotState, names.TOPIC_ROBOT_STATE, self._on_state, qos.STATE, callback_group=group)
        node.create_subscription(JointState, names.TOPIC_JOINT_STATES, self._on_joints, qos.STATE, callback_group=group)
        self._clients = {
            name: node.create_client(kind, name, callback_group=group)
            for name, kind in (
                (names.SERVICE_START, Start),
                (names.SERVICE_STOP, Trigger),
                (names.SERVICE_HOME, Trigger),
            )
        }

    @property
    def pose(self) -> Array:
        """(4, 4) newest measured ``T_base_tcp``. Raises CallError before the first."""
        if self.state is None:
            raise CallError(f"no state on {names.TOPIC_ROBOT_STATE}: is the arm node active?")
        return bridge.pose_to_matrix(self.state.measured_pose)

    @property
    def joints_rad(self) -> Array | None:
        """(7,) newest measured joint positions."""
        return self._joints

    def await_state(self) -> None:
        """Until the arm's state and joints are there. Raises CallError."""
        if not wait_until(lambda: self.state is not None and self._joints is not None, _STATE_WITHIN_S):
            raise CallError(f"no state on {names.TOPIC_ROBOT_STATE} within {_STATE_WITHIN_S:g} s: is the arm active?")

    def mode(self) -> int:
        """The supervisor's mode."""
        return -1 if self.state is None else int(self.state.mode)

    def start(self) -> None:
        """Take the arm: ARMED -> RUNNING(scripted)."""
        self._call(names.SERVICE_START, Start.Request(owner=names.SOURCE_SCRIPTED), _QUICK_S)
        if not wait_until(lambda: self.mode() == RobotState.MODE_RUNNING, _QUICK_S):
            raise CallError("START was granted, but the arm is not RUNNING")
        with self._lock:
            self._way.clear()
            self._target = bridge.pose_to_matrix(self.state.commanded_pose)
        # A thread rather than a timer: the executor is busy with pictures, and one second of silence halts.
        threading.Thread(target=self._drive, name="commands", daemon=True).start()

    def stop(self) -> None:
        """Let go of the arm; it stands still and stays ARMED."""
        with self._lock:
            self._target = None
            self._way.clear()
        self._call(names.SERVICE_STOP, Trigger.Request(), _QUICK_S)

    def home(self) -> None:
        """Go home along the robot's own joint motion; ARMED before and after."""
        self._call(names.SERVICE_HOME, Trigger.Request(), _HOME_S)

    def go(self, T_base_tcp: Array) -> None:
        """Go to a pose and wait for the arrival. Raises CallError when the arm was stopped or does not arrive."""
        with self._lock:
            if self._target is None:
                raise CallError("the arm was not started")
            poses = way(self._target, T_base_tcp, speed_m_s=self._speed_m_s, turn_rad_s=self._turn_rad_s)
            self._way.extend(poses)
        limit_s = 6.0 * _PERIOD_S * len(poses) + 10.0
        arrived = wait_until(lambda: not self._way and self._near(T_base_tcp), limit_s, self._lost)
        self._check_running()
        if not arrived:
            translation, rotation = delta_between(self.pose, T_base_tcp)
            raise CallError(
                f"the arm did not arrive: {np.linalg.norm(translation) * 1e3:.0f} mm and"
                f" {np.degrees(np.linalg.norm(rotation)):.1f} degrees are left after {limit_s:.0f} s"
            )

    def await_still(self, timeout_s: float) -> float:
        """The wall time in seconds since which the arm stands still. Raises CallError."""
        begun_s = time.time()

        def still() -> bool:
            now_s = time.time()
            window_s = self.stillness.limits.window_s
            return self.stillness.between(max(begun_s, now_s - window_s - 0.05), now_s - 0.02) is not None and (
                now_s - begun_s > window_s
            )

        if not wait_until(still, timeout_s, self._lost):
            self._check_running()
            raise CallError(f"the arm did not come to rest within {timeout_s:g} s; is something touching it?")
        return time.time()

    def _lost(self) -> bool:
        return self._target is not None and self.mode() != RobotState.MODE_RUNNING

    def _check_running(self) -> None:
        if self._lost():
            raise CallError(f"the arm was stopped: {self.state.reason if self.state else 'no state'}")

    def _near(self, T: Array) -> bool:
        return self._distance(self.pose, T) < _ARRIVED

    @staticmethod
    def _distance(T_a: Array, T_b: Array) -> float:
        """Metres, an angle counted as what it moves at 30 cm."""
        translation, rotation = delta_between(T_a, T_b)
        return float(np.linalg.norm(translation) + 0.3 * np.linalg.norm(rotation))

    def _drive(self) -> None:
        due_s = time.monotonic()
        while self._command():
            # never two steps at once: what a busy machine delayed comes later, not faster
            due_s = max(due_s + _PERIOD_S, time.monotonic() + 0.5 * _PERIOD_S)
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _command(self) -> bool:
        """Send the next step; False once the arm is no longer ours."""
        state = self.state
        with self._lock:
            if self._target is None or state is None or state.mode != RobotState.MODE_RUNNING:
                return False
            # What the envelope made of the last step is where the next one begins, once the arm tells.
            told = state.last_sequence == self._sequence
            now = bridge.pose_to_matrix(state.commanded_pose) if told else self._target
            if self._way and self._distance(bridge.pose_to_matrix(state.measured_pose), self._target) < _TRAILING:
                self._target = self._way.popleft()
            translation, rotation = delta_between(now, self._target)
        translation = limit_norm(translation, _STEP_M)
        rotation = limit_norm(rotation, _STEP_RAD)
        self._sequence += 1
        command = DeltaCommand(source=names.SOURCE_SCRIPTED, sequence=self._sequence)
        command.header.frame_id = names.BASE_FRAME
        command.header.stamp = self._node.get_clock().now().to_msg()
        command.translation, command.rotation = bridge.vector3(translation), bridge.vector3(rotation)
        command.gripper = float(state.gripper_target)
        self._publisher.publish(command)
        return True

    def _call(self, name: str, request: Any, timeout_s: float) -> None:
        call_successfully(self._clients[name], request, timeout_s)

    def _on_state(self, state: RobotState) -> None:
        self.state = state
        self.stillness.add(bridge.stamp_to_s(state.header.stamp), bridge.pose_to_matrix(state.measured_pose))

    def _on_joints(self, joints: JointState) -> None:
        self._joints = np.array(joints.position[:7])
