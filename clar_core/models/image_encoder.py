"""What every encoder of colour images shares: the image's range and normalisation, and one feature for the whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class ImageEncoderConfig:
    """What is common to the shapes of all of them.

    Attributes:
        pixels: side of the square image.
    """

    pixels: int = 224

    def check_positive(self, *names: str) -> None:
        """Raise ValueError naming the first of these fields, or ``pixels``, that is below 1."""
        for name in ("pixels", *names):
            if getattr(self, name) < 1:
                raise ValueError(f"encoder.{name}: expected a positive number, got {getattr(self, name)}")


class ImageFeature(NamedTuple):
    """What an encoder makes of an image: ``pooled`` (B, feature_dim)."""

    pooled: Tensor


class ImageEncoder(nn.Module, ABC):
    """An encoder of one colour image.

    Args:
        config: its shape.
        mean, std: (3,) of the colours in [0, 1] that it was trained with.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ImageEncoderConfig, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.config: Any = config
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @property
    @abstractmethod
    def feature_dim(self) -> int:
        """Width of the global feature."""

    @abstractmethod
    def pooled(self, images: Tensor) -> Tensor:
        """Features (B, feature_dim) of normalised images (B, 3, S, S) float32."""

    def forward(self, images: Tensor, *, fps_ordered: bool = True) -> ImageFeature:
        """Features of images (B, S, S, 3) uint8 RGB, the whole image resized to a square as stores keep it.

        ``fps_ordered`` is for encoders of clouds and changes nothing.
        """
        side = self.config.pixels
        if images.dtype != torch.uint8 or images.shape[1:] != (side, side, 3):
            raise ValueError(
                f"image: expected uint8 RGB of shape (B, {side}, {side}, 3), got {images.dtype} {tuple(images.shape)}"
            )
        values = images.permute(0, 3, 1, 2).float() / 255.0
        return ImageFeature(self.pooled((values - self.mean) / self.std))
