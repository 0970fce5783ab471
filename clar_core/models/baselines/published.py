"""Weights that others published, from a local file into a baseline; nothing is downloaded."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn


class PublishedWeightsError(ValueError):
    """The file is missing, unreadable, or of another architecture. The message says where it comes from."""


def takes_published_weights(encoder: nn.Module | None) -> bool:
    """Whether an encoder has published weights: it has ``load_published`` and says where they come from."""
    return hasattr(encoder, "load_published")


def load_published(encoder: Any, path: Path) -> None:
    """Load a file of weights into an encoder with published weights.

    Args:
        encoder: changed in place; left as it was when the file does not fit.
        path: safetensors, or a state dict that ``torch.load`` reads without running code.

    Raises:
        PublishedWeightsError: the file is missing, unreadable, or of another architecture.
    """
    expected = f"expected {encoder.weights_source}"
    if not path.is_file():
        raise PublishedWeightsError(f"init_from: there is no file {path}; {expected}")
    try:
        weights = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, OSError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), "it is damaged")
        raise PublishedWeightsError(f"{path}: cannot be read as weights ({reason[:200]}); {expected}") from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise PublishedWeightsError(f"{path}: holds no state dict; {expected}")
    try:
        encoder.load_published(weights)
    except ValueError as error:
        raise PublishedWeightsError(f"{path}: {error}; {expected}") from error
