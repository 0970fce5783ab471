"""Rotations as tensors, for losses: see :mod:`clar_core.geometry.poses` for those of arrays."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_EPS = 1e-6


def rotation_from_6d(columns: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of two vectors (..., 6), by Gram-Schmidt. Zhou et al., CVPR 2019.

    The first vector becomes the first column, what of the second stands upright on it the second. Continuous, and
    differentiable wherever the two are not parallel.
    """
    first, second = columns[..., :3], columns[..., 3:6]
    x = F.normalize(first, dim=-1, eps=_EPS)
    y = F.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1, eps=_EPS)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)


def rotation_angle(first: Tensor, second: Tensor) -> Tensor:
    """Angle (...) in radians between rotation matrices (..., 3, 3), exact for small ones too."""
    # Of the chord ||A - B||_F = 2 sqrt(2) sin(angle / 2): the arc cosine of the trace would lose small angles.
    chord = (first - second).flatten(-2).norm(dim=-1) / (2.0 * 2.0**0.5)
    return 2.0 * torch.asin(chord.clamp(max=1.0))
