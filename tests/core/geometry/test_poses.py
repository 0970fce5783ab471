"""Poses: conversions against scipy, and the algebra that the stack relies on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from clar_core.geometry import poses

# From none to half a turn, where a careless formula divides by zero, and a little on this side of both.
ANGLES = (0.0, 1e-12, 1e-9, 1e-7, 1e-6, 1e-3, 0.5, 2.0, np.pi - 1e-3, np.pi - 1e-7, np.pi - 1e-10, np.pi)


def rotation_vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    axes = np.concatenate([np.eye(3), -np.eye(3), rng.normal(size=(30, 3))])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return np.concatenate([axis * np.array(ANGLES)[:, None] for axis in axes])


def test_conversions_agree_with_scipy_at_every_angle() -> None:
    for rotation_vector in rotation_vectors():
        expected = Rotation.from_rotvec(rotation_vector)
        matrix = poses.rotation_vector_to_matrix(rotation_vector)
        np.testing.assert_allclose(matrix, expected.as_matrix(), atol=1e-15)
        quaternion = poses.matrix_to_quaternion(matrix)
        assert quaternion[3] >= 0.0
        assert abs(np.linalg.norm(quaternion) - 1.0) < 1e-15
        assert abs(abs(quaternion @ expected.as_quat()) - 1.0) < 1e-15
        np.testing.assert_allclose(poses.quaternion_to_matrix(quaternion), matrix, atol=1e-15)
        back = poses.matrix_to_rotation_vector(matrix)
        assert np.linalg.norm(back) <= np.pi + 1e-12
        if np.linalg.norm(rotation_vector) < 3.0:
            np.testing.assert_allclose(back, rotation_vector, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(poses.rotation_vector_to_matrix(back), matrix, atol=1e-15)


def test_rotations_beyond_half_a_turn_come_back_the_short_way() -> None:
    matrix = poses.rotation_vector_to_matrix((0.0, 0.0, 1.5 * np.pi))
    np.testing.assert_allclose(poses.matrix_to_rotation_vector(matrix), (0.0, 0.0, -0.5 * np.pi), atol=1e-12)


def test_quaternions_are_normalised() -> None:
    np.testing.assert_allclose(
        poses.quaternion_to_matrix((0.0, 0.0, 3.0, 3.0)), ((0, -1, 0), (1, 0, 0), (0, 0, 1)), atol=1e-15
    )


@pytest.mark.parametrize("quaternion", [(0, 0, 0, 0), (np.nan, 0, 0, 1), (np.inf, 0, 0, 1), (0, 0, 1)])
def test_what_is_no_quaternion_is_refused(quaternion: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="expected a quaternion of 4 finite numbers"):
        poses.quaternion_to_matrix(quaternion)


def test_a_delta_is_applied_in_the_base_frame_and_recovered() -> None:
    rng = np.random.default_rng(1)
    T_now = poses.make_pose(poses.rotation_vector_to_matrix(rng.normal(size=3)), rng.normal(size=3))
    translation, rotation = np.array((0.01, -0.02, 0.03)), np.array((0.1, -0.05, 0.2))
    T_next = poses.apply_delta(T_now, translation, rotation)
    np.testing.assert_allclose(T_next[:3, 3], T_now[:3, 3] + translation)
    np.testing.assert_allclose(T_next[:3, :3], poses.rotation_vector_to_matrix(rotation) @ T_now[:3, :3], atol=1e-12)
    for found, expected in zip(poses.delta_between(T_now, T_next), (translation, rotation), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_interpolation_is_linear_and_geodesic() -> None:
    T_start = poses.make_pose(translation=(0, 0, 0))
    T_end = poses.make_pose(poses.rotation_vector_to_matrix((0, 0, 1.0)), (4, 0, 0))
    T_quarter = poses.interpolate(T_start, T_end, 0.25)
    np.testing.assert_allclose(T_quarter[:3, 3], (1, 0, 0))
    np.testing.assert_allclose(poses.matrix_to_rotation_vector(T_quarter[:3, :3]), (0, 0, 0.25), atol=1e-12)


def test_a_pose_and_its_inverse_cancel() -> None:
    rng = np.random.default_rng(2)
    T = poses.make_pose(poses.rotation_vector_to_matrix(rng.normal(size=3)), rng.normal(size=3))
    np.testing.assert_allclose(poses.inverse(T) @ T, np.eye(4), atol=1e-12)
    points = rng.normal(size=(5, 3)).astype(np.float32)
    moved = poses.transform_points(T, points)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(poses.transform_points(poses.inverse(T), moved), points, atol=1e-5)


def test_two_columns_hold_a_rotation() -> None:
    rotation = poses.rotation_vector_to_matrix((0.3, -0.5, 0.7))
    columns = poses.rotation_to_6d(rotation)
    np.testing.assert_allclose(columns, np.concatenate([rotation[:, 0], rotation[:, 1]]))
    np.testing.assert_allclose(poses.rotation_from_6d(columns * 2.0), rotation, atol=1e-12)


def test_the_nearest_rotation_is_a_rotation() -> None:
    rotation = poses.rotation_vector_to_matrix((0.3, -0.5, 0.7))
    nearest = poses.orthonormalize(rotation + np.random.default_rng(3).normal(scale=1e-3, size=(3, 3)))
    np.testing.assert_allclose(nearest @ nearest.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(nearest) == pytest.approx(1.0)
    np.testing.assert_allclose(nearest, rotation, atol=5e-3)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3), r"camera: expected a \(4, 4\) matrix"),
        (np.full((4, 4), np.nan), "camera: expected finite numbers"),
        (2.0 * np.eye(4), "camera: expected a rotation matrix"),
        (np.diag((1.0, 1.0, -1.0, 1.0)), "camera: expected a rotation matrix"),
        (np.eye(4) + np.outer((0, 0, 0, 1), (1, 0, 0, 0)), "expected the last row 0 0 0 1"),
    ],
)
def test_what_is_no_pose_is_refused_by_name(matrix: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        poses.check_pose(matrix, "camera")


def test_a_pose_passes_unchanged() -> None:
    T = poses.make_pose(poses.rotation_vector_to_matrix((0.3, -0.5, 0.7)), (1, 2, 3))
    np.testing.assert_array_equal(poses.check_pose(T), T)
