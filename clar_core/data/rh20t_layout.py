"""Facts of RH20T that its files do not tell: configurations, units and conventions.

Source: https://github.com/rh20t/rh20t_api, configs/configs.json and configurations.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clar_core.geometry.poses import Array, make_pose, pose_from_quaternion, rotation_vector_to_matrix

CALIBRATED_WIDTH = 1280
"""Intrinsics are stored for images of 1280 x 720."""

_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
_EYE = np.eye(4)


@dataclass(frozen=True, eq=False)
class RobotConfiguration:
    """One of the seven robot configurations.

    Attributes:
        robot: flexiv, ur5, franka or kuka.
        in_hand: serials of the cameras on the hand, the calibrated one first.
        tc_mat: (4, 4) from the TCP to the camera on the hand, in the data set's own convention.
        align_mat_base: (4, 4) from the aligned base frame, which ``tcp_base`` is in, to the robot's own.
        gripper_max_width_m: opening.
    """

    robot: str
    in_hand: tuple[str, ...]
    tc_mat: Array
    align_mat_base: Array
    gripper_max_width_m: float


def _matrix(rows: list[list[float]]) -> Array:
    return np.array(rows, dtype=np.float64)


_TURN = _matrix([[-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
CONFIGURATIONS = {
    1: RobotConfiguration(
        "flexiv", ("043322070878", "104422071090"),
        _matrix([[0, -1, 0, 0], [1, 0, 0, 0.077], [0, 0, 1, 0.2665], [0, 0, 0, 1]]), _EYE, 0.095,
    ),
    2: RobotConfiguration(
        "flexiv", ("104422070042", "104422071090"),
        _matrix([[0, -1, 0, 0], [1, 0, 0, 0.077], [0, 0, 1, 0.2915], [0, 0, 0, 1]]), _EYE, 0.095,
    ),
    3: RobotConfiguration(
        "ur5", ("045322071843", "104422071090"),
        _matrix([[1, 0, 0, 0.027], [0, 1, 0, 0.0775], [0, 0, 1, 0.240], [0, 0, 0, 1]]), _TURN, 0.110,
    ),
    4: RobotConfiguration(
        "ur5", ("045322071843", "104422071090"),
        _matrix([[1, 0, 0, 0.027], [0, 1, 0, 0.0775], [0, 0, 1, 0.210], [0, 0, 0, 1]]), _TURN, 0.085,
    ),
    5: RobotConfiguration(
        "franka", ("104422070042", "135122079702", "104422071090"),
        _matrix([[0, 1, 0, 0.033], [-1, 0, 0, -0.05], [0, 0, 1, 0.09], [0, 0, 0, 1]]), _EYE, 0.080,
    ),
    6: RobotConfiguration(
        "kuka", ("135122075425", "135122070361", "104422071090"),
        _matrix([[0, -1, 0, 0.035], [1, 0, 0, 0.055], [0, 0, 1, 0.20], [0, 0, 0, 1]]), _EYE, 0.085,
    ),
    7: RobotConfiguration(
        "kuka", ("135122075425", "135122070361", "104422071090"),
        _matrix([[0, -1, 0, 0.035], [1, 0, 0, 0.055], [0, 0, 1, 0.20], [0, 0, 0, 1]]), _EYE, 0.085,
    ),
}  # fmt: skip


def is_l515(serial: str) -> bool:
    """Whether a camera is an L515, whose depth unit is a quarter of a millimetre: its serial begins with a letter."""
    return serial[:1].isalpha()


def pose_of(values: ArrayLike) -> Array:
    """(4, 4) of xyz in metres and a quaternion in **wxyz** order, which is RH20T's.

    Raises:
        ValueError: not seven numbers, or no quaternion.
    """
    v = np.asarray(values, dtype=np.float64).reshape(-1)
    if len(v) != 7:
        raise ValueError(f"tcp: expected xyz and a quaternion wxyz, 7 numbers, got {len(v)}")
    return pose_from_quaternion(v[:3], v[[4, 5, 6, 3]])


def calibration_tcp(values: NDArray[np.float64], robot: str) -> Array:
    """(4, 4) of ``calib/<time>/tcp.npy`` as each robot's controller wrote it.

    Flexiv and UR5: xyz and a quaternion wxyz. Franka: xyz and a rotation vector, of a hand that is turned over. KUKA:
    millimetres and Euler angles about x, y, z of the fixed axes.

    Raises:
        ValueError: another number of values than the robot writes.
    """
    v = np.asarray(values, dtype=np.float64).reshape(-1)
    if len(v) == 7:
        return pose_of(v)
    if len(v) != 6:
        raise ValueError(f"tcp.npy: expected 6 or 7 numbers, got {len(v)}")
    if robot in ("franka", "ur5"):
        T = make_pose(rotation_vector_to_matrix(v[3:]), v[:3])
        return T @ _FLIP if robot == "franka" else T
    position = v[:3] / 1000.0 if robot == "kuka" else v[:3]
    return make_pose(_euler_xyz(v[3:]), position)


def _euler_xyz(angles: NDArray[np.float64]) -> Array:
    """Rotation about the fixed x, then y, then z axis ("sxyz")."""
    x, y, z = (rotation_vector_to_matrix(axis * angle) for axis, angle in zip(np.eye(3), angles, strict=True))
    return np.asarray(z @ y @ x)
