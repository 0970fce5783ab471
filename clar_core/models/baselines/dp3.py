"""The encoder of the 3D Diffusion Policy (Ze et al., RSS 2024): a small MLP on every point, and their maximum."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from clar_core.models.encoder import PointFeatures
from clar_core.models.pooling import max_over


@dataclass(frozen=True, kw_only=True)
class DP3Config:
    """Shape of DP3's encoder.

    Attributes:
        widths: of the layers on every point.
        feature_dim: width of the global feature.
    """

    widths: tuple[int, ...] = (64, 128, 256)
    feature_dim: int = 64

    def __post_init__(self) -> None:
        if not self.widths or min(*self.widths, self.feature_dim) < 1:
            raise ValueError(
                f"encoder.widths, encoder.feature_dim: expected positive widths, got {self.widths}, {self.feature_dim}"
            )


class DP3(nn.Module):
    """Linear, LayerNorm and ReLU per width, maximum over points, then a projection with LayerNorm."""

    def __init__(self, config: DP3Config) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *config.widths), config.widths, strict=False):
            layers += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU()]
        self.mlp = nn.Sequential(*layers)
        self.projection = nn.Sequential(
            nn.Linear(config.widths[-1], config.feature_dim), nn.LayerNorm(config.feature_dim)
        )

    @property
    def feature_dim(self) -> int:
        """Width of the global feature."""
        return self.config.feature_dim

    def forward(self, points: Tensor, *, fps_ordered: bool = True) -> PointFeatures:
        """Features of clouds (B, N, 3) in network units, in any order. The tokens are the points' (B, N, 256)."""
        tokens = self.mlp(points)
        return PointFeatures(tokens, points, self.projection(max_over(tokens, 1)))
