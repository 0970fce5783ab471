"""PointNet++ with single-scale grouping (Qi et al., NeurIPS 2017) as a policy encoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clar_core.models.baselines.neighbourhoods import PointMLP, ball, farthest_first, gather
from clar_core.models.encoder import PointFeatures
from clar_core.models.pooling import max_over


@dataclass(frozen=True, kw_only=True)
class PointNet2Config:
    """Shape of the PointNet++ encoder: two levels of balls, then the whole cloud.

    Attributes:
        centres, radii, neighbours: of the two levels; radii in network units.
        feature_dim: width of the global feature.
    """

    centres: tuple[int, int] = (512, 128)
    radii: tuple[float, float] = (0.2, 0.4)
    neighbours: tuple[int, int] = (32, 64)
    feature_dim: int = 256

    def __post_init__(self) -> None:
        for name in ("centres", "radii", "neighbours"):
            if len(getattr(self, name)) != 2 or min(getattr(self, name)) <= 0:
                raise ValueError(f"encoder.{name}: expected two positive numbers, got {getattr(self, name)}")
        if self.feature_dim < 1:
            raise ValueError(f"encoder.feature_dim: expected a positive width, got {self.feature_dim}")


class PointNet2(nn.Module):
    """Set abstraction 512 / 0.2 / 32, 128 / 0.4 / 64, all; then 1024 -> 512 -> ``feature_dim``."""

    def __init__(self, config: PointNet2Config) -> None:
        super().__init__()
        self.config = config
        self.levels = nn.ModuleList([PointMLP(3, 64, 64, 128), PointMLP(3 + 128, 128, 128, 256)])
        self.whole = PointMLP(3 + 256, 256, 512, 1024)
        self.head = nn.Sequential(PointMLP(1024, 512), nn.Linear(512, config.feature_dim))

    @property
    def feature_dim(self) -> int:
        """Width of the global feature."""
        return self.config.feature_dim

    def forward(self, points: Tensor, *, fps_ordered: bool = True) -> PointFeatures:
        """Features of clouds (B, N, 3) in network units. The tokens are those of the second level (B, 128, 256)."""
        config = self.config
        there = farthest_first(points, fps_ordered=fps_ordered)
        features: Tensor | None = None
        for level, count, radius, size in zip(
            self.levels, config.centres, config.radii, config.neighbours, strict=True
        ):
            centres = there[:, :count]
            rows = ball(centres, there, radius, size)
            grouped = gather(there, rows) - centres.unsqueeze(2)
            if features is not None:
                grouped = torch.cat([grouped, gather(features, rows)], dim=-1)
            features, there = max_over(level(grouped), 2), centres
        assert features is not None
        pooled = max_over(self.whole(torch.cat([there, features], dim=-1)), 1)
        return PointFeatures(features, there, self.head(pooled))
