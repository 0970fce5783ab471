"""The FR3 behind the simulated control interface: servos and state, driven by franky-sim's robot server.

franky-sim speaks the protocol; this class gives it a robot on a scene compiled by
:func:`clar_core.simulation.scene.compile_model`, with the gains of franky-sim's own robot. The state is kept in the
format of the wire and the dynamics come from MuJoCo, so that a tick fits well into its millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from franky_sim import BaseRobot, RobotParameters
from franky_sim.base_simulator import InnerRobotState
from numpy.typing import ArrayLike

from clar_core.geometry.poses import Array, inverse, make_pose, pose_from_quaternion
from clar_core.simulation.live_wire import WireState, pose_to_wire
from clar_core.simulation.scene import RobotIndices

TICK_S = 0.001
"""The control interface runs at 1 kHz, and so does the physics behind it."""

POSITION_GAINS = np.array([4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0])
VELOCITY_GAINS = np.array([450.0, 450.0, 350.0, 350.0, 200.0, 200.0, 200.0])
TORQUE_LIMITS_NM = np.array([87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0])

HAND_STIFFNESS_N_M = 1000.0
HAND_DAMPING_N_S_M = 50.0
HAND_MAX_SPEED_M_S = 0.05
HAND_MAX_FORCE_N = 140.0
HAND_DEFAULT_FORCE_N = 70.0

_DERIVATIVE_BLEND = 0.05
_INVERSE_DAMPING = 1e-4 * np.eye(6)


class LiveRobot(BaseRobot):  # type: ignore[misc]
    """Arm and hand of one compiled scene, as franky-sim's robot and gripper servers want them.

    The scene must be advanced by :meth:`step`, once a tick, after the servers have processed their commands.

    Args:
        model: the scene; its actuators are switched off, all torques go through ``qfrc_applied``.
        data: its state, at the start pose.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        parameters = RobotParameters()
        super().__init__(robot_parameters=parameters)
        self._wire = WireState()
        self._F_T_NE = make_pose(
            [[np.sqrt(0.5), np.sqrt(0.5), 0.0], [-np.sqrt(0.5), np.sqrt(0.5), 0.0], [0.0, 0.0, 1.0]],
            parameters.ee_tcp_xyz,
        )
        self._hand_goal_m = 0.0
        self._hand_speed_m_s = HAND_MAX_SPEED_M_S
        self._hand_force_n = HAND_DEFAULT_FORCE_N
        self._torque = np.zeros(7)
        self._desired_velocity = np.zeros(7)
        self._desired_acceleration = np.zeros(7)
        self._commanded_twist: Array | None = None
        self._commanded_acceleration = np.zeros(6)
        self._commanded_pose: Array | None = None
        self._held_position: Array | None = None
        self._held_pose = np.eye(4)
        self._jacobian = np.zeros((6, 7))
        self._normal_matrix, self._normal_solution = np.zeros((6, 6)), np.zeros(6)
        self._T_base_hand = np.eye(4)
        self._fill_constants(parameters)
        self.attach(model, data)

    def attach(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Move into a scene: at the start, and when another task's scene is loaded."""
        self._model, self._data = model, data
        robot = RobotIndices.of(model)
        self._arm_q, self._arm_dof = _slice(robot.arm_qpos), _slice(robot.arm_dof)
        self._finger_q, self._finger_dof = _slice(robot.finger_qpos), _slice(robot.finger_dof)
        self._hand_body = robot.hand_body
        model.actuator_gainprm[:] = 0.0
        model.actuator_biasprm[:] = 0.0
        self._full_jacobian = np.zeros((6, model.nv))
        self._q, self._dq = data.qpos[self._arm_q], data.qvel[self._arm_dof]
        self._bias, self._applied = data.qfrc_bias[self._arm_dof], data.qfrc_applied[self._arm_dof]
        self._finger_position, self._finger_velocity = data.qpos[self._finger_q], data.qvel[self._finger_dof]
        self._finger_force = data.qfrc_applied[self._finger_dof]
        self._hand_position, self._hand_rotation = data.xpos[self._hand_body], data.xmat[self._hand_body].reshape(3, 3)
        self._hand_goal_m = self.hand_width
        mujoco.mj_step1(model, data)
        self._place_tcp(self._wire.NE_T_EE.astype(np.float64).reshape(4, 4, order="F"))
        self._refresh()

    def step(self) -> None:
        """Advance the physics by one tick and take the new state."""
        self._drive_hand()
        # Split so that servo and reported state see the kinematics of this instant, not of the tick before.
        mujoco.mj_step2(self._model, self._data)
        mujoco.mj_step1(self._model, self._data)
        self._refresh()

    # What the servers read.

    @property
    def state(self) -> WireState:
        """The state of the last completed tick."""
        return self._wire

    @property
    def T_base_tcp(self) -> Array:
        """Measured TCP pose (4, 4)."""
        return self._T_base_tcp

    @property
    def finger_forces_n(self) -> Array:
        """Force (2,) on each finger, negative when closing."""
        return self._finger_force.copy()

    def _get_state(self) -> InnerRobotState:
        return InnerRobotState(
            q=tuple(self._q.tolist()), dq=tuple(self._dq.tolist()), tau_j=tuple(self._torque.tolist())
        )

    def _get_hand_width(self) -> float:
        return float(self._finger_position.sum())

    # What the servers command, each tick.

    def torque_control(self, torques: Sequence[float], has_new_command: bool = True) -> None:
        """Joint torques (7,) in Nm on top of gravity compensation, as the real robot takes them."""
        del has_new_command
        self._forget_commands()
        self._desired_velocity = self._dq.copy()
        self._torque_control(np.asarray(torques) + self._bias)

    def joint_position_control(self, target_q: Sequence[float], has_new_command: bool = True) -> None:
        """Spring and damper to a joint position (7,) in rad."""
        del has_new_command
        target = np.asarray(target_q, dtype=np.float64)
        held = self._held_position
        velocity = (target - held) / TICK_S if held is not None else np.zeros(7)
        self._differentiate(self._desired_velocity + _DERIVATIVE_BLEND * (velocity - self._desired_velocity))
        self._forget_commands()
        if held is None or not np.array_equal(target, held):
            self._held_pose = self.kinematics(target).homogeneous
        self._held_position = target
        self._torque_control(POSITION_GAINS * (target - self._q) - VELOCITY_GAINS * self._dq + self._bias)

    def cartesian_position_control(
        self, target_pose: Sequence[float], target_elbow_config: Sequence[float] | None, has_new_command: bool = True
    ) -> None:
        """TCP pose as position and quaternion (7,), xyzw, base frame, through inverse kinematics."""
        super().cartesian_position_control(target_pose, target_elbow_config, has_new_command)
        self._commanded_pose = pose_from_quaternion(target_pose[:3], target_pose[3:])

    def joint_velocity_control(self, target_dq: Sequence[float], has_new_command: bool = True) -> None:
        """Damper to a joint velocity (7,) in rad/s."""
        del has_new_command
        self._track_velocity(np.asarray(target_dq, dtype=np.float64))

    def cartesian_velocity_control(
        self, target_vel: Sequence[float], target_elbow_config: Sequence[float] | None, has_new_command: bool = True
    ) -> None:
        """TCP twist (6,) in m/s and rad/s, base frame, through the damped inverse of the Jacobian."""
        target = np.asarray(target_vel, dtype=np.float64)
        last = self._commanded_twist if self._commanded_twist is not None else target
        acceleration = self._commanded_acceleration
        acceleration = acceleration + _DERIVATIVE_BLEND * ((target - last) / TICK_S - acceleration)
        if target_elbow_config is not None:
            super().cartesian_velocity_control(target_vel, target_elbow_config, has_new_command)
        else:
            self._track_velocity(self._joint_velocity_of(target))
        self._commanded_twist, self._commanded_acceleration = target, acceleration

    def set_hand_goal(self, width: float, max_velocity: float, max_force: float) -> None:
        """Where the fingers go: opening in m, speed per finger in m/s, force per finger in N."""
        self._hand_goal_m = float(width)
        self._hand_speed_m_s = min(float(max_velocity), HAND_MAX_SPEED_M_S)
        self._hand_force_n = min(float(max_force), HAND_MAX_FORCE_N)

    def set_load(self, load_mass: float, F_x_Cload: tuple[float, ...], load_inertia: tuple[float, ...]) -> None:
        """Note the payload that the client declares; the scene knows what is really held."""
        super().set_load(load_mass, F_x_Cload, load_inertia)
        self._wire["m_load"][:] = load_mass
        self._wire["F_x_Cload"][:] = F_x_Cload
        self._wire["I_load"][:] = load_inertia

    def set_NE_T_EE(self, ne_t_ee: tuple[float, ...]) -> None:
        """Move the TCP relative to the nominal end effector; 16 numbers, column-major."""
        super().set_NE_T_EE(ne_t_ee)
        self._wire["NE_T_EE"][:] = ne_t_ee
        self._place_tcp(np.asarray(ne_t_ee, dtype=np.float64).reshape(4, 4, order="F"))
        self._refresh()

    def set_EE_T_K(self, ee_t_k: tuple[float, ...]) -> None:
        """Note the stiffness frame; nothing here depends on it."""
        self._wire["EE_T_K"][:] = ee_t_k

    # Servos and state.

    def _torque_control(self, torques: ArrayLike) -> None:
        self._torque = np.minimum(np.maximum(torques, -TORQUE_LIMITS_NM), TORQUE_LIMITS_NM)
        self._applied[:] = self._torque

    def _joint_velocity_of(self, twist: Array) -> Array:
        J, factor, solution = self._jacobian, self._normal_matrix, self._normal_solution
        np.matmul(J, J.T, out=factor)
        factor += _INVERSE_DAMPING
        mujoco.mju_cholFactor(factor, 0.0)
        mujoco.mju_cholSolve(solution, factor, twist)
        return np.asarray(solution @ J)

    def _track_velocity(self, target: Array) -> None:
        self._forget_commands()
        self._differentiate(target)
        self._torque_control(VELOCITY_GAINS * (target - self._dq) + self._bias)

    def _forget_commands(self) -> None:
        self._held_position = self._commanded_pose = self._commanded_twist = None
        self._commanded_acceleration = np.zeros(6)

    def _differentiate(self, velocity: Array) -> None:
        acceleration = (velocity - self._desired_velocity) / TICK_S
        self._desired_acceleration = self._desired_acceleration + _DERIVATIVE_BLEND * (
            acceleration - self._desired_acceleration
        )
        self._desired_velocity = velocity

    def _drive_hand(self) -> None:
        # Plain numbers: for two fingers they are ten times faster than arrays.
        goal, limit = 0.5 * self._hand_goal_m, self._hand_force_n
        for finger, (position, velocity) in enumerate(
            zip(self._finger_position.tolist(), self._finger_velocity.tolist(), strict=True)
        ):
            force = HAND_STIFFNESS_N_M * (goal - position) - HAND_DAMPING_N_S_M * velocity
            if abs(velocity) > self._hand_speed_m_s and velocity * force > 0.0:
                force = -HAND_DAMPING_N_S_M * velocity
            self._finger_force[finger] = min(max(force, -limit), limit)

    def _place_tcp(self, NE_T_EE: Array) -> None:
        F_T_EE = self._F_T_NE @ NE_T_EE
        self._wire["F_T_EE"][:] = pose_to_wire(F_T_EE)
        # The scene's hand body is the flange turned like the nominal end effector, but at the flange's origin.
        T_flange_hand = make_pose(self._F_T_NE[:3, :3])
        self._T_hand_tcp = inverse(T_flange_hand) @ F_T_EE

    def _refresh(self) -> None:
        """Take the state of this tick from the physics into the wire record."""
        wire, q, held = self._wire, self._q, self._held_position
        self._T_base_hand[:3, :3], self._T_base_hand[:3, 3] = self._hand_rotation, self._hand_position
        T = self._T_base_tcp = self._T_base_hand @ self._T_hand_tcp
        jacobian = self._full_jacobian
        mujoco.mj_jac(self._model, self._data, jacobian[:3], jacobian[3:], T[:3, 3], self._hand_body)
        self._jacobian = jacobian[:, self._arm_dof]
        desired = T if held is None else self._held_pose
        desired_twist = self._jacobian @ self._desired_velocity
        wire["q"][:], wire["dq"][:] = q, self._dq
        wire["q_d"][:] = q if held is None else held
        wire["dq_d"][:], wire["ddq_d"][:] = self._desired_velocity, self._desired_acceleration
        wire["tau_J"][:] = wire["tau_J_d"][:] = self._torque
        wire["elbow"][:] = wire["elbow_d"][:] = wire["elbow_c"][:] = (q[2], 1.0 if q[3] > 0.0 else -1.0)
        wire["O_T_EE"][:] = pose_to_wire(T)
        wire["O_T_EE_d"][:] = pose_to_wire(desired)
        wire["O_T_EE_c"][:] = pose_to_wire(desired if self._commanded_pose is None else self._commanded_pose)
        wire["O_dP_EE_d"][:] = desired_twist
        wire["O_dP_EE_c"][:] = desired_twist if self._commanded_twist is None else self._commanded_twist
        wire["O_ddP_EE_c"][:] = self._commanded_acceleration

    def _fill_constants(self, parameters: RobotParameters) -> None:
        self._wire["F_T_NE"][:] = pose_to_wire(self._F_T_NE)
        self._wire["m_ee"][:] = parameters.ee_mass
        self._wire["F_x_Cee"][:] = parameters.ee_com
        self._wire["I_ee"][:] = parameters.ee_inertia


def _slice(addresses: ArrayLike) -> slice:
    """A slice for consecutive addresses: views are what keeps a tick cheap."""
    values = np.asarray(addresses)
    first, count = int(values[0]), len(values)
    if not np.array_equal(values, np.arange(first, first + count)):
        raise ValueError(f"expected consecutive addresses of the robot's joints, got {values}")
    return slice(first, first + count)
