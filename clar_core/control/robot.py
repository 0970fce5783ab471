"""What the control logic knows of an arm: readings, faults, and the calls a driver offers. Drivers implement these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DISCONNECTED = "Disconnected"
"""Robot mode of a reading that is only the last one known, because the connection is lost."""

DESK_STEPS = {
    "UserStopped": "release the user stop (black button) on the robot",
    "Guiding": "let go of the guiding button and, on Desk, leave guiding mode",
    "Reflex": "run `clar recover`",
    "Other": "on the robot's Desk, unlock the brakes and activate FCI",
    "AutomaticErrorRecovery": "wait until the robot has recovered",
    DISCONNECTED: "check the network and robot_ip, then run `clar recover`",
}
"""What the operator does about a robot mode in which nothing may move."""

_CLOSED_WIDTH_M = 0.003


class RobotError(RuntimeError):
    """The robot or its driver failed; the text says what happened and what to do next."""


@dataclass(frozen=True, eq=False)
class RobotReading:
    """One measured state of the arm.

    Attributes:
        T_base_tcp: (4, 4) measured TCP pose.
        joints_rad: (7,) measured joint positions.
        joint_velocities_rad_s: (7,) measured.
        joint_torques_nm: (7,) measured.
        twist: (6,) measured TCP twist in m/s and rad/s, base frame.
        jacobian: (6, 7) from joint velocities to the TCP's twist in the base frame.
        robot_mode: the robot's own mode, as its driver names it (``Idle``, ``Move``, ``Reflex``, ``UserStopped``, ...).
        errors: names of the robot's present errors.
        command_success_rate: part of the last 100 control commands that arrived in time; 1 when no motion runs.
        read_at_s: monotonic time of the reading.
        stamp_ns: wall time of the reading.
    """

    T_base_tcp: Array
    joints_rad: Array
    joint_velocities_rad_s: Array
    joint_torques_nm: Array
    twist: Array
    jacobian: Array
    robot_mode: str
    errors: tuple[str, ...]
    command_success_rate: float
    read_at_s: float
    stamp_ns: int


@dataclass(frozen=True)
class GripperReading:
    """One measured state of the gripper.

    Attributes:
        width_m: opening between the fingers.
        max_width_m: largest opening, known after homing.
        is_grasped: the gripper itself says that it holds something.
        goal_open: the last request, True for open; None before the first.
        busy: a request is being executed.
        fault: what is wrong with the gripper, empty when nothing is.
    """

    width_m: float
    max_width_m: float
    is_grasped: bool
    goal_open: bool | None = None
    busy: bool = False
    fault: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it counts as open: what was last asked of it, or else where its fingers are."""
        if self.goal_open is not None:
            return self.goal_open
        return not self.is_grasped and self.width_m > 0.5 * self.max_width_m

    @property
    def holds_object(self) -> bool:
        """Whether there is something between the fingers: a grasp of nothing succeeds too, with closed fingers."""
        return self.is_grasped and self.width_m > _CLOSED_WIDTH_M


OBJECT_LOST = "the grasped object was lost"
"""Why an arm halts of which a :class:`GraspWatch` says so."""


class GraspWatch:
    """Notices that what the gripper held is gone although nobody told it to let go."""

    def __init__(self) -> None:
        self._held = False

    def reset(self, gripper: GripperReading | None) -> None:
        """Begin anew with what is held now."""
        self._held = gripper is not None and gripper.holds_object

    def is_lost(self, gripper: GripperReading) -> bool:
        """Take the next reading; whether something was held at the last one and is no longer there."""
        held = gripper.holds_object
        lost = self._held and not held and not gripper.busy and gripper.goal_open is False
        self._held = held
        return lost


class ArmDriver(Protocol):
    """An arm. All calls come from one thread; none may take longer than a few milliseconds unless it says so."""

    def read(self) -> RobotReading:
        """The newest state. Raises RobotError when the connection is lost."""

    def send_twist(self, twist: Array) -> None:
        """Move the TCP by a twist (6,), base frame, for at most 200 ms: without another call the arm stops by itself.

        Raises:
            RobotError: the robot refuses, or a motion failed since the last call.
        """

    def send_reference(self, T_base_tcp: Array, twist: Array) -> None:
        """Hold the TCP at a pose (4, 4) that moves by a twist (6,), by a spring: for at most 200 ms, as ``send_twist``.

        Raises:
            RobotError: the robot refuses, or a motion failed since the last call.
        """

    def ramp_down(self) -> None:
        """Bring the arm to rest along its limits and end the motion; nothing when none runs."""

    def poll(self) -> bool:
        """Whether a motion runs. Raises RobotError when the motion ended by an error."""

    def start_joint_motion(self, joints_rad: Array, speed: float) -> None:
        """Start a joint motion (7,) at a fraction of the robot's limits, and return at once."""

    def start_cartesian_motion(self, T_base_tcp: Array, speed: float) -> None:
        """Start a straight motion to a TCP pose (4, 4) at a fraction of the robot's limits, and return at once."""

    def tcp_pose(self, joints_rad: Array) -> Array:
        """Forward kinematics: (4, 4) TCP pose of a joint position (7,)."""

    def recover(self) -> None:
        """Clear the robot's errors, reconnecting if need be; takes up to 10 s. Raises RobotError when it cannot."""

    def close(self) -> None:
        """Ramp down and disconnect; takes up to 1 s. Never raises."""


class GripperDriver(Protocol):
    """A gripper. No call blocks; what takes time happens in the driver's own thread."""

    def read(self) -> GripperReading:
        """The newest state, with any fault of the last request."""

    def request(self, is_open: bool) -> None:
        """Open, or grasp. A request that comes while another is executed replaces what waits, not what runs."""

    def home(self) -> None:
        """Find the largest opening: the fingers close and open, and let go of what they hold."""

    def recover(self) -> None:
        """Connect again after a fault; takes up to 5 s. Raises RobotError when it cannot."""

    def close(self) -> None:
        """Disconnect; the fingers keep their grip. Never raises."""
