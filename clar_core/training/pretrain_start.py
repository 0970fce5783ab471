"""Weights to start pre-training from: published Point-MAE checkpoints, or our own."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clar_core.models.clar import Clar
from clar_core.models.point_mae import convert_point_mae
from clar_core.training.pretrain_checkpoints import load_pretrained


class ImportedWeightsError(ValueError):
    """A checkpoint cannot be imported. The message names the file and the weight, and says what to do."""


def initialise(model: Clar, source: Path) -> tuple[str, ...]:
    """Start a model from a file of Point-MAE or a directory of ours; returns the weights that kept their random start.

    Raises:
        ImportedWeightsError: the file cannot be read, holds none of the weights, or they have other shapes.
        CheckpointError: the directory is no checkpoint.
    """
    weights = load_pretrained(source).model.state_dict() if source.is_dir() else convert_point_mae(_read(source))
    expected = model.state_dict()
    usable = {name: value for name, value in weights.items() if name in expected}
    if not any(name.startswith("encoder.blocks.") for name in usable):
        raise ImportedWeightsError(
            f"{source}: holds no weight MAE_encoder.blocks.…; expected a checkpoint of Point-MAE's pre-training, "
            "or a directory of `clar pretrain`"
        )
    for name, value in usable.items():
        if value.shape != expected[name].shape:
            raise ImportedWeightsError(
                f"{source}: {name}: expected shape {tuple(expected[name].shape)} of this run's model, found "
                f"{tuple(value.shape)}; choose the encoder that the checkpoint has (published Point-MAE: preset paper)"
            )
    missing = [n for n in expected if n not in usable and n.startswith("encoder.blocks.")]
    if missing:
        raise ImportedWeightsError(f"{source}: {missing[0]}: missing; choose an encoder of the checkpoint's depth")
    model.load_state_dict(usable, strict=False)
    return tuple(sorted(set(expected) - set(usable)))


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ImportedWeightsError(f"{path}: there is no such file; give a Point-MAE checkpoint (.pth)") from None
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise ImportedWeightsError(
            f"{path}: cannot be read as weights ({str(error).splitlines()[0][:160]}); download it again"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("base_model"), dict):
        found = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise ImportedWeightsError(f"{path}: expected a dict with the key 'base_model', found {str(found)[:120]}")
    return dict(content["base_model"])
