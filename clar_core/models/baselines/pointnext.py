"""PointNeXt-S (Qian et al., NeurIPS 2022) as a policy encoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clar_core.models.baselines.neighbourhoods import PointMLP, ball, farthest_first, gather
from clar_core.models.encoder import PointFeatures
from clar_core.models.pooling import max_over


@dataclass(frozen=True, kw_only=True)
class PointNeXtConfig:
    """Shape of the PointNeXt encoder. The defaults are PointNeXt-S: one block a stage, strides 1, 2, 2, 2, 2, all.

    Attributes:
        width: after the first stage; it doubles with every halving of the points.
        halvings: stages that keep every other point.
        radius: of the first stage's balls, in network units.
        radius_growth: factor from stage to stage.
        neighbours: points a ball.
    """

    width: int = 32
    halvings: int = 4
    radius: float = 0.15
    radius_growth: float = 1.5
    neighbours: int = 32

    def __post_init__(self) -> None:
        for name in ("width", "halvings", "radius", "radius_growth", "neighbours"):
            if not getattr(self, name) > 0:
                raise ValueError(f"encoder.{name}: expected a positive number, got {getattr(self, name)}")


class ResidualAbstraction(nn.Module):
    """Set abstraction with a skip connection from the centre's own feature; offsets are divided by the radius."""

    def __init__(self, inputs: int, outputs: int, radius: float, neighbours: int) -> None:
        super().__init__()
        self.radius, self.neighbours = radius, neighbours
        self.mlp = PointMLP(3 + inputs, outputs // 2, outputs, last_relu=False)
        self.skip = nn.Linear(inputs, outputs)

    def forward(self, points: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Points (B, N, 3) and features (B, N, inputs) -> (B, N / 2, 3) and (B, N / 2, outputs)."""
        count = max(points.shape[1] // 2, 1)
        centres = points[:, :count]
        rows = ball(centres, points, self.radius, self.neighbours)
        offsets = (gather(points, rows) - centres.unsqueeze(2)) / self.radius
        grouped = max_over(self.mlp(torch.cat([offsets, gather(features, rows)], dim=-1)), 2)
        return centres, F.relu(grouped + self.skip(features[:, :count]))


class PointNeXt(nn.Module):
    """A point-wise stem, four residual set abstractions, one over all; the feature is 512 wide at width 32."""

    def __init__(self, config: PointNeXtConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Linear(3, config.width)
        self.stages = nn.ModuleList(
            ResidualAbstraction(
                config.width * 2**i,
                config.width * 2 ** (i + 1),
                config.radius * config.radius_growth**i,
                config.neighbours,
            )
            for i in range(config.halvings)
        )
        self.whole = PointMLP(3 + self.feature_dim, self.feature_dim, self.feature_dim)

    @property
    def feature_dim(self) -> int:
        """Width of the global feature."""
        return self.config.width * 2**self.config.halvings

    def forward(self, points: Tensor, *, fps_ordered: bool = True) -> PointFeatures:
        """Features of clouds (B, N, 3) in network units. The tokens are those of the last stage (B, N / 16, 512)."""
        there = farthest_first(points, fps_ordered=fps_ordered)
        features = self.stem(there)
        for stage in self.stages:
            there, features = stage(there, features)
        pooled = max_over(self.whole(torch.cat([there, features], dim=-1)), 1)
        return PointFeatures(features, there, pooled)
