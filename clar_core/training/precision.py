"""The precision of a training's matrix products, and which one this machine is quicker with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["auto", "fp32", "bf16"]
"""``auto`` measures a training step in both and takes the faster; a run that goes on keeps what it began with."""

_ROUNDS = 3
_WITHOUT_BF16 = ("DEFAULT", "AVX2")


def emulates_bf16(device: torch.device) -> bool:
    """Whether bf16 is computed in software here, which takes ten times as long as fp32 and more."""
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability() in _WITHOUT_BF16


def remark_on_precision(precision: str, device: torch.device) -> str:
    """What is to be said about a precision that was asked for; empty when there is nothing."""
    if precision != "bf16" or not emulates_bf16(device):
        return ""
    return (
        f"precision: bf16 is emulated on this processor ({torch.backends.cpu.get_cpu_capability()}) and many times "
        "slower than fp32; use --precision auto or fp32"
    )


def faster_precision(module: nn.Module, loss: Callable[[], Tensor], device: torch.device) -> Literal["fp32", "bf16"]:
    """``fp32`` or ``bf16``, whichever does a training step of ``module`` faster on this machine.

    Args:
        module: left as it was: weights, buffers, mode; its gradients are cleared.
        loss: a loss of the module on a batch on ``device``; called inside autocast.
        device: GPUs and processors without any bf16 are judged by what they are, others measured.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if emulates_bf16(device):
        return "fp32"
    modes = [(part, part.training) for part in module.modules()]
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    times: dict[Literal["fp32", "bf16"], list[float]] = {"fp32": [], "bf16": []}
    module.train()
    for _ in range(_ROUNDS):
        for name, durations in times.items():
            begun = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16"):
                value = loss()
            value.backward()  # type: ignore[no-untyped-call]
            durations.append(time.perf_counter() - begun)
            module.zero_grad(set_to_none=True)
    for name_, value in module.named_buffers():
        value.copy_(buffers[name_])
    for part, training in modes:
        part.training = training
    return min(times, key=lambda name: min(times[name]))
