"""open_clip and timm, imported where they are needed: both import torchvision, which takes a moment."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import torch

_TORCHVISION_OPERATORS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def import_open_clip() -> Any:
    """Import open_clip."""
    return _with_torchvision("open_clip")


def import_timm() -> Any:
    """Import timm with its models and layers."""
    _with_torchvision("timm.layers")
    return _with_torchvision("timm")


def _with_torchvision(name: str) -> Any:
    """Import a module. With a CPU build of torch, torchvision finds two operators missing; their schemas suffice."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for module in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
            del sys.modules[module]
        for operator, schema in _TORCHVISION_OPERATORS.items():
            torch.library.define(f"torchvision::{operator}", schema)
    return importlib.import_module(name)
