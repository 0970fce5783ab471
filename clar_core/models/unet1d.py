"""A U-Net over time: convolutions along a trajectory, conditioned at every block on one vector.

The network of the Diffusion Policy (Chi et al., RSS 2023) in the size of Simple DP3 (Ze et al., RSS 2024): one block a
level. The condition scales and shifts channels (FiLM, Perez et al., AAAI 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_LONGEST_PERIOD = 10_000.0


class StepEmbedding(nn.Module):
    """Sines and cosines of the noising step (B,) -> (B, dim), through a small MLP."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.frequencies = dim // 2
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.Mish(), nn.Linear(4 * dim, dim))

    def forward(self, step: Tensor) -> Tensor:
        """(B,) int64 -> (B, dim)."""
        exponents = torch.arange(self.frequencies, device=step.device) / max(self.frequencies - 1, 1)
        angles = step[:, None] * torch.exp(-math.log(_LONGEST_PERIOD) * exponents)
        return self.mlp(torch.cat([angles.sin(), angles.cos()], dim=-1))  # type: ignore[no-any-return]


def _convolution(inputs: int, outputs: int, kernel: int, groups: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2), nn.GroupNorm(groups, outputs), nn.Mish()
    )


class ConditionalBlock(nn.Module):
    """Two convolutions with a residual; between them the condition scales and shifts the channels."""

    def __init__(self, inputs: int, outputs: int, condition: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, kernel, groups)
        self.second = _convolution(outputs, outputs, kernel, groups)
        self.film = nn.Sequential(nn.Mish(), nn.Linear(condition, 2 * outputs))
        self.residual: nn.Module = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, inputs, T), (B, condition) -> (B, outputs, T)."""
        scale, shift = self.film(condition)[..., None].chunk(2, dim=1)
        return self.second(scale * self.first(x) + shift) + self.residual(x)  # type: ignore[no-any-return]


class ConditionalUnet1d(nn.Module):
    """Trajectories in, trajectories out.

    Args:
        dim: numbers a point of the trajectory.
        condition_dim: width of the condition.
        channels: of every level; each but the last halves the time.
        step_dim: width of the noising step's embedding.
        kernel: of the convolutions, odd.
        groups: of the normalisation, a divisor of every level's channels.
    """

    def __init__(
        self, *, dim: int, condition_dim: int, channels: Sequence[int], step_dim: int, kernel: int, groups: int
    ) -> None:
        super().__init__()
        condition = step_dim + condition_dim
        self.step = StepEmbedding(step_dim)

        def block(inputs: int, outputs: int) -> ConditionalBlock:
            return ConditionalBlock(inputs, outputs, condition, kernel, groups)

        levels = list(zip((dim, *channels), channels, strict=False))
        self.down = nn.ModuleList(block(*level) for level in levels)
        self.shorten = nn.ModuleList(nn.Conv1d(c, c, 3, stride=2, padding=1) for c in channels[:-1])
        self.middle = block(channels[-1], channels[-1])
        self.up = nn.ModuleList(block(2 * outputs, inputs) for inputs, outputs in reversed(levels[1:]))
        self.lengthen = nn.ModuleList(nn.ConvTranspose1d(c, c, 4, stride=2, padding=1) for c in reversed(channels[:-1]))
        self.last = nn.Sequential(
            _convolution(channels[0], channels[0], kernel, groups), nn.Conv1d(channels[0], dim, 1)
        )

    def forward(self, trajectory: Tensor, step: Tensor, condition: Tensor) -> Tensor:
        """The clean trajectory.

        Args:
            trajectory: (B, T, dim), noisy; T is a multiple of 2 ** (levels - 1).
            step: (B,) int64, of noising.
            condition: (B, condition_dim).
        """
        joint = torch.cat([self.step(step), condition], dim=-1)
        x = trajectory.transpose(1, 2)
        seen: list[Tensor] = []
        for number, down in enumerate(self.down):
            x = down(x, joint)
            seen.append(x)
            if number < len(self.shorten):
                x = self.shorten[number](x)
        x = self.middle(x, joint)
        for up, lengthen in zip(self.up, self.lengthen, strict=True):
            x = lengthen(up(torch.cat([x, seen.pop()], dim=1), joint))
        return self.last(x).transpose(1, 2)  # type: ignore[no-any-return]
