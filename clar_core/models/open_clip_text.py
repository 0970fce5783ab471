"""The text tower of a CLIP model, through open_clip, from a local file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from clar_core.models.teachers.base import TeacherConfig, TeacherError
from clar_core.models.teachers.clip import ClipTeacher
from clar_core.models.text import TextEncoderError


class OpenClipText:
    """Implements ``clar_core.models.text.TextEncoder`` with the sentences of the CLIP teacher.

    Args:
        model: name of the architecture in open_clip, for example "ViT-B-16-quickgelu".
        weights: local file of its weights; nothing is downloaded.

    Raises:
        TextEncoderError: there is no such file, or it does not fit the model.
    """

    def __init__(self, model: str, weights: Path | str) -> None:
        self.model, self.weights = model, Path(weights)
        if not self.weights.is_file():
            raise TextEncoderError(
                f"text encoder: no weights at {self.weights}; give a local file of {model} with --text-weights, or use "
                "--text-encoder words, which needs none"
            )
        try:
            self._clip = ClipTeacher(TeacherConfig(kind="open_clip", clip_model=model, clip_weights=self.weights))
        except (TeacherError, SafetensorError) as error:
            raise TextEncoderError(f"text encoder: {self.weights} cannot be loaded as {model}: {error}") from error
        self.dim = self._clip.width

    def encode(self, sentences: Sequence[str]) -> Tensor:
        """Features (S, dim) float32 of unit length."""
        return torch.from_numpy(self._clip.sentences(sentences).copy())

    def to_dict(self) -> dict[str, Any]:
        """JSON values from which ``text_encoder`` makes it again."""
        return {"kind": "open_clip", "model": self.model, "weights": str(self.weights.resolve())}
