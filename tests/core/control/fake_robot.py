"""An arm without hardware for the tests of the control logic: it follows twists as the robot would, in virtual time."""

from __future__ import annotations

import dataclasses

import numpy as np

from clar_core.control.robot import GripperReading, RobotError, RobotReading
from clar_core.control.tracking import VelocityResponse
from clar_core.geometry import poses

T_START = poses.make_pose(poses.rotation_vector_to_matrix([np.pi, 0, 0]), [0.5, 0.0, 0.3])
JOINTS = np.array([0.0, -0.6, 0.0, -2.356, 0.0, 1.75, 0.785])


class FakeArm:
    """A TCP in free space. ``change`` sets fields of its next readings; ``fail`` is raised by the next calls."""

    def __init__(self) -> None:
        self.T = T_START.copy()
        self.time_s = 0.0
        self.response = VelocityResponse()
        self.twist = np.zeros(6)
        self.changes: dict[str, object] = {}
        self.fail: dict[str, Exception] = {}
        self.sent: list[np.ndarray] = []
        self.references: list[tuple[np.ndarray, np.ndarray]] = []
        self.ramps = 0
        self.recoveries = 0
        self.joint_goal: np.ndarray | None = None
        self.joints = JOINTS.copy()
        self.polls_until_done = 3

    def change(self, **changes: object) -> None:
        self.changes.update(changes)

    def advance(self, duration_s: float, twist: np.ndarray | None) -> None:
        """Let time pass while the robot is told a twist, or to come to rest."""
        mean = self.response.advance(np.zeros(6) if twist is None else twist, duration_s)
        self.T = poses.apply_delta(self.T, mean[:3] * duration_s, mean[3:] * duration_s)
        self.time_s += duration_s

    def reading(self) -> RobotReading:
        reading = RobotReading(
            T_base_tcp=self.T.copy(),
            joints_rad=self.joints.copy(),
            joint_velocities_rad_s=np.zeros(7),
            joint_torques_nm=np.zeros(7),
            twist=self.response.twist,
            jacobian=np.eye(6, 7),
            robot_mode="Idle",
            errors=(),
            command_success_rate=1.0,
            read_at_s=self.time_s,
            stamp_ns=int(self.time_s * 1e9),
        )
        return dataclasses.replace(reading, **self.changes)  # type: ignore[arg-type]

    # The driver's calls

    def read(self) -> RobotReading:
        self._may_fail("read")
        return self.reading()

    def send_twist(self, twist: np.ndarray) -> None:
        self._may_fail("send_twist")
        self.sent.append(twist)
        self.polls_until_done = 3

    def send_reference(self, T_base_tcp: np.ndarray, twist: np.ndarray) -> None:
        self._may_fail("send_reference")
        self.references.append((T_base_tcp, twist))
        self.polls_until_done = 3

    def ramp_down(self) -> None:
        self._may_fail("ramp_down")
        self.ramps += 1

    def poll(self) -> bool:
        self._may_fail("poll")
        self.polls_until_done -= 1
        if self.polls_until_done <= 0 and self.joint_goal is not None:
            self.joints, self.joint_goal = self.joint_goal, None
        return self.polls_until_done > 0

    def start_joint_motion(self, joints_rad: np.ndarray, speed: float) -> None:
        self._may_fail("start_joint_motion")
        self.joint_goal = np.asarray(joints_rad, dtype=np.float64)
        self.polls_until_done = 10

    def start_cartesian_motion(self, T_base_tcp: np.ndarray, speed: float) -> None:
        self._may_fail("start_cartesian_motion")
        self.T = np.asarray(T_base_tcp, dtype=np.float64)
        self.polls_until_done = 10

    def tcp_pose(self, joints_rad: np.ndarray) -> np.ndarray:
        return self.T

    def recover(self) -> None:
        self._may_fail("recover")
        self.recoveries += 1
        self.changes.clear()
        self.fail.clear()

    def close(self) -> None:
        pass

    def _may_fail(self, name: str) -> None:
        if name in self.fail:
            raise self.fail[name]


class FakeGripper:
    """Fingers that move at once."""

    def __init__(self) -> None:
        self.state = GripperReading(width_m=0.08, max_width_m=0.08, is_grasped=False)
        self.requests: list[bool] = []

    def read(self) -> GripperReading:
        return self.state

    def request(self, is_open: bool) -> None:
        self.requests.append(is_open)
        width_m = 0.08 if is_open else 0.044
        self.state = dataclasses.replace(self.state, width_m=width_m, is_grasped=not is_open, goal_open=is_open)

    def home(self) -> None:
        self.requests.append(True)
        self.state = dataclasses.replace(self.state, width_m=0.08, max_width_m=0.08, is_grasped=False, fault="")

    def recover(self) -> None:
        self.state = dataclasses.replace(self.state, fault="")

    def close(self) -> None:
        pass


__all__ = ["JOINTS", "T_START", "FakeArm", "FakeGripper", "RobotError"]
