"""What hierarchical point networks share: centres of a cloud in farthest-point order, and balls around them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from clar_core.geometry.points_torch import farthest_point_sampling, knn


def farthest_first(points: Tensor, *, fps_ordered: bool) -> Tensor:
    """Clouds (B, N, 3) in farthest-point order, in which every prefix is a sample of the whole."""
    if fps_ordered:
        return points
    rows = farthest_point_sampling(points, points.shape[1])
    return points.gather(1, rows.unsqueeze(-1).expand(-1, -1, 3))


@torch.no_grad()
def ball(centres: Tensor, points: Tensor, radius: float, size: int) -> Tensor:
    """Rows (B, M, size) of the points within a radius of each centre, nearest first.

    Where a ball holds fewer points its first is repeated; the published code takes the first by row instead of the
    nearest. Centres are points, so no ball is empty.

    Args:
        centres: (B, M, 3).
        points: (B, N, 3).
        radius: in network units.
        size: of a neighbourhood.
    """
    rows = knn(centres, points, min(size, points.shape[1]))
    offsets = gather(points, rows) - centres.unsqueeze(2)
    outside = offsets.square().sum(-1) > radius**2
    return torch.where(outside, rows[..., :1], rows)


def gather(values: Tensor, rows: Tensor) -> Tensor:
    """Values (B, N, C) at rows (B, M, K): (B, M, K, C)."""
    batch, centres, size = rows.shape
    index = rows.reshape(batch, centres * size, 1).expand(-1, -1, values.shape[-1])
    return values.gather(1, index).view(batch, centres, size, -1)


class PointMLP(nn.Module):
    """Linear layers on every point, each with BatchNorm over all points and ReLU.

    Args:
        widths: of the input and of every layer.
        last_relu: whether the last layer has its ReLU.
    """

    def __init__(self, *widths: int, last_relu: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*(layers if last_relu else layers[:-1]))

    def forward(self, x: Tensor) -> Tensor:
        """(..., widths[0]) -> (..., widths[-1])."""
        rows: Tensor = self.layers(x.reshape(-1, x.shape[-1]))
        return rows.view(*x.shape[:-1], -1)
