"""The emulated arm: modes, motions and errors as the robot has them, joints that follow at once. No sockets."""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from numpy.typing import NDArray

from clar_core.cell_config import FRANKA_HAND
from clar_core.geometry.poses import delta_between
from tests.hardware.fci_emulator.kinematics import forward, joint_velocities
from tests.hardware.fci_emulator.protocol import (
    ERRORS,
    NO_CONTROLLER,
    STATE,
    Generator,
    MoveStatus,
    RobotMode,
)

Array = NDArray[np.float64]

TICK_S = 0.001
START_JOINTS_RAD = (0.0, 0.0, 0.0, -1.57, 0.0, 1.57, 0.785)

_STILL = 1e-4
_MISSES_MAX = 20
_RATE_WINDOW = 100


class EmulatedArm:
    """One arm, advanced tick by tick.

    Attributes:
        mode: the robot's own mode.
        generator: of the motion that runs, None while none does.
        success_rate: overrides the counted part of control commands that came in time; None: as counted.
        thresholds: (52,) of the last collision behaviour that was set: torques, then forces.
        free_axes: (7) of the last guiding mode: x, y, z, roll, pitch, yaw, elbow.
        load: (13,) of the last load: mass, centre, inertia.
        still_since_ns: wall time at which the commanded velocity became zero, 0 while it is not.
        ticks: milliseconds of the robot's own time.
    """

    def __init__(self) -> None:
        self.mode = RobotMode.IDLE
        self.generator: Generator | None = None
        self.success_rate: float | None = None
        self.thresholds: Array = np.zeros(0)
        self.load: Array = np.zeros(13)
        self.free_axes = [False] * 7
        self.still_since_ns = time.time_ns()
        self.ticks = 0
        self._in_time: deque[bool] = deque(maxlen=_RATE_WINDOW)
        self._misses = 0
        self._joints = np.array(START_JOINTS_RAD)
        self._velocities = np.zeros(7)
        self._twist = np.zeros(6)
        self._flange_T_ee = np.array(FRANKA_HAND)
        self._controller = NO_CONTROLLER
        self._state = np.zeros(1, STATE)
        self._fields = self._state[0]
        for name in ("EE_T_K", "NE_T_EE"):
            self._fields[name] = np.eye(4).T.ravel()
        self._fields["F_T_NE"] = self._fields["F_T_EE"] = self._flange_T_ee.T.ravel()
        self._fields["m_ee"] = 0.73
        self._fields["O_ddP_O"] = (0, 0, -9.81)

    @property
    def moving(self) -> bool:
        """Whether a motion runs."""
        return self.generator is not None

    def start(self, controller: int, generator: int) -> MoveStatus:
        """Begin a motion, when the robot is idle and knows the generator."""
        known = (Generator.JOINT_POSITION, Generator.CARTESIAN_POSITION, Generator.CARTESIAN_VELOCITY)
        if self.mode is not RobotMode.IDLE or generator not in known:
            return MoveStatus.NOT_POSSIBLE
        self.generator, self._controller, self.mode = Generator(generator), controller, RobotMode.MOVE
        self._fields["last_motion_errors"] = 0
        self._in_time.clear()
        self._misses = 0
        return MoveStatus.STARTED

    def finish(self) -> None:
        """End the motion."""
        self.generator, self._controller = None, NO_CONTROLLER
        self._velocities, self._twist = np.zeros(7), np.zeros(6)
        if self.mode is RobotMode.MOVE:
            self.mode = RobotMode.IDLE
        self._note_speed()

    def fail(self, error: str) -> None:
        """End the motion by an error of the robot, named as libfranka names it."""
        self.finish()
        self.mode = RobotMode.REFLEX
        for name in ("errors", "last_motion_errors"):
            self._fields[name] = 0
            self._fields[name][ERRORS[error]] = 1

    def user_stop(self) -> None:
        """The user stop is pressed."""
        self.finish()
        self.mode = RobotMode.USER_STOPPED

    def guide(self, joints_rad: list[float]) -> None:
        """Somebody guides the arm to a joint position (7,) by hand."""
        self.finish()
        self._joints = np.array(joints_rad, dtype=np.float64)

    def push(self, force_n: float) -> bool:
        """Push down on the hand; above the threshold that the client has set it is a collision, which ends motion."""
        self._fields["O_F_ext_hat_K"] = self._fields["K_F_ext_hat_K"] = (0.0, 0.0, -force_n, 0.0, 0.0, 0.0)
        collides = len(self.thresholds) == 52 and force_n > self.thresholds[-4]
        self._fields["cartesian_collision"] = (0.0, 0.0, float(collides), 0.0, 0.0, 0.0)
        if collides:
            self.fail("cartesian_reflex")
        return collides

    def recover(self) -> None:
        """Automatic error recovery: it clears errors, but releases no user stop."""
        self._fields["errors"] = 0
        if self.mode is RobotMode.REFLEX:
            self.mode = RobotMode.IDLE

    def count(self, in_time: bool) -> bool:
        """Note whether the command of this tick came in time; True when too many in a row did not."""
        self._in_time.append(in_time)
        self._misses = 0 if in_time else self._misses + 1
        return self._misses > _MISSES_MAX

    def tick(self, command: np.void | None) -> None:
        """Advance one millisecond; without a command in a motion, go on as before."""
        self.ticks += 1
        if self.generator in (Generator.CARTESIAN_VELOCITY, Generator.CARTESIAN_POSITION):
            T, jacobian = forward(self._joints, self._flange_T_ee)
            if command is not None and self.generator is Generator.CARTESIAN_VELOCITY:
                self._twist = np.array(command["O_dP_EE_c"])
            elif command is not None:
                step = delta_between(T, np.array(command["O_T_EE_c"]).reshape(4, 4).T)
                self._twist = np.concatenate(step) / TICK_S
            self._velocities = joint_velocities(jacobian, self._twist)
        elif self.generator is Generator.JOINT_POSITION and command is not None:
            self._velocities = (np.array(command["q_c"]) - self._joints) / TICK_S
        self._joints = self._joints + self._velocities * TICK_S
        self._note_speed()

    def state(self) -> bytes:
        """The next state, as sent to the client."""
        fields = self._fields
        T, _ = forward(self._joints, self._flange_T_ee)
        fields["message_id"] += 1
        fields["O_T_EE"] = fields["O_T_EE_d"] = fields["O_T_EE_c"] = T.T.ravel()
        fields["O_dP_EE_c"] = fields["O_dP_EE_d"] = self._twist
        fields["q"] = fields["q_d"] = fields["theta"] = self._joints
        fields["dq"] = fields["dq_d"] = fields["dtheta"] = self._velocities
        fields["elbow"] = fields["elbow_d"] = fields["elbow_c"] = (self._joints[2], -1.0)
        fields["generator"] = 0 if self.generator is None else self.generator + 1
        fields["controller"], fields["mode"] = self._controller, self.mode
        counted = float(np.mean(self._in_time)) if self._in_time else 1.0
        fields["success_rate"] = (self.success_rate or counted) if self.moving else 0.0
        return self._state.tobytes()

    @property
    def message_id(self) -> int:
        """Number of the last state."""
        return int(self._fields["message_id"])

    def _note_speed(self) -> None:
        still = max(np.abs(self._velocities).max(), np.abs(self._twist).max()) < _STILL
        if not still:
            self.still_since_ns = 0
        elif not self.still_since_ns:
            self.still_since_ns = time.time_ns()
