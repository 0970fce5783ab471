"""Rigid transforms as (4, 4) float64 matrices.

``T_a_b`` maps points of frame b to frame a: ``p_a = T_a_b @ p_b``. Lengths in metres, angles in radians,
quaternions in ROS order (x, y, z, w). Rotations live in SO(3); deltas are applied from the left, in the base frame.

Conversions work on plain numbers: for a single pose, at hundreds of poses a second, that is 20 times as fast as arrays.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_ORTHONORMAL_TOLERANCE = 1e-5
_SMALL_ANGLE = 1e-6


def make_pose(rotation: ArrayLike | None = None, translation: ArrayLike | None = None) -> Array:
    """Pose from a (3, 3) rotation matrix and a (3,) translation in metres; identity for what is left out."""
    T = np.eye(4)
    if rotation is not None:
        T[:3, :3] = np.asarray(rotation, dtype=np.float64)
    if translation is not None:
        T[:3, 3] = np.asarray(translation, dtype=np.float64)
    return T


def pose_from_quaternion(translation: ArrayLike, quaternion_xyzw: ArrayLike) -> Array:
    """Pose from a translation (3,) in metres and a quaternion (4,) in xyzw order; the quaternion is normalised.

    Raises:
        ValueError: the quaternion is zero or not finite.
    """
    return make_pose(quaternion_to_matrix(quaternion_xyzw), translation)


def quaternion_to_matrix(quaternion_xyzw: ArrayLike) -> Array:
    """Rotation matrix (3, 3) of a quaternion (4,) in xyzw order. Raises ValueError for a zero or non-finite one."""
    q = np.asarray(quaternion_xyzw, dtype=np.float64)
    norm = math.hypot(*q.tolist()) if q.shape == (4,) else 0.0
    if not math.isfinite(norm) or norm < 1e-9:
        raise ValueError(f"expected a quaternion of 4 finite numbers in xyzw order, not all zero; got {q}")
    x, y, z, w = (component / norm for component in q.tolist())
    return np.array(
        (
            (1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)),
            (2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)),
            (2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)),
        )
    )


def matrix_to_quaternion(rotation: ArrayLike) -> Array:
    """Quaternion (4,) in xyzw order of a rotation matrix (3, 3), with w >= 0.

    Divides by the largest of the four components (Shepperd, 1978), so that no rotation loses accuracy.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = np.asarray(rotation, dtype=np.float64).tolist()
    largest = max(xx + yy + zz, xx, yy, zz)
    if largest == xx + yy + zz:
        q = (zy - yz, xz - zx, yx - xy, 1.0 + xx + yy + zz)
    elif largest == xx:
        q = (1.0 + xx - yy - zz, xy + yx, xz + zx, zy - yz)
    elif largest == yy:
        q = (xy + yx, 1.0 - xx + yy - zz, yz + zy, xz - zx)
    else:
        q = (xz + zx, yz + zy, 1.0 - xx - yy + zz, yx - xy)
    norm = math.copysign(math.hypot(*q), q[3])
    return np.array(q) / norm


def rotation_vector_to_matrix(rotation_vector: ArrayLike) -> Array:
    """exp: so(3) -> SO(3). Rotation vector (3,) in radians to a matrix (3, 3)."""
    x, y, z = np.asarray(rotation_vector, dtype=np.float64).tolist()
    angle = math.hypot(x, y, z)
    scale = math.sin(angle / 2) / angle if angle > _SMALL_ANGLE else 0.5 - angle * angle / 48
    return quaternion_to_matrix((x * scale, y * scale, z * scale, math.cos(angle / 2)))


def matrix_to_rotation_vector(rotation: ArrayLike) -> Array:
    """log: SO(3) -> so(3). Matrix (3, 3) to a rotation vector (3,) in radians, of norm <= pi."""
    quaternion = matrix_to_quaternion(rotation)
    x, y, z, w = quaternion.tolist()
    sine = math.hypot(x, y, z)
    scale = 2.0 * math.atan2(sine, w) / sine if sine > _SMALL_ANGLE else 2.0 / w
    return quaternion[:3] * scale


def orthonormalize(rotation: ArrayLike) -> Array:
    """The rotation matrix (3, 3) nearest to the given one in the Frobenius norm (by SVD)."""
    u, _, vt = np.linalg.svd(np.asarray(rotation, dtype=np.float64))
    u[:, 2] *= np.sign(np.linalg.det(u @ vt))
    return np.asarray(u @ vt)


def inverse(T_a_b: Array) -> Array:
    """``T_b_a`` of ``T_a_b``, from the transposed rotation (no matrix inversion)."""
    rotation = T_a_b[:3, :3].T
    return make_pose(rotation, -rotation @ T_a_b[:3, 3])


def transform_points(T_a_b: Array, points_b: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Map points (..., 3) of frame b to frame a. The result has the points' dtype."""
    rotation = T_a_b[:3, :3].astype(points_b.dtype)
    return np.asarray(points_b @ rotation.T + T_a_b[:3, 3].astype(points_b.dtype))


def apply_delta(T_base_tcp: Array, translation: ArrayLike, rotation_vector: ArrayLike) -> Array:
    """The pose after one delta: ``p + translation`` and ``exp(rotation_vector) R``, re-orthonormalised.

    Translation in metres and rotation vector in radians, both in the base frame.
    """
    rotation = rotation_vector_to_matrix(rotation_vector) @ T_base_tcp[:3, :3]
    return make_pose(orthonormalize(rotation), T_base_tcp[:3, 3] + np.asarray(translation, dtype=np.float64))


def delta_between(T_base_now: Array, T_base_next: Array) -> tuple[Array, Array]:
    """Translation (3,) in metres and rotation vector (3,) in radians such that ``apply_delta(now, ...)`` is next."""
    rotation = T_base_next[:3, :3] @ T_base_now[:3, :3].T
    return T_base_next[:3, 3] - T_base_now[:3, 3], matrix_to_rotation_vector(rotation)


def interpolate(T_start: Array, T_end: Array, fraction: float) -> Array:
    """Pose at a fraction in [0, 1] of the way: linear in translation, along the geodesic in rotation."""
    translation, rotation = delta_between(T_start, T_end)
    return apply_delta(T_start, fraction * translation, fraction * rotation)


def rotation_to_6d(rotation: Array) -> Array:
    """First two columns of a rotation matrix, concatenated: (6,). Zhou et al., CVPR 2019."""
    return np.concatenate([rotation[:3, 0], rotation[:3, 1]])


def rotation_from_6d(columns: ArrayLike) -> Array:
    """Rotation matrix (3, 3) of its first two columns (6,), by Gram-Schmidt."""
    c = np.asarray(columns, dtype=np.float64)
    x = c[:3] / np.linalg.norm(c[:3])
    y = c[3:6] - x * (x @ c[3:6])
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def check_pose(T: ArrayLike, name: str = "pose") -> Array:
    """Return the pose as (4, 4) float64, or raise ValueError that names it and says what is wrong with it."""
    matrix = np.asarray(T, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise ValueError(f"{name}: expected a (4, 4) matrix, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name}: expected finite numbers, got\n{matrix}")
    x, y, z = matrix[:3, :3].tolist()
    products = ((x, x, 1.0), (y, y, 1.0), (z, z, 1.0), (x, y, 0.0), (x, z, 0.0), (y, z, 0.0))
    error = max(abs(a[0] * b[0] + a[1] * b[1] + a[2] * b[2] - expected) for a, b, expected in products)
    # Of an orthonormal matrix the determinant is 1 or -1; its sign is that of the rows' triple product.
    determinant = (
        x[0] * (y[1] * z[2] - y[2] * z[1]) - x[1] * (y[0] * z[2] - y[2] * z[0]) + x[2] * (y[0] * z[1] - y[1] * z[0])
    )
    if error > _ORTHONORMAL_TOLERANCE or determinant < 0:
        raise ValueError(f"{name}: expected a rotation matrix (R R^T = 1, det 1), got an error of {error:.2g}")
    if any(abs(found - expected) > 1e-8 for found, expected in zip(matrix[3].tolist(), (0, 0, 0, 1), strict=True)):
        raise ValueError(f"{name}: expected the last row 0 0 0 1, got {matrix[3]}")
    return matrix
