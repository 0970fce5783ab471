import numpy as np
import pytest
import torch

from clar_core.control.spaces import KEYFRAME
from clar_core.geometry.poses import rotation_to_6d, rotation_vector_to_matrix
from clar_core.losses import policy_loss, pose_errors


def test_terms_are_means_over_batch_and_axes() -> None:
    predicted, target = torch.zeros(2, 7), torch.zeros(2, 7)
    target[:, 0] = 3.0
    target[0, 4] = 6.0
    loss = policy_loss(predicted, target)
    assert float(loss.translation) == pytest.approx(3.0)
    assert float(loss.rotation) == pytest.approx(6.0)
    assert float(loss.gripper) == pytest.approx(0.6931, abs=1e-4)
    assert float(loss.total) == pytest.approx(3.0 + 6.0 + 0.06931, abs=1e-4)


def test_the_gripper_is_a_logit_against_a_state_in_0_to_1() -> None:
    target = torch.zeros(1, 7)
    target[0, 6] = 1.0
    right, wrong = torch.zeros(1, 7), torch.zeros(1, 7)
    right[0, 6], wrong[0, 6] = 8.0, -8.0
    assert float(policy_loss(right, target).total) < 1e-3
    assert float(policy_loss(wrong, target, gripper_weight=0.5).total) == pytest.approx(4.0, abs=1e-2)


def pose_action(rotation: np.ndarray, length: float = 1.0) -> torch.Tensor:
    columns = torch.from_numpy(rotation_to_6d(rotation)).float()
    return torch.cat([torch.zeros(3), columns * length, torch.zeros(1)])[None]


@pytest.mark.parametrize("angle", [0.1, 1.0, 3.0])
def test_the_rotation_term_of_a_pose_is_the_chord_between_the_matrices_whatever_the_columns_lengths(
    angle: float,
) -> None:
    first = rotation_vector_to_matrix((0.4, 0.1, -0.3))
    second = rotation_vector_to_matrix((0.0, 0.0, angle)) @ first
    loss = policy_loss(pose_action(second, length=0.2), pose_action(first), space=KEYFRAME)
    assert float(loss.rotation) == pytest.approx(2 * (1 - np.cos(angle)), abs=1e-5)
    distances, angles = pose_errors(pose_action(second, length=3.0), pose_action(first), torch.ones(9), KEYFRAME)
    assert (float(distances), float(angles)) == (0.0, pytest.approx(angle, abs=1e-4))


def test_a_pose_is_learnt_from_anywhere_with_a_bounded_gradient() -> None:
    target = pose_action(rotation_vector_to_matrix((3.0, 0.2, 0.0)))
    predicted = torch.tensor([[0.0] * 3 + [1.0, 0, 0, 0, 1.0, 0] + [0.0]], requires_grad=True)
    optimiser = torch.optim.Adam([predicted], lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        policy_loss(predicted, target, space=KEYFRAME).total.backward()
        assert float(predicted.grad.norm()) < 10
        optimiser.step()
    assert float(policy_loss(predicted, target, space=KEYFRAME).rotation.detach()) < 1e-4
