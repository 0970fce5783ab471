"""A teacher that needs no weights: what the simulator knows of an image, in the form of a vision model's features.

Every cell of the map holds the square roots of its shares of classes and colours, projected to the teacher's width by a
fixed random matrix; an image is the mean of its cells without table and background; a sentence is the same projection
of the classes and colours that it names. It stands in for CLIP where there are no weights, and proves nothing of CLIP.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_core.models.teachers.base import ImageFeatures, TeacherError

WIDTH, CELLS = 512, 14
COLOR_NAMES = ("black", "grey", "white", "red", "orange", "yellow", "green", "blue", "purple")
_SCENERY = ("background", "table")
_SEED = 20_260
_HUES_DEG = {"orange": 16.0, "yellow": 42.0, "green": 75.0, "blue": 185.0, "purple": 262.0, "red": 320.0}
"""Hue at which each colour begins; red wraps around."""


class RenderedTeacher:
    """Features of segmented views.

    Args:
        labels: names of the segmentation's labels.

    Raises:
        TeacherError: there is no segmentation.
    """

    width = map_width = WIDTH
    cells = CELLS

    def __init__(self, labels: Sequence[str]) -> None:
        if not labels:
            raise TeacherError(
                "teacher.kind: 'rendered' needs the segmentation of simulated views, and this set has none; "
                "use --teacher.kind open_clip with --teacher.clip-weights FILE"
            )
        self.labels = tuple(labels)
        rng = np.random.default_rng(_SEED)
        channels = len(self.labels) + len(COLOR_NAMES)
        # One column a name, so that a new class changes no other's.
        self._projection = np.stack([rng.standard_normal(WIDTH) for _ in range(channels)]).astype(np.float32)
        self._projection /= np.linalg.norm(self._projection, axis=1, keepdims=True)
        self._scenery = np.array([name in _SCENERY for name in self.labels])

    def images(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> ImageFeatures:
        """See ``Teacher.images``."""
        if (highest := int(labels.max())) >= len(self.labels):
            raise TeacherError(
                f"labels: expected numbers below {len(self.labels)}, found {highest}: a view without segmentation; "
                "use --teacher.kind open_clip"
            )
        classes = _shares(labels, len(self.labels))
        things = ~self._scenery[labels]
        colors = _shares(np.where(things, color_index(images), len(COLOR_NAMES)), len(COLOR_NAMES) + 1)[..., :-1]
        histogram = np.sqrt(np.concatenate([classes, colors], axis=-1))
        pooled = np.concatenate([classes[..., ~self._scenery], colors], axis=-1).mean((1, 2))
        named = np.concatenate([~self._scenery, np.ones(len(COLOR_NAMES), dtype=bool)])
        return ImageFeatures(_unit(np.sqrt(pooled) @ self._projection[named]), histogram @ self._projection)

    def sentences(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """See ``Teacher.sentences``. A sentence that names nothing known is the mean of all names."""
        names = (*self.labels, *COLOR_NAMES)
        rows = []
        for sentence in sentences:
            words = set(re.findall(r"[a-z]+", sentence.lower()))
            chosen = [i for i, name in enumerate(names) if name in words and name not in _SCENERY]
            rows.append(self._projection[chosen or slice(None)].mean(0))
        return _unit(np.stack(rows))

    def identity(self) -> dict[str, Any]:
        """See ``Teacher.identity``."""
        return {"kind": "rendered", "labels": list(self.labels), "seed": _SEED}


def color_index(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The name of every pixel's colour, an index into ``COLOR_NAMES``: (B, S, S) of images (B, S, S, 3)."""
    rgb = images.astype(np.float32) / 255.0
    high, low = rgb.max(-1), rgb.min(-1)
    chroma = high - low
    red, green, blue = np.moveaxis(rgb, -1, 0)
    safe = np.maximum(chroma, 1e-6)
    hue = np.where(
        high == red,
        (green - blue) / safe % 6,
        np.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    degrees = hue * 60.0
    order = list(_HUES_DEG)
    edges = np.array(list(_HUES_DEG.values()))
    sector = np.digitize(degrees, edges) - 1
    hues = np.array([COLOR_NAMES.index(name) for name in order])
    chromatic = np.where(sector < 0, COLOR_NAMES.index("red"), hues[np.clip(sector, 0, None)])
    grey = np.where(high > 0.72, COLOR_NAMES.index("white"), np.where(high < 0.16, 0, COLOR_NAMES.index("grey")))
    return np.where((chroma > 0.25 * high) & (high > 0.10), chromatic, grey)


def _shares(index: NDArray[Any], count: int) -> NDArray[np.float32]:
    """Share of each number below ``count`` in every cell: (B, CELLS, CELLS, count) of (B, S, S)."""
    batch, size, _ = index.shape
    side = size // CELLS
    cells = index[:, : side * CELLS, : side * CELLS].reshape(batch, CELLS, side, CELLS, side)
    cells = cells.transpose(0, 1, 3, 2, 4).reshape(-1, side * side).astype(np.int64)
    flat = cells + count * np.arange(len(cells))[:, None]
    shares = np.bincount(flat.ravel(), minlength=count * len(cells)).reshape(batch, CELLS, CELLS, count)
    return (shares / (side * side)).astype(np.float32)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12), dtype=np.float32)
