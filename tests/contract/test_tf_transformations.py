"""tf_transformations: conventions and values that the nodes rely on."""

from __future__ import annotations

import math

import numpy as np
import pytest

tf = pytest.importorskip("tf_transformations")


def test_quaternions_are_xyzw_tuples() -> None:
    quaternion = tf.quaternion_from_euler(0.0, 0.0, math.pi / 2)
    assert isinstance(quaternion, tuple)
    np.testing.assert_allclose(quaternion, (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5)), atol=1e-12)
    np.testing.assert_allclose(tf.quaternion_about_axis(0.123, (1, 0, 0)), (math.sin(0.0615), 0, 0, math.cos(0.0615)))


def test_euler_angles_are_roll_pitch_yaw_about_fixed_axes() -> None:
    roll, pitch, yaw = 0.1, -0.4, 2.0
    rotation = (
        tf.rotation_matrix(yaw, (0, 0, 1)) @ tf.rotation_matrix(pitch, (0, 1, 0)) @ tf.rotation_matrix(roll, (1, 0, 0))
    )
    np.testing.assert_allclose(tf.euler_matrix(roll, pitch, yaw), rotation, atol=1e-12)
    np.testing.assert_allclose(tf.euler_from_matrix(rotation), (roll, pitch, yaw), atol=1e-12)
    np.testing.assert_allclose(
        tf.euler_from_quaternion(tf.quaternion_from_euler(roll, pitch, yaw)), (roll, pitch, yaw), atol=1e-12
    )


@pytest.mark.parametrize("axes", ["sxyz", "rzyx", "syxz", "rxyz"])
def test_axis_sequences_round_trip(axes: str) -> None:
    angles = (0.3, -0.5, 0.7)
    np.testing.assert_allclose(tf.euler_from_matrix(tf.euler_matrix(*angles, axes), axes), angles, atol=1e-12)


def test_matrices_are_homogeneous_and_round_trip_through_quaternions() -> None:
    for seed in range(20):
        rotation = tf.random_rotation_matrix(np.random.default_rng(seed).random(3))
        assert rotation.shape == (4, 4)
        np.testing.assert_allclose(rotation[3], (0, 0, 0, 1))
        np.testing.assert_allclose(tf.quaternion_matrix(tf.quaternion_from_matrix(rotation)), rotation, atol=1e-12)


def test_the_quaternion_of_a_transform_leaves_its_translation_aside() -> None:
    rotation = tf.rotation_matrix(0.123, (1, 2, 3))
    transform = tf.concatenate_matrices(tf.translation_matrix((1.0, 2.0, 3.0)), rotation)
    np.testing.assert_allclose(tf.quaternion_from_matrix(transform), (0.0164262, 0.0328524, 0.0492786, 0.9981095), 1e-5)
    np.testing.assert_allclose(tf.translation_from_matrix(transform), (1.0, 2.0, 3.0))


def test_products_follow_matrices() -> None:
    first, second = tf.quaternion_from_euler(0.1, 0.2, 0.3), tf.quaternion_from_euler(-0.4, 0.5, 0.6)
    product = tf.quaternion_matrix(tf.quaternion_multiply(second, first))
    np.testing.assert_allclose(product, tf.quaternion_matrix(second) @ tf.quaternion_matrix(first), atol=1e-12)
    np.testing.assert_allclose(tf.quaternion_multiply(first, tf.quaternion_inverse(first)), (0, 0, 0, 1), atol=1e-12)
    np.testing.assert_allclose(tf.quaternion_multiply([1, -2, 3, 4], [-5, 6, 7, 8]), (-44, -14, 48, 28))


def test_slerp_goes_the_short_way() -> None:
    start, end = tf.quaternion_about_axis(0.0, (0, 0, 1)), tf.quaternion_about_axis(1.0, (0, 0, 1))
    quarter = tf.quaternion_about_axis(0.25, (0, 0, 1))
    np.testing.assert_allclose(tf.quaternion_slerp(start, end, 0.25), quarter, atol=1e-12)
    np.testing.assert_allclose(tf.quaternion_slerp(start, -np.array(end), 0.25), quarter, atol=1e-12)
    np.testing.assert_allclose(tf.quaternion_slerp(start, end, 0.0), start)
    np.testing.assert_allclose(tf.quaternion_slerp(start, end, 1.0), end)


def test_transforms_compose_invert_and_compare() -> None:
    transform = tf.concatenate_matrices(tf.translation_matrix((1, 2, 3)), tf.euler_matrix(0.1, 0.2, 0.3))
    assert tf.is_same_transform(tf.concatenate_matrices(transform, tf.inverse_matrix(transform)), tf.identity_matrix())
    assert not tf.is_same_transform(transform, tf.identity_matrix())
    np.testing.assert_allclose(tf.unit_vector([3.0, 0.0, 4.0]), (0.6, 0.0, 0.8))
    angle, direction, _ = tf.rotation_from_matrix(tf.rotation_matrix(0.5, (0, 0, 2)))
    np.testing.assert_allclose((angle, *direction), (0.5, 0, 0, 1), atol=1e-12)
