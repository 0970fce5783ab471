import pytest
import torch

from clar_core.losses import policy_loss


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
