"""A policy that samples a short trajectory of actions by diffusion: the head of the 3D Diffusion Policy.

Simple DP3 (Ze et al., RSS 2024) with three differences. Actions have the units of the project's normaliser, unit
deviation instead of a range of [-1, 1], so samples are not clipped. The trajectory begins at the present action, not at
the one before. The gripper is sampled as a number in [-1, 1] and handed out as the logit that all heads give.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clar_core.control.spaces import TCP_DELTA
from clar_core.losses import PolicyLoss
from clar_core.models.diffusion import Diffusion
from clar_core.models.policy import STATE_DIM, BasePolicy, feature_dim_of
from clar_core.models.unet1d import ConditionalUnet1d

_SURE = 1e-4
"""A sampled gripper beyond this from 0 or 1 is taken for it: its logit would be infinite."""


@dataclass(frozen=True, kw_only=True)
class DiffusionHeadConfig:
    """Shape of the diffusion head; the defaults are Simple DP3's.

    Attributes:
        width: of the features of the state and of the instruction.
        channels: of the U-Net's levels.
        step_dim: width of the noising step's embedding.
        kernel: of the convolutions.
        groups: of the normalisation.
        noising_steps: in training.
        sample_steps: of DDIM.
        language_dim: width of the instruction feature; 0 for a single-task policy.
        history: observations that a decision is made from, the present one last.
        chunk: actions that are sampled at once, the present one first.
        execute: actions of a sample that are carried out before the next one is drawn.
    """

    width: int = 64
    channels: tuple[int, ...] = (128, 256, 384)
    step_dim: int = 128
    kernel: int = 5
    groups: int = 8
    noising_steps: int = 100
    sample_steps: int = 10
    language_dim: int = 0
    history: int = 2
    chunk: int = 4
    execute: int = 3

    @property
    def action_space(self) -> str:
        """Name of what the actions mean, see ``control.spaces``."""
        return TCP_DELTA.name

    def __post_init__(self) -> None:
        for name in ("width", "groups", "noising_steps", "sample_steps", "history", "chunk", "execute"):
            if getattr(self, name) < 1:
                raise ValueError(f"head.{name}: expected 1 or more, got {getattr(self, name)}")
        if not self.channels or any(c < 1 or c % self.groups for c in self.channels):
            raise ValueError(f"head.channels: expected multiples of head.groups {self.groups}, got {self.channels}")
        if self.step_dim < 2 or self.step_dim % 2:
            raise ValueError(f"head.step_dim: expected an even number, got {self.step_dim}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"head.kernel: expected an odd number, got {self.kernel}")
        if self.noising_steps % self.sample_steps:
            raise ValueError(
                f"head.sample_steps: expected a divisor of head.noising_steps {self.noising_steps}, "
                f"got {self.sample_steps}"
            )
        factor = 2 ** (len(self.channels) - 1)
        if self.chunk % factor:
            raise ValueError(
                f"head.chunk: expected a multiple of {factor}, which {len(self.channels)} levels of the U-Net halve, "
                f"got {self.chunk}"
            )
        if self.execute > self.chunk:
            raise ValueError(f"head.execute: expected at most head.chunk {self.chunk}, got {self.execute}")
        if self.language_dim < 0:
            raise ValueError(f"head.language_dim: expected 0 or more, got {self.language_dim}")


class DiffusionPolicy(BasePolicy):
    """A conditional U-Net behind an encoder; arguments as those of :class:`BasePolicy`."""

    config: DiffusionHeadConfig

    def __init__(self, encoder: nn.Module | None, config: DiffusionHeadConfig) -> None:
        super().__init__(encoder, config)
        seen = 0 if encoder is None else feature_dim_of(encoder)
        self.state_features = nn.Sequential(
            nn.Linear(STATE_DIM, config.width), nn.ReLU(), nn.Linear(config.width, config.width)
        )
        self.language_features = nn.Linear(config.language_dim, config.width) if config.language_dim else None
        self.diffusion = Diffusion(config.noising_steps, config.sample_steps)
        self.unet = ConditionalUnet1d(
            dim=TCP_DELTA.size,
            condition_dim=config.history * (seen + config.width) + (config.width if config.language_dim else 0),
            channels=config.channels,
            step_dim=config.step_dim,
            kernel=config.kernel,
            groups=config.groups,
        )

    def decide(
        self,
        feature: Tensor | None,
        state: Tensor,
        language: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`BasePolicy.decide`; the same noise gives the same actions."""
        condition = self._condition(feature, state, language)
        shape = (len(state), self.config.chunk, TCP_DELTA.size)
        noise = torch.randn(shape, generator=generator, device=state.device)
        sampled = self.diffusion.sample(lambda x, step: self.unet(x, step, condition), noise)
        opening = (0.5 * (sampled[..., 6:] + 1.0)).clamp(_SURE, 1.0 - _SURE)
        action = torch.cat([sampled[..., :6], torch.logit(opening)], dim=-1)
        return action[:, 0] if self.config.chunk == 1 else action

    def loss(
        self,
        feature: Tensor | None,
        state: Tensor,
        action: Tensor,
        language: Tensor | None = None,
        *,
        gripper_weight: float = 0.1,
    ) -> PolicyLoss:
        """Mean squared error of the clean trajectory at a step drawn for each sample; the gripper is part of it.

        ``gripper_weight`` changes nothing.
        """
        action = action.view(-1, self.config.chunk, TCP_DELTA.size)
        clean = torch.cat([action[..., :6], 2.0 * action[..., 6:] - 1.0], dim=-1)
        step = torch.randint(self.config.noising_steps, (len(clean),), device=clean.device)
        noisy = self.diffusion.noised(clean, torch.randn_like(clean), step)
        predicted = self.unet(noisy, step, self._condition(feature, state, language)).float()
        terms = [F.mse_loss(predicted[..., part], clean[..., part]) for part in (slice(3), slice(3, 6), slice(6, 7))]
        return PolicyLoss(F.mse_loss(predicted, clean), *terms)

    def _condition(self, feature: Tensor | None, state: Tensor, language: Tensor | None) -> Tensor:
        self.check_language(language)
        parts = [self.state_features(state).flatten(1)]
        if self.encoder is not None:
            assert feature is not None
            parts.insert(0, feature.flatten(1))
        if self.language_features is not None:
            parts.append(self.language_features(language))
        return torch.cat(parts, dim=-1)
