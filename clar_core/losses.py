"""Training losses: pure functions of arrays."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from clar_core.control.spaces import TCP_DELTA, ActionSpace
from clar_core.geometry.rotations_torch import rotation_angle, rotation_from_6d


class PolicyLoss(NamedTuple):
    """Terms of the policy loss, scalars; ``total`` is what is minimised."""

    total: Tensor
    translation: Tensor
    rotation: Tensor
    gripper: Tensor


def policy_loss(
    predicted: Tensor, target: Tensor, *, gripper_weight: float = 0.1, space: ActionSpace = TCP_DELTA
) -> PolicyLoss:
    """Imitation loss of normalised actions.

    A rotation vector has a mean squared error like the translation. Rotation columns become a matrix first, and the
    term is half the squared chord between the matrices, 2 (1 - cos of the angle): the squared angle where it is small.

    Args:
        predicted: (..., space.size); the last number is the logit of the gripper being open.
        target: (..., space.size); the last number is the gripper's state in [0, 1].
        gripper_weight: weight of the gripper's cross entropy beside the two squared errors.
        space: what the numbers mean.
    """
    translation = F.mse_loss(predicted[..., :3], target[..., :3])
    if space.absolute:
        chord = rotation_from_6d(predicted[..., 3:9]) - rotation_from_6d(target[..., 3:9])
        rotation = 0.5 * chord.square().sum((-2, -1)).mean()
    else:
        rotation = F.mse_loss(predicted[..., 3:6], target[..., 3:6])
    gripper = F.binary_cross_entropy_with_logits(predicted[..., -1], target[..., -1])
    return PolicyLoss(translation + rotation + gripper_weight * gripper, translation, rotation, gripper)


def pose_errors(
    predicted: Tensor, target: Tensor, action_std: Tensor, space: ActionSpace = TCP_DELTA
) -> tuple[Tensor, Tensor]:
    """Distances in metres and angles in radians, (...) each, between normalised actions (..., space.size).

    Args:
        action_std: (space.size - 1,) deviations that the actions were normalised by.
    """
    errors = (predicted[..., :-1] - target[..., :-1]) * action_std
    if space.absolute:
        matrices = (rotation_from_6d(action[..., 3:9]) for action in (predicted, target))
        return errors[..., :3].norm(dim=-1), rotation_angle(*matrices)
    return errors[..., :3].norm(dim=-1), errors[..., 3:].norm(dim=-1)


def chamfer_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """l2 Chamfer distance of patches, CLAR Eq. 1: squared distances to the nearest, both ways, each averaged.

    Args:
        predicted: (..., K, 3).
        target: (..., L, 3), the same leading dimensions.

    Returns:
        Scalar, the mean over the patches.
    """
    predicted, target = predicted.flatten(0, -3).float(), target.flatten(0, -3).float()
    squared = (
        predicted.square().sum(-1)[:, :, None]
        + target.square().sum(-1)[:, None]
        - 2.0 * predicted @ target.transpose(1, 2)
    ).clamp_min(0.0)
    return squared.amin(2).mean() + squared.amin(1).mean()


def contrastive_loss(
    first: Tensor,
    second: Tensor,
    scale: Tensor | float,
    *,
    same: Tensor | None = None,
    excluded: Tensor | None = None,
    decoupled: bool = False,
) -> Tensor:
    """Symmetric contrastive loss, CLAR Eqs. 2-4 and 6, as InfoNCE: the positive counts in the denominator, mean over i.

    Args:
        first: (N, D) features of unit length.
        second: (N, D) features of unit length; row i belongs to row i of ``first``.
        scale: 1 / temperature.
        same: (N,) ids; rows with equal ids are positives of each other, in equal parts.
        excluded: (N, N) bool, True where ``second[j]`` is no negative of ``first[i]``; the diagonal must be False.
        decoupled: Eq. 4 to the letter: the positive is left out of the denominator. Needs a fixed temperature, a
            learned one runs into its bound.

    Returns:
        Scalar.
    """
    logits = (first.float() @ second.float().T) * scale
    if excluded is not None:
        logits = logits.masked_fill(excluded, float("-inf"))
    targets = None
    if same is not None:
        targets = same[:, None] == same[None]
        targets = targets if excluded is None else targets & ~excluded
    return 0.5 * sum(_one_way(rows, targets, decoupled) for rows in (logits, logits.T))  # type: ignore[return-value]


def contrastive_chance(excluded: Tensor) -> Tensor:
    """What ``contrastive_loss`` is when the features tell nothing: mean log of the number of candidates, both ways.

    Args:
        excluded: (N, N) bool, as there.
    """
    candidates = (~excluded).float()
    return 0.5 * (candidates.sum(0).log().mean() + candidates.sum(1).log().mean())


def _one_way(logits: Tensor, targets: Tensor | None, decoupled: bool) -> Tensor:
    """Mean over the rows; ``targets`` is symmetric, ``None`` stands for the diagonal."""
    if targets is None:
        others = logits
        if decoupled:
            others = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), float("-inf"))
        return (others.logsumexp(1) - logits.diagonal()).mean()
    denominator = logits.masked_fill(targets, float("-inf")) if decoupled else logits
    log_ratio = logits - denominator.logsumexp(1, keepdim=True)
    shares = targets / targets.sum(1, keepdim=True)
    return -(log_ratio.masked_fill(~targets, 0.0) * shares).sum(1).mean()
