"""Weights that others published, from a local file into a baseline; nothing is downloaded."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
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


def missing_weights(encoder: Any) -> PublishedWeightsError:
    """What to say when an encoder with published weights was given none."""
    return PublishedWeightsError(
        f"init_from: {type(encoder).__name__} is what its published weights are, and none were given; pass a local "
        f"file with --init-from FILE, expected {encoder.weights_source}. Nothing is downloaded. Without weights it is "
        "a control: --encoder-training frozen_random"
    )


def below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


@torch.no_grad()
def copy_weights(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor], prefix: str = "") -> None:
    """Copy tensors by name, all of them or none.

    Args:
        mine: changed in place.
        theirs: must have the same names and shapes.
        prefix: what the file puts before the names, for messages.

    Raises:
        ValueError: a weight is missing, unknown, or of another shape; named.
    """
    for name in sorted(set(mine) ^ set(theirs)):
        raise ValueError(f"weight {prefix}{name}: {'missing' if name in mine else 'not one of this architecture'}")
    for name, value in mine.items():
        if theirs[name].shape != value.shape:
            found = tuple(theirs[name].shape)
            raise ValueError(f"weight {prefix}{name}: expected shape {tuple(value.shape)}, found {found}")
    for name, value in mine.items():
        value.copy_(theirs[name])


def load_published(encoder: Any, path: Path) -> None:
    """Load a file of weights into an encoder with published weights.

    Args:
        encoder: changed in place; left as it was when the file does not fit. Its ``containers``, if it has any, are the
            names under which files keep the state dict beside other things.
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
    for name in getattr(encoder, "containers", ()):
        if isinstance(weights, dict) and isinstance(weights.get(name), dict):
            weights = weights[name]
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise PublishedWeightsError(f"{path}: holds no state dict; {expected}")
    try:
        encoder.load_published(weights)
    except ValueError as error:
        raise PublishedWeightsError(f"{path}: {error}; {expected}") from error
