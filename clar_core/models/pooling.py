"""The maximum over the points of a patch or a cloud, with a gradient that is cheap on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def max_over(x: Tensor, dim: int) -> Tensor:
    """``x.amax(dim)`` with the same gradient, bit for bit: equal maxima share it evenly.

    PyTorch's own takes four to six times as long backwards on a CPU: it compares into booleans and converts those.
    """
    if not (x.requires_grad and torch.is_grad_enabled()):
        return x.amax(dim)
    result: Tensor = _Maximum.apply(x, dim)  # type: ignore[no-untyped-call]
    return result


class _Maximum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        maximum = x.amax(dim)
        ctx.save_for_backward(x, maximum)
        ctx.dim = dim
        return maximum

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[no-untyped-call]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, maximum = ctx.saved_tensors
        # Written as numbers at once, 1 where the maximum is.
        mask = torch.empty_like(x)
        torch.eq(x, maximum.unsqueeze(ctx.dim), out=mask)
        return mask.mul_((gradient / mask.sum(ctx.dim)).unsqueeze(ctx.dim)), None
