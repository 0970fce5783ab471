"""The one protocol of all teachers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class TeacherError(ValueError):
    """A teacher cannot be built or used. The message says what to do."""


class ImageFeatures(NamedTuple):
    """Features of a batch of images.

    Attributes:
        pooled: (B, width) float32, of unit length.
        maps: (B, cells, cells, map_width) float32, rows from the top of the image.
    """

    pooled: NDArray[np.float32]
    maps: NDArray[np.float32]


class Teacher(Protocol):
    """A frozen model of images and sentences.

    Attributes:
        width: of pooled image features and of sentences.
        map_width: of the feature map.
        cells: side of the feature map.
    """

    width: int
    map_width: int
    cells: int

    def images(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> ImageFeatures:
        """Features of images (B, S, S, 3) uint8 RGB with their segmentation (B, S, S) uint8."""

    def sentences(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Features (S, width) float32 of unit length."""

    def identity(self) -> dict[str, Any]:
        """JSON values that tell this teacher from others; cached features are its own only."""


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """Which teacher.

    Attributes:
        kind: ``open_clip``, a frozen CLIP; or ``rendered``, made of the segmentation of simulated views, which needs no
            weights.
        clip_model: name of an open_clip architecture.
        clip_weights: file of its weights, .safetensors or .pt; nothing is downloaded.
        batch_size: images at a time.
    """

    kind: Literal["open_clip", "rendered"] = "open_clip"
    clip_model: str = "ViT-B-16-quickgelu"
    clip_weights: Path | None = None
    batch_size: int = 16


def build_teacher(config: TeacherConfig, labels: Sequence[str]) -> Teacher:
    """The teacher of a configuration, for views whose segmentation has these labels.

    Raises:
        TeacherError: no weights, weights of another model, or no segmentation where it is needed.
    """
    if config.kind == "rendered":
        from clar_core.models.teachers.rendered import RenderedTeacher

        return RenderedTeacher(labels)
    from clar_core.models.teachers.clip import ClipTeacher

    return ClipTeacher(config)
