"""Denoising diffusion with a squared-cosine schedule, sampled by DDIM; the network predicts the clean sample itself.

Ho et al., NeurIPS 2020 (noising); Nichol and Dhariwal, ICML 2021, Eq. 17 (schedule); Song et al., ICLR 2021, Eq. 12
with eta = 0 (sampling).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

_LARGEST_BETA = 0.999
_OFFSET = 0.008


def cumulative_signal(steps: int) -> Tensor:
    """Share of the signal's variance that is left after each of the noising steps: alpha-bar, (steps,) float32."""

    def signal(progress: float) -> float:
        return math.cos((progress + _OFFSET) / (1.0 + _OFFSET) * math.pi / 2.0) ** 2

    betas = [min(1.0 - signal((t + 1) / steps) / signal(t / steps), _LARGEST_BETA) for t in range(steps)]
    return torch.cumprod(1.0 - torch.tensor(betas, dtype=torch.float64), 0).float()


class Diffusion(nn.Module):
    """Noises samples of unit variance, and makes samples of noise.

    Args:
        steps: of noising, in training.
        sample_steps: of denoising; a divisor of ``steps``.
    """

    signal: Tensor

    def __init__(self, steps: int, sample_steps: int) -> None:
        super().__init__()
        self.steps, self.sample_steps = steps, sample_steps
        self.register_buffer("signal", cumulative_signal(steps), persistent=False)

    def noised(self, clean: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """sqrt(alpha-bar) clean + sqrt(1 - alpha-bar) noise, at a step (B,) for each sample (B, ...)."""
        signal = self.signal[step].view(-1, *[1] * (clean.ndim - 1))
        return signal.sqrt() * clean + (1.0 - signal).sqrt() * noise

    def sample(self, denoise: Callable[[Tensor, Tensor], Tensor], noise: Tensor) -> Tensor:
        """Samples (B, ...) of noise (B, ...): a function of the noise alone.

        Args:
            denoise: the clean sample that a noisy one (B, ...) at steps (B,) int64 is taken to come from.
            noise: of unit variance.
        """
        stride = self.steps // self.sample_steps
        x = noise
        for step in reversed(range(0, self.steps, stride)):
            clean = denoise(x, torch.full((len(x),), step, device=x.device)).float()
            here = self.signal[step]
            before = self.signal[step - stride] if step >= stride else torch.ones_like(here)
            implied = (x - here.sqrt() * clean) / (1.0 - here).sqrt()
            x = before.sqrt() * clean + (1.0 - before).sqrt() * implied
        return x
