"""The arm's forward kinematics and the way it goes, from the robot's MuJoCo model: no robot and no rendering needed."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from clar_core.control.joints import FR3_LOWER_RAD, FR3_UPPER_RAD
from clar_core.geometry.poses import delta_between, interpolate, inverse
from clar_core.simulation.scene import FLANGE_TO_TCP_M, RobotIndices, compile_model
from clar_core.simulation.tasks import get_task

Array = NDArray[np.float64]

_STEP_M, _STEP_RAD = 0.01, 0.04
_DAMPING = 1e-4
_JOINT_MARGIN_RAD = 0.2
_SINGULAR_LEAST = 0.05
_REACHED_M, _REACHED_RAD = 0.002, 0.01


def arm_model(*, visual_meshes: bool = False) -> mujoco.MjModel:
    """A scene with the robot, for kinematics and for its shape; what else stands in it does not matter."""
    return compile_model(get_task("place_cube_in_basin"), visual_meshes=visual_meshes)


class Arm:
    """An FR3 on a table, by its model.

    Args:
        model: a compiled scene of the cell (clar_core.simulation.scene).
        flange_T_tcp: (4, 4), another end effector than the Franka hand's, as in cell.yaml.
    """

    def __init__(self, model: mujoco.MjModel, flange_T_tcp: Array | None = None) -> None:
        self.model = model
        self.data = mujoco.MjData(model)
        self._robot = RobotIndices.of(model)
        self._jacobian = np.zeros((6, model.nv))
        self._T_hand_tcp = None if flange_T_tcp is None else _hand_to_tcp(flange_T_tcp)

    def pose(self, joints_rad: Array) -> Array:
        """``T_base_tcp`` (4, 4) at joint positions (7,)."""
        self.data.qpos[self._robot.arm_qpos] = joints_rad
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        T = self._robot.tcp_pose(self.data)
        return T if self._T_hand_tcp is None else T @ self._T_hand_tcp

    def step(self, joints_rad: Array, T_target: Array) -> tuple[Array, float]:
        """Joints (7,) one differential step nearer to a pose, as the robot's own control goes, and the smallest
        singular value of the Jacobian there.
        """
        T = self.pose(joints_rad)
        mujoco.mj_jac(self.model, self.data, self._jacobian[:3], self._jacobian[3:], T[:3, 3], self._robot.hand_body)
        J = self._jacobian[:, self._robot.arm_dof]
        translation, rotation = delta_between(T, T_target)
        twist = np.concatenate([translation, rotation])
        dq = J.T @ np.linalg.solve(J @ J.T + _DAMPING * np.eye(6), twist)
        return joints_rad + dq, float(np.linalg.svd(J, compute_uv=False)[-1])

    def follow(self, joints_rad: Array, path: list[Array]) -> Array | None:
        """Joints (7,) at the end of a path of poses, followed step by step from where the arm is.

        None when the way comes near a joint limit or a singularity, or does not arrive.
        """
        q = np.array(joints_rad, dtype=np.float64)
        for T in path:
            for _ in range(2):
                q, singular = self.step(q, T)
            margin = np.minimum(q - FR3_LOWER_RAD, FR3_UPPER_RAD - q).min()
            if margin < _JOINT_MARGIN_RAD or singular < _SINGULAR_LEAST:
                return None
        translation, rotation = delta_between(self.pose(q), path[-1])
        arrived = np.linalg.norm(translation) < _REACHED_M and np.linalg.norm(rotation) < _REACHED_RAD
        return q if arrived else None


def path_between(T_start: Array, T_end: Array) -> list[Array]:
    """Poses along the straight way, about a centimetre or two degrees apart, without the start."""
    translation, rotation = delta_between(T_start, T_end)
    steps = max(1, int(np.ceil(max(np.linalg.norm(translation) / _STEP_M, np.linalg.norm(rotation) / _STEP_RAD))))
    return [interpolate(T_start, T_end, i / steps) for i in range(1, steps + 1)]


def _hand_to_tcp(flange_T_tcp: Array) -> Array:
    """From the model's TCP, that of the Franka hand, to the site's."""
    nominal = np.eye(4)
    nominal[:2, :2] = np.array([[1.0, 1.0], [-1.0, 1.0]]) * np.sqrt(0.5)
    nominal[2, 3] = FLANGE_TO_TCP_M
    return inverse(nominal) @ flange_T_tcp
