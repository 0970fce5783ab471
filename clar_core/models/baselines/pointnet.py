"""PointNet (Qi et al., CVPR 2017) as a policy encoder."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from clar_core.models.encoder import PointFeatures
from clar_core.models.widest_layer import max_of_widest


@dataclass(frozen=True, kw_only=True)
class PointNetConfig:
    """Shape of the PointNet encoder.

    Attributes:
        feature_dim: width of the global feature.
        input_transform: predict a 3x3 matrix (the paper's spatial transformer) and apply it to the cloud first.
    """

    feature_dim: int = 256
    input_transform: bool = True

    def __post_init__(self) -> None:
        if self.feature_dim < 1:
            raise ValueError(f"encoder.feature_dim: expected a positive width, got {self.feature_dim}")


def _point_layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True))


def _point_features(widths: tuple[int, ...]) -> nn.Sequential:
    return nn.Sequential(*(_point_layer(a, b) for a, b in pairwise(widths)))


def _points_and_maximum(layers: nn.Sequential, points: Tensor) -> tuple[Tensor, Tensor]:
    """What clouds (B, N, 3) are before the last layer (B, N, D), and the maximum over the points after it (B, C)."""
    batch, size, _ = points.shape
    before = layers[:-1](points.reshape(batch * size, 3)).view(batch, size, -1)
    widest = layers[-1]
    assert isinstance(widest, nn.Sequential)
    linear, norm = widest[0], widest[1]
    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    return before, max_of_widest(linear, norm, before)


class InputTransform(nn.Module):
    """Predicts a 3x3 matrix from a cloud; the identity at initialisation."""

    def __init__(self) -> None:
        super().__init__()
        self.points = _point_features((3, 64, 128, 1024))
        self.head = nn.Sequential(_point_layer(1024, 512), _point_layer(512, 256), nn.Linear(256, 9))
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.eye(3).flatten())

    def forward(self, points: Tensor) -> Tensor:
        """Matrices (B, 3, 3) of clouds (B, N, 3)."""
        _, feature = _points_and_maximum(self.points, points)
        return self.head(feature).view(-1, 3, 3)  # type: ignore[no-any-return]


class PointNet(nn.Module):
    """Shared point-wise MLP to 1024, maximum over points, 1024 -> 512 -> ``feature_dim``."""

    def __init__(self, config: PointNetConfig) -> None:
        super().__init__()
        self.config = config
        self.transform = InputTransform() if config.input_transform else None
        self.points = _point_features((3, 64, 64, 64, 128, 1024))
        self.head = nn.Sequential(_point_layer(1024, 512), nn.Linear(512, config.feature_dim))

    @property
    def feature_dim(self) -> int:
        """Width of the global feature."""
        return self.config.feature_dim

    def forward(self, points: Tensor, *, fps_ordered: bool = True) -> PointFeatures:
        """Features of clouds (B, N, 3) in network units. Tokens are the points before the last layer (B, N, 128)."""
        turned = points if self.transform is None else points @ self.transform(points)
        tokens, maximum = _points_and_maximum(self.points, turned)
        return PointFeatures(tokens, points, self.head(maximum))
