"""The text tower of a CLIP model, through open_clip, from a local file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional as F

from clar_core.models.text import TextEncoderError

_TEMPLATES = ("{}", "{}.", "a robot that is asked to {}", "the instruction is: {}")
_VISION_OPERATORS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


class OpenClipText:
    """Implements ``clar_core.models.text.TextEncoder``; a sentence is averaged over several templates.

    Args:
        model: name of the architecture in open_clip, for example "ViT-B-16-quickgelu".
        weights: local file of its weights; nothing is downloaded.

    Raises:
        TextEncoderError: there is no such file, it does not fit the model, or open_clip is not installed.
    """

    def __init__(self, model: str, weights: Path | str) -> None:
        self.model, self.weights = model, Path(weights)
        if not self.weights.is_file():
            raise TextEncoderError(
                f"text encoder: no weights at {self.weights}; give a local file of {model} with --text-weights, or use "
                "--text-encoder words, which needs none"
            )
        open_clip = import_open_clip()
        try:
            self._clip = open_clip.create_model(model, pretrained=str(self.weights), device="cpu").eval()
        except (RuntimeError, KeyError, ValueError, SafetensorError) as error:
            raise TextEncoderError(
                f"text encoder: {self.weights} cannot be loaded as {model} ({error}); choose the model of the file"
            ) from error
        self._tokenizer = open_clip.get_tokenizer(model)
        self.dim = int(self.encode(["pick up the cube"]).shape[1])

    @torch.inference_mode()
    def encode(self, sentences: Sequence[str]) -> Tensor:
        """Features (S, dim) float32 of unit length."""
        rows = []
        for sentence in sentences:
            tokens = self._tokenizer([template.format(sentence) for template in _TEMPLATES])
            rows.append(F.normalize(self._clip.encode_text(tokens).float(), dim=1).mean(0))
        return F.normalize(torch.stack(rows), dim=1).clone()

    def to_dict(self) -> dict[str, Any]:
        """JSON values from which ``text_encoder`` makes it again."""
        return {"kind": "open_clip", "model": self.model, "weights": str(self.weights.resolve())}


def import_open_clip() -> Any:
    """Import open_clip. torchvision's CPU build lacks two operators that its own import asks for."""
    for name, schema in _VISION_OPERATORS.items():
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", schema)
    try:
        import open_clip
    except ModuleNotFoundError as error:
        raise TextEncoderError(
            f"text encoder: open_clip needs the Python package {error.name!r}, which is not installed: make setup"
        ) from error
    return open_clip
