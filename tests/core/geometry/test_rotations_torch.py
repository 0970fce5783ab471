import math

import numpy as np
import pytest
import torch

from clar_core.geometry import poses
from clar_core.geometry.rotations_torch import rotation_angle, rotation_from_6d


def test_any_two_vectors_become_the_rotation_that_the_arrays_version_makes() -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 6))
    matrices = rotation_from_6d(torch.from_numpy(vectors))
    np.testing.assert_allclose(matrices @ matrices.transpose(1, 2), torch.eye(3).expand(20, 3, 3), atol=1e-12)
    np.testing.assert_allclose(torch.linalg.det(matrices), 1.0)
    np.testing.assert_allclose(matrices[3], poses.rotation_from_6d(vectors[3]), atol=1e-12)


def test_columns_of_a_rotation_come_back_as_it() -> None:
    rotation = poses.rotation_vector_to_matrix((0.3, -1.2, 2.0))
    np.testing.assert_allclose(rotation_from_6d(torch.from_numpy(poses.rotation_to_6d(rotation))), rotation, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-4, 0.5, math.pi])
def test_the_angle_is_that_between_the_rotations(angle: float) -> None:
    first = poses.rotation_vector_to_matrix((0.2, 0.7, -0.1))
    second = poses.rotation_vector_to_matrix(np.array((0.0, 0.6, 0.8)) * angle) @ first
    found = rotation_angle(torch.from_numpy(first), torch.from_numpy(second))
    assert float(found) == pytest.approx(angle, abs=1e-7)
