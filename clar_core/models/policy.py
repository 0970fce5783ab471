"""Imitation policies: what an encoder sees, proprioception and optionally language -> actions.

``Policy`` is the one of CLAR Fig. 3: every modality is projected to one width, the projections are concatenated and
normalised, and an MLP predicts the normalised action. ``BasePolicy`` is what other heads share with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from clar_core.control.spaces import TCP_DELTA, action_space
from clar_core.losses import PolicyLoss, policy_loss
from clar_core.models.encoder import PointFeatures
from clar_core.models.image_encoder import ImageEncoder, ImageFeature

STATE_DIM = 10
_UNTURNED = {3: 1.0, 7: 1.0}
"""Where the two rotation columns of an absolute pose have their ones when nothing is turned."""


@dataclass(frozen=True, kw_only=True)
class PolicyHeadConfig:
    """Shape of the policy head.

    Attributes:
        width: width that every modality is projected to.
        hidden: widths of the MLP.
        norm: normalisation of the joined modalities.
        language_dim: width of the instruction feature; 0 for a single-task policy.
        history: observations that a decision is made from, the present one last. The paper: 1.
        chunk: actions that are predicted at once, the present one first. The paper: 1.
        action_space: name of what the actions mean, see ``control.spaces``.
    """

    width: int = 256
    hidden: tuple[int, ...] = (256, 256, 256)
    norm: Literal["batch", "layer"] = "batch"
    language_dim: int = 0
    history: int = 1
    chunk: int = 1
    action_space: str = TCP_DELTA.name

    def __post_init__(self) -> None:
        if self.width < 1 or not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"head.width, head.hidden: expected positive widths, got {self.width}, {self.hidden}")
        if self.norm not in ("batch", "layer"):
            raise ValueError(f"head.norm: expected 'batch' or 'layer', got {self.norm!r}")
        for name in ("history", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"head.{name}: expected 1 or more, got {getattr(self, name)}")
        if self.language_dim < 0:
            raise ValueError(f"head.language_dim: expected 0 or more, got {self.language_dim}")
        try:
            action_space(self.action_space)
        except ValueError as error:
            raise ValueError(f"head.action_space: {error}") from error


class HeadConfig(Protocol):
    """What every head's configuration says: see :class:`PolicyHeadConfig`."""

    @property
    def language_dim(self) -> int:
        """Width of the instruction feature; 0 without language."""

    @property
    def history(self) -> int:
        """Observations that a decision is made from."""

    @property
    def chunk(self) -> int:
        """Actions that are predicted at once."""

    @property
    def action_space(self) -> str:
        """Name of what the actions mean, see ``control.spaces``."""


class BasePolicy(nn.Module, ABC):
    """An encoder and a head.

    Args:
        encoder: maps clouds (B, N, 3), or images if it is an ``ImageEncoder``, to features with a ``pooled`` one; has
            ``feature_dim``. ``None`` gives a blind policy.
        config: the head.
    """

    def __init__(self, encoder: nn.Module | None, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder

    def forward(
        self,
        seen: Tensor,
        state: Tensor,
        language: Tensor | None = None,
        *,
        fps_ordered: bool = True,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Normalised action (B, 7): translation (3), rotation (3), and the logit of the gripper being open.

        Of a policy with another action space (B, size): position (3), rotation columns (6), and the logit.

        With a history, what is seen and states have one more axis after the first, of that length; with a chunk, so has
        the result.

        Args:
            seen: points (B, N, 3) in network units, or images (B, S, S, 3) uint8 RGB for an encoder of images.
            state: (B, 10) or (B, history, 10) normalised proprioception.
            language: (B, language_dim) instruction feature; required exactly when the head has a language input.
            fps_ordered: see ``PointEncoder.forward``.
            generator: see :meth:`decide`.
        """
        return self.decide(self.encode(seen, fps_ordered=fps_ordered), state, language, generator=generator)

    def encode(self, seen: Tensor, *, fps_ordered: bool = True) -> Tensor | None:
        """Global features (B, feature_dim) or (B, history, feature_dim) of what is seen; ``None`` of a blind policy."""
        if self.encoder is None:
            return None
        axes = 3 if isinstance(self.encoder, ImageEncoder) else 2
        features: PointFeatures | ImageFeature = self.encoder(seen.flatten(0, -axes - 1), fps_ordered=fps_ordered)
        return features.pooled.view(*seen.shape[:-axes], -1)

    @abstractmethod
    def decide(
        self,
        feature: Tensor | None,
        state: Tensor,
        language: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The head alone: the action from what ``encode`` gives, states and language.

        Args:
            feature, state, language: see :meth:`forward`.
            generator: of the noise that a head with randomness draws; PyTorch's own when left out.
        """

    @abstractmethod
    def loss(
        self,
        feature: Tensor | None,
        state: Tensor,
        action: Tensor,
        language: Tensor | None = None,
        *,
        gripper_weight: float = 0.1,
    ) -> PolicyLoss:
        """What training minimises, and its terms.

        Args:
            feature, state, language: see :meth:`decide`.
            action: (B, 7) or (B, chunk, 7) normalised; the gripper in [0, 1].
            gripper_weight: of the gripper's cross entropy, in heads that have one.
        """

    def check_language(self, language: Tensor | None) -> None:
        """Raise ValueError for a feature that the head has no input for, or for a missing one."""
        if (language is None) != (self.config.language_dim == 0):
            expected = "an instruction feature" if self.config.language_dim else "no instruction feature"
            raise ValueError(f"this policy expects {expected} (head.language_dim = {self.config.language_dim})")


class Policy(BasePolicy):
    """The policy head of CLAR Fig. 3 behind an encoder; arguments as those of :class:`BasePolicy`."""

    config: PolicyHeadConfig

    def __init__(self, encoder: nn.Module | None, config: PolicyHeadConfig) -> None:
        super().__init__(encoder, config)
        self.point_projection = nn.Linear(feature_dim_of(encoder), config.width) if encoder is not None else None
        self.state_projection = nn.Linear(STATE_DIM, config.width)
        self.language_projection = nn.Linear(config.language_dim, config.width) if config.language_dim else None
        modalities = config.history * (1 + (encoder is not None)) + (config.language_dim > 0)
        joint = modalities * config.width
        self.norm: nn.Module = nn.BatchNorm1d(joint) if config.norm == "batch" else nn.LayerNorm(joint)
        widths = (joint, *config.hidden)
        layers: list[nn.Module] = []
        for i in range(len(config.hidden)):
            layers += [nn.Linear(widths[i], widths[i + 1]), nn.ReLU()]
        space = action_space(config.action_space)
        self._action_dim = space.size
        last = nn.Linear(widths[-1], config.chunk * space.size)
        with torch.no_grad():
            last.weight.mul_(0.01)
            last.bias.zero_()
            if space.absolute:
                # Near zero, two vectors say nothing about a rotation and their gradient has no bound.
                for number, one in _UNTURNED.items():
                    last.bias.view(config.chunk, space.size)[:, number] = one
        self.mlp = nn.Sequential(*layers, last)

    def decide(
        self,
        feature: Tensor | None,
        state: Tensor,
        language: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`BasePolicy.decide`; nothing is drawn."""
        self.check_language(language)
        parts = [self.state_projection(state).flatten(1)]
        if self.point_projection is not None:
            assert feature is not None
            parts.insert(0, self.point_projection(feature).flatten(1))
        if self.language_projection is not None:
            parts.append(self.language_projection(language))
        action: Tensor = self.mlp(self.norm(torch.cat(parts, dim=-1)))
        return action if self.config.chunk == 1 else action.view(-1, self.config.chunk, self._action_dim)

    def loss(
        self,
        feature: Tensor | None,
        state: Tensor,
        action: Tensor,
        language: Tensor | None = None,
        *,
        gripper_weight: float = 0.1,
    ) -> PolicyLoss:
        """See :meth:`BasePolicy.loss` and ``losses.policy_loss``."""
        decided = self.decide(feature, state, language).float()
        space = action_space(self.config.action_space)
        return policy_loss(decided, action, gripper_weight=gripper_weight, space=space)


def feature_dim_of(encoder: nn.Module) -> int:
    """Width of an encoder's global feature. Raises TypeError for an encoder that does not state it."""
    dim = getattr(encoder, "feature_dim", None)
    if not isinstance(dim, int):
        raise TypeError(f"{type(encoder).__name__} has no integer feature_dim, the width of its feature")
    return dim
