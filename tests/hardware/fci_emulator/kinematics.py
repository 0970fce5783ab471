"""Forward kinematics and Jacobian of the FR3, and the robot description that libfranka asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clar_core.control.joints import FR3_LOWER_RAD, FR3_UPPER_RAD
from clar_core.geometry.poses import make_pose, rotation_vector_to_matrix

Array = NDArray[np.float64]

# Modified Denavit-Hartenberg parameters (Franka Control Interface documentation), one row a joint: a, d, alpha.
_LINKS = np.array(
    [
        [0.0, 0.333, 0.0],
        [0.0, 0.0, -np.pi / 2],
        [0.0, 0.316, np.pi / 2],
        [0.0825, 0.0, np.pi / 2],
        [-0.0825, 0.384, -np.pi / 2],
        [0.0, 0.0, np.pi / 2],
        [0.088, 0.0, np.pi / 2],
    ]
)
_FLANGE_M = 0.107
_BEFORE_JOINT = np.array([make_pose(rotation_vector_to_matrix([alpha, 0, 0]), [a, 0, 0]) for a, _, alpha in _LINKS])
_VELOCITY_LIMITS = (2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26)


def forward(joints_rad: Array, flange_T_ee: Array) -> tuple[Array, Array]:
    """(4, 4) pose of the end effector and its (6, 7) Jacobian in the base frame, of joint positions (7,)."""
    T = np.eye(4)
    axes, origins = np.empty((7, 3)), np.empty((7, 3))
    for joint, angle in enumerate(joints_rad):
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, _LINKS[joint, 1]], [0, 0, 0, 1]])
        T = T @ _BEFORE_JOINT[joint] @ turn
        axes[joint], origins[joint] = T[:3, 2], T[:3, 3]
    T = T @ make_pose(translation=[0, 0, _FLANGE_M]) @ flange_T_ee
    return T, np.vstack([np.cross(axes, T[:3, 3] - origins).T, axes.T])


def joint_velocities(jacobian: Array, twist: Array) -> Array:
    """Least-norm joint velocities (7,) of a twist (6,), damped near singularities."""
    return np.asarray(jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-6 * np.eye(6), twist))


def description() -> bytes:
    """The smallest URDF that libfranka accepts."""
    mass = '<inertial><mass value="1"/><inertia ixx=".02" ixy="0" ixz="0" iyy=".02" iyz="0" izz=".02"/></inertial>'
    parts = ['<robot name="emulated"><link name="link0"/>']
    for joint, (a, d, alpha) in enumerate(_LINKS):
        y, z = -d * np.sin(alpha), d * np.cos(alpha)
        parts.append(
            f'<link name="link{joint + 1}">{mass}</link><joint name="joint{joint + 1}" type="revolute">'
            f'<origin xyz="{a} {y} {z}" rpy="{alpha} 0 0"/><parent link="link{joint}"/><child link="link{joint + 1}"/>'
            f'<axis xyz="0 0 1"/><limit lower="{FR3_LOWER_RAD[joint]}" upper="{FR3_UPPER_RAD[joint]}"'
            f' velocity="{_VELOCITY_LIMITS[joint]}" effort="87"/>'
            '<position_based_velocity_limits velocity_offset="0.3" deceleration_limit="6.0"/></joint>'
        )
    parts.append(
        f'<link name="link8"/><joint name="joint8" type="fixed"><origin xyz="0 0 {_FLANGE_M}" rpy="0 0 0"/>'
        '<parent link="link7"/><child link="link8"/></joint></robot>'
    )
    return "".join(parts).encode()
