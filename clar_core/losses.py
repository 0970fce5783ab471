"""Training losses: pure functions of arrays."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F


class PolicyLoss(NamedTuple):
    """Terms of the policy loss, scalars; ``total`` is what is minimised."""

    total: Tensor
    translation: Tensor
    rotation: Tensor
    gripper: Tensor


def policy_loss(predicted: Tensor, target: Tensor, *, gripper_weight: float = 0.1) -> PolicyLoss:
    """Imitation loss of normalised actions.

    Args:
        predicted: (..., 7); the last number is the logit of the gripper being open.
        target: (..., 7); the last number is the gripper's state in [0, 1].
        gripper_weight: weight of the gripper's cross entropy beside the two mean squared errors.
    """
    translation = F.mse_loss(predicted[..., :3], target[..., :3])
    rotation = F.mse_loss(predicted[..., 3:6], target[..., 3:6])
    gripper = F.binary_cross_entropy_with_logits(predicted[..., 6], target[..., 6])
    return PolicyLoss(translation + rotation + gripper_weight * gripper, translation, rotation, gripper)
