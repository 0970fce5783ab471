"""CLIP as a teacher, through open_clip: frozen, from a local file.

Pooled features are CLIP's own; the map is the last block's patch tokens after the final LayerNorm. Images are resized
without a centre crop, which would cut a quarter of a 640x480 image away.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from clar_core.models.teachers.base import ImageFeatures, TeacherConfig, TeacherError
from clar_core.models.vision_libraries import import_open_clip

TEMPLATES = ("{}", "a robot is told: {}", "a photo of a robot that is about to {}", "a robot arm at a table, to {}")


class ClipTeacher:
    """A frozen CLIP.

    Args:
        config: architecture and weights.

    Raises:
        TeacherError: the weights are missing, unreadable or of another architecture.
    """

    def __init__(self, config: TeacherConfig) -> None:
        open_clip = import_open_clip()
        path = config.clip_weights
        if path is None or not path.is_file():
            found = "none was named" if path is None else f"there is no file {path}"
            raise TeacherError(
                f"teacher.clip_weights: expected a file of {config.clip_model} weights, and {found}. Download OpenAI's "
                "CLIP once where there is network (open_clip: pretrained='openai'), and pass it with "
                "--teacher.clip-weights FILE. Without weights: --teacher.kind rendered (simulated views only), or no "
                "teacher at all: --loss.no-image --loss.no-text --loss.no-local"
            )
        if config.clip_model not in open_clip.list_models():
            raise TeacherError(
                f"teacher.clip_model: open_clip knows no {config.clip_model!r}; see open_clip.list_models()"
            )
        self._model = open_clip.create_model(config.clip_model, pretrained=None, precision="fp32").eval()
        self._model.requires_grad_(False)
        try:
            open_clip.load_checkpoint(self._model, str(path), strict=True, weights_only=True)
        except (RuntimeError, ValueError, KeyError, OSError, AssertionError, pickle.UnpicklingError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise TeacherError(
                f"{path}: not the weights of {config.clip_model}: {' '.join(lines[:2])[:300]}; name the architecture "
                "that they belong to with --teacher.clip-model, or copy the file again"
            ) from error
        self._tokenizer = open_clip.get_tokenizer(config.clip_model)
        visual = self._model.visual
        size = visual.image_size
        self._pixels = int(size[0] if isinstance(size, (tuple, list)) else size)
        self._mean, self._std = (np.array(v, dtype=np.float32) for v in (visual.image_mean, visual.image_std))
        self._path, self._name = path, config.clip_model
        blank = np.zeros((1, self._pixels, self._pixels, 3), dtype=np.uint8)
        pooled, maps = self.images(blank, blank[..., 0])
        self.width, self.map_width, self.cells = pooled.shape[1], maps.shape[-1], maps.shape[1]

    @torch.inference_mode()
    def images(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> ImageFeatures:
        """See ``Teacher.images``; the segmentation is not looked at."""
        size = (self._pixels, self._pixels)
        resized = [i if i.shape[:2] == size else cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in images]
        values = (np.stack(resized).astype(np.float32) / 255.0 - self._mean) / self._std
        out = self._model.visual.forward_intermediates(
            torch.from_numpy(values.astype(np.float32)).permute(0, 3, 1, 2), indices=1, normalize_intermediates=True
        )
        pooled = F.normalize(out["image_features"], dim=-1)
        return ImageFeatures(pooled.numpy(), out["image_intermediates"][-1].permute(0, 2, 3, 1).numpy())

    @torch.inference_mode()
    def sentences(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """See ``Teacher.sentences``; the mean over a few templates."""
        rows = []
        for sentence in sentences:
            tokens = self._tokenizer([template.format(sentence) for template in TEMPLATES])
            rows.append(F.normalize(self._model.encode_text(tokens), dim=-1).mean(0))
        return np.asarray(F.normalize(torch.stack(rows), dim=-1).numpy())

    def identity(self) -> dict[str, Any]:
        """See ``Teacher.identity``."""
        return {"kind": "open_clip", "model": self._name, "weights_sha256": _digest(self._path)}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
