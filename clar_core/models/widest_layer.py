"""The widest layer of a PointNet and the maximum over its points, without the rows in between.

PointNet (Qi et al., CVPR 2017) maps every point to 1024 numbers and keeps the largest of each. Linear layer, BatchNorm
and ReLU are monotone in every channel, so the point that wins is known from the linear layer alone; everything else is
computed for the winners. BatchNorm's mean and variance over all points follow from the mean and the covariance of the
layer's inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def max_of_widest(linear: nn.Linear, norm: nn.BatchNorm1d, points: Tensor) -> Tensor:
    """``relu(norm(linear(points))).amax(1)``, its gradient and its running statistics, up to rounding.

    Where several points have the largest value, one of them takes the whole gradient.

    Args:
        linear: D -> C, with a bias.
        norm: of C channels, affine, with running statistics.
        points: (B, N, D).

    Returns:
        (B, C).
    """
    winners = _winners(points, linear.weight, norm.weight)
    batch = torch.arange(len(points), device=points.device).unsqueeze(1)
    # Only the search for the winners, nearly all of the work, is worth less precision.
    with torch.autocast(points.device.type, enabled=False):
        points = points.to(linear.weight.dtype)
        mean, variance = _batch_statistics(linear, norm, points) if norm.training else _running_statistics(norm)
        value = (points[batch, winners] * linear.weight).sum(-1) + linear.bias
        return torch.relu((value - mean) * (norm.weight * (variance + norm.eps).rsqrt()) + norm.bias)


@torch.no_grad()
def _winners(points: Tensor, weight: Tensor, factor: Tensor) -> Tensor:
    """(B, C) index of the point whose value is the largest, or the smallest where BatchNorm turns the sign."""
    signed = torch.where((factor < 0).unsqueeze(1), -weight, weight)
    # A cloud at a time: 1024 values of 1024 points fit into a processor's cache, those of a batch do not.
    return torch.stack([(signed @ cloud.T).argmax(1) for cloud in points])


def _batch_statistics(linear: nn.Linear, norm: nn.BatchNorm1d, points: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the layer's output over all points, which also move the running statistics."""
    rows = points.flatten(0, 1)
    centre = rows.mean(0)
    centred = rows - centre
    covariance = centred.T @ centred / len(rows)
    mean = linear(centre)
    # Rounding must not make it negative where a weight meets no variance at all.
    variance = ((linear.weight @ covariance) * linear.weight).sum(1).clamp_min(0.0)
    with torch.no_grad():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked += 1
        share = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean, share)
        norm.running_var.lerp_(variance * (len(rows) / max(len(rows) - 1, 1)), share)
    return mean, variance


def _running_statistics(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var
