"""Rotations, under the names of tf's transformations module. Stand-in, see ros2_ws/underlay/README.md.

Quaternions are x, y, z, w; matrices are homogeneous (4, 4); angles in radians; Euler axes as in transforms3d ("sxyz" is
roll, pitch and yaw about fixed axes). The conversions are transforms3d's.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from transforms3d import axangles, euler, quaternions

__clar_stand_in__ = True

Array = NDArray[np.float64]
Quaternion = tuple[float, float, float, float]


def identity_matrix() -> Array:
    """The transform that changes nothing."""
    return np.identity(4)


def translation_matrix(direction: ArrayLike) -> Array:
    """The translation by a vector (3,)."""
    matrix = np.identity(4)
    matrix[:3, 3] = np.asarray(direction)[:3]
    return matrix


def translation_from_matrix(matrix: ArrayLike) -> Array:
    """The translation (3,) of a transform."""
    return np.array(matrix, dtype=np.float64)[:3, 3]


def rotation_matrix(angle: float, direction: ArrayLike, point: ArrayLike | None = None) -> Array:
    """The rotation by an angle about a direction (3,), through a point (3,), the origin when left out."""
    return np.asarray(axangles.axangle2aff(direction, angle, point=point))


def rotation_from_matrix(matrix: ArrayLike) -> tuple[float, Array, Array]:
    """Angle, direction (3,) and a fixed point (4,) of a rotation."""
    direction, angle, point = axangles.aff2axangle(np.asarray(matrix))
    return angle, direction, point


def euler_matrix(ai: float, aj: float, ak: float, axes: str = "sxyz") -> Array:
    """The rotation of three Euler angles."""
    return _homogeneous(euler.euler2mat(ai, aj, ak, axes=axes))


def euler_from_matrix(matrix: ArrayLike, axes: str = "sxyz") -> tuple[float, float, float]:
    """The Euler angles of a rotation matrix, (3, 3) or (4, 4)."""
    return tuple(euler.mat2euler(np.asarray(matrix), axes=axes))


def euler_from_quaternion(quaternion: ArrayLike, axes: str = "sxyz") -> tuple[float, float, float]:
    """The Euler angles of a quaternion."""
    return euler_from_matrix(quaternion_matrix(quaternion), axes)


def quaternion_from_euler(ai: float, aj: float, ak: float, axes: str = "sxyz") -> Quaternion:
    """The quaternion of three Euler angles."""
    return _xyzw(euler.euler2quat(ai, aj, ak, axes=axes))


def quaternion_about_axis(angle: float, axis: ArrayLike) -> Quaternion:
    """The quaternion of a rotation by an angle about an axis (3,)."""
    return _xyzw(quaternions.axangle2quat(axis, angle))


def quaternion_matrix(quaternion: ArrayLike) -> Array:
    """The rotation (4, 4) of a quaternion, which is normalised first."""
    return _homogeneous(quaternions.quat2mat(_wxyz(quaternion)))


def quaternion_from_matrix(matrix: ArrayLike) -> Quaternion:
    """The quaternion of the rotation in a transform, scale and shear left aside."""
    linear = np.asarray(matrix, dtype=np.float64)[:3, :3]
    # Gram-Schmidt: the triangular factor holds scale and shear.
    rotation, triangular = np.linalg.qr(linear)
    rotation = rotation * np.sign(np.diag(triangular))
    return _xyzw(quaternions.mat2quat(rotation))


def quaternion_multiply(quaternion1: ArrayLike, quaternion0: ArrayLike) -> Quaternion:
    """The product: the rotation ``quaternion0`` first, then ``quaternion1``."""
    return _xyzw(quaternions.qmult(_wxyz(quaternion1), _wxyz(quaternion0)))


def quaternion_conjugate(quaternion: ArrayLike) -> Array:
    """The conjugate, which is the opposite rotation for a unit quaternion."""
    return np.asarray(quaternion, dtype=np.float64) * (-1.0, -1.0, -1.0, 1.0)


def quaternion_inverse(quaternion: ArrayLike) -> Array:
    """The inverse under multiplication."""
    return quaternion_conjugate(quaternion) / np.dot(quaternion, quaternion)


def quaternion_slerp(
    quat0: ArrayLike, quat1: ArrayLike, fraction: float, spin: int = 0, shortestpath: bool = True
) -> Array:
    """Spherical linear interpolation, with ``spin`` extra half turns, the short way round unless told otherwise."""
    start, end = unit_vector(quat0), unit_vector(quat1)
    if fraction == 0.0:
        return start
    if fraction == 1.0:
        return end
    cosine = float(np.dot(start, end))
    if abs(abs(cosine) - 1.0) < 4.0 * np.finfo(float).eps:
        return start
    if shortestpath and cosine < 0.0:
        cosine, end = -cosine, -end
    angle = math.acos(cosine) + spin * math.pi
    return (math.sin((1.0 - fraction) * angle) * start + math.sin(fraction * angle) * end) / math.sin(angle)


def random_quaternion(rand: ArrayLike | None = None) -> Array:
    """A uniformly distributed unit quaternion, from three numbers in [0, 1), random ones when left out."""
    u, v, w = np.random.default_rng().random(3) if rand is None else np.asarray(rand, dtype=np.float64)
    a, b = math.sqrt(1.0 - u), math.sqrt(u)
    alpha, beta = 2.0 * math.pi * v, 2.0 * math.pi * w
    return np.array((a * math.sin(alpha), a * math.cos(alpha), b * math.sin(beta), b * math.cos(beta)))


def random_rotation_matrix(rand: ArrayLike | None = None) -> Array:
    """A uniformly distributed rotation (4, 4); ``rand`` as in ``random_quaternion``."""
    return quaternion_matrix(random_quaternion(rand))


def unit_vector(data: ArrayLike) -> Array:
    """A vector divided by its length."""
    vector = np.array(data, dtype=np.float64)
    return vector / np.linalg.norm(vector)


def inverse_matrix(matrix: ArrayLike) -> Array:
    """The inverse of a transform."""
    return np.linalg.inv(matrix)


def concatenate_matrices(*matrices: ArrayLike) -> Array:
    """The product of transforms, from left to right."""
    product = np.identity(4)
    for matrix in matrices:
        product = product @ np.asarray(matrix)
    return product


def is_same_transform(matrix0: ArrayLike, matrix1: ArrayLike) -> bool:
    """Whether two transforms do the same, up to rounding and their common scale."""
    first, second = np.array(matrix0, dtype=np.float64), np.array(matrix1, dtype=np.float64)
    return bool(np.allclose(first / first[3, 3], second / second[3, 3]))


def __getattr__(name: str) -> object:
    raise AttributeError(
        f"tf_transformations.{name} is outside the subset that CLAR's stand-in has; "
        "install ROS 2's tf_transformations, or add it to ros2_ws/underlay/tf_transformations"
    )


def _homogeneous(rotation: Array) -> Array:
    matrix = np.identity(4)
    matrix[:3, :3] = rotation
    return matrix


def _wxyz(quaternion: ArrayLike) -> Quaternion:
    x, y, z, w = np.asarray(quaternion, dtype=np.float64).tolist()
    return w, x, y, z


def _xyzw(quaternion_wxyz: ArrayLike) -> Quaternion:
    w, x, y, z = quaternion_wxyz  # type: ignore[misc]
    return x, y, z, w
