"""The FR3 of the gymnasium front: it answers 10 Hz steps as the live arm does, without its server.

The chain is the live one: the step's reference (``StepReference``), the P-corrected twist at 50 Hz
(``tracking_twist``), the robot's acceleration limits (``VelocityResponse``), then joint velocity servos with gravity
compensation and the gains of franky-sim. So a policy trained here meets the same lag on the live front.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import mujoco
import numpy as np

from clar_core.control.tracking import CONTROL_PERIOD_S, ResponseModel, StepReference, VelocityResponse, tracking_twist
from clar_core.geometry.poses import Array
from clar_core.simulation.hand import Hand
from clar_core.simulation.scene import HAND_MAX_WIDTH_M, HOME_JOINT_POSITIONS_RAD, RobotIndices

_JOINT_VELOCITY_GAINS = (450.0, 450.0, 350.0, 350.0, 200.0, 200.0, 200.0)
_FINGER_STIFFNESS = 1000.0
_FINGER_DAMPING = 50.0
_DAMPING = 1e-4


@dataclass(frozen=True)
class RobotTiming:
    """Delays of the live front, in seconds.

    Attributes:
        gripper_delay_s: from a gripper command to the first motion of the fingers.
        response: how the arm follows a stepped twist.
    """

    gripper_delay_s: float = 0.06
    response: ResponseModel = field(default_factory=ResponseModel)


@dataclass(frozen=True)
class GripperDrive:
    """Speed and force of the fingers, as sent to the hand."""

    finger_speed_m_s: float = 0.05
    grasp_force_n: float = 20.0
    move_force_n: float = 70.0


class SimulatedRobot:
    """Moves the arm and the hand of a compiled scene.

    Args:
        model: compiled by ``scene.compile_model``; its arm actuators are turned into velocity servos.
        data: the state that is stepped.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        timing: RobotTiming = RobotTiming(),
        drive: GripperDrive = GripperDrive(),
    ) -> None:
        self.model, self.data = model, data
        self.indices = RobotIndices.of(model)
        self._timing, self._drive = timing, drive
        self._response = VelocityResponse(timing.response, substep_s=0.002)
        self._substeps = round(CONTROL_PERIOD_S / model.opt.timestep)
        self._jacobian = np.zeros((6, model.nv))
        _make_velocity_servos(model, self.indices)
        self.reset()

    @property
    def T_base_tcp(self) -> Array:
        """Measured TCP pose (4, 4)."""
        return self.indices.tcp_pose(self.data)

    @property
    def gripper_width_m(self) -> float:
        """Measured opening between the fingers."""
        return self.indices.gripper_width_m(self.data)

    def reset(self, joint_positions_rad: tuple[float, ...] | Array = HOME_JOINT_POSITIONS_RAD) -> None:
        """Put the arm at rest at joint positions (7,), hand open. Objects stay where they are."""
        self.data.qpos[self.indices.arm_qpos] = joint_positions_rad
        self.data.qpos[self.indices.finger_qpos] = HAND_MAX_WIDTH_M / 2
        self.data.qvel[:] = 0.0
        self.data.qfrc_applied[:] = 0.0
        self.data.ctrl[:] = 0.0
        mujoco.mj_forward(self.model, self.data)
        self.time_s = 0.0
        self.reference = StepReference(self.T_base_tcp)
        self._response.reset()
        self.hand = Hand(self._timing.gripper_delay_s)

    def command(self, T_target: Array, gripper: float) -> None:
        """Start one 100 ms step towards ``T_target`` (4, 4) and send the gripper its absolute target (0 or 1)."""
        self.reference.set_target(T_target, self.time_s)
        self.hand.request(gripper > 0.5, self.time_s)

    def advance(self, duration_s: float) -> None:
        """Let simulated time pass, a whole number of control periods of 20 ms."""
        for _ in range(round(duration_s / CONTROL_PERIOD_S)):
            T_reference, feedforward = self.reference.sample(self.time_s)
            target = tracking_twist(T_reference, feedforward, self.T_base_tcp)
            twist = self._response.advance(target, CONTROL_PERIOD_S)
            self._move(twist)
            self.time_s += CONTROL_PERIOD_S

    def _move(self, twist: Array) -> None:
        self.hand.advance(self.time_s, self.gripper_width_m)
        model, data, dof = self.model, self.data, self.indices.arm_dof
        mujoco.mj_jac(
            model, data, self._jacobian[:3], self._jacobian[3:], self.T_base_tcp[:3, 3], self.indices.hand_body
        )
        jacobian = self._jacobian[:, dof]
        data.ctrl[self.indices.arm_actuators] = jacobian.T @ np.linalg.solve(
            jacobian @ jacobian.T + _DAMPING * np.eye(6), twist
        )
        for _ in range(self._substeps):
            data.qfrc_applied[dof] = data.qfrc_bias[dof]
            data.qfrc_applied[self.indices.finger_dof] = self._finger_forces()
            mujoco.mj_step(model, data)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)

    def _finger_forces(self) -> Array:
        position = self.data.qpos[self.indices.finger_qpos]
        velocity = self.data.qvel[self.indices.finger_dof]
        force = _FINGER_STIFFNESS * (self.hand.target_m / 2 - position) - _FINGER_DAMPING * velocity
        too_fast = (np.abs(velocity) > self._drive.finger_speed_m_s) & (np.sign(velocity) == np.sign(force))
        force = np.where(too_fast, -_FINGER_DAMPING * velocity, force)
        limit = self._drive.grasp_force_n if self.hand.is_closing else self._drive.move_force_n
        return np.clip(force, -limit, limit)


def _make_velocity_servos(model: mujoco.MjModel, indices: RobotIndices) -> None:
    for actuator, gain in zip(indices.arm_actuators, _JOINT_VELOCITY_GAINS, strict=True):
        model.actuator_gainprm[actuator, :3] = (gain, 0.0, 0.0)
        model.actuator_biasprm[actuator, :3] = (0.0, 0.0, -gain)
        model.actuator_ctrllimited[actuator] = 0
    model.actuator_gainprm[indices.hand_actuator] = 0.0
    model.actuator_biasprm[indices.hand_actuator] = 0.0
