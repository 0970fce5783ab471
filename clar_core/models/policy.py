"""The imitation policy (CLAR Fig. 3): point feature, proprioception and optionally language -> one action.

Every modality is projected to one width, the projections are concatenated and normalised, and an MLP predicts the
normalised action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from clar_core.models.encoder import PointFeatures

ACTION_DIM = 7
STATE_DIM = 10


@dataclass(frozen=True, kw_only=True)
class PolicyHeadConfig:
    """Shape of the policy head.

    Attributes:
        width: width that every modality is projected to.
        hidden: widths of the MLP.
        norm: normalisation of the joined modalities.
        language_dim: width of the instruction feature; 0 for a single-task policy.
    """

    width: int = 256
    hidden: tuple[int, ...] = (256, 256, 256)
    norm: Literal["batch", "layer"] = "batch"
    language_dim: int = 0

    def __post_init__(self) -> None:
        if self.width < 1 or not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"head.width, head.hidden: expected positive widths, got {self.width}, {self.hidden}")
        if self.norm not in ("batch", "layer"):
            raise ValueError(f"head.norm: expected 'batch' or 'layer', got {self.norm!r}")
        if self.language_dim < 0:
            raise ValueError(f"head.language_dim: expected 0 or more, got {self.language_dim}")


class Policy(nn.Module):
    """A cloud encoder with the policy head of CLAR Fig. 3.

    Args:
        encoder: maps clouds (B, N, 3) to ``PointFeatures``; has ``feature_dim``. ``None`` gives a blind policy.
        config: the head.
    """

    def __init__(self, encoder: nn.Module | None, config: PolicyHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.point_projection = nn.Linear(_feature_dim(encoder), config.width) if encoder is not None else None
        self.state_projection = nn.Linear(STATE_DIM, config.width)
        self.language_projection = nn.Linear(config.language_dim, config.width) if config.language_dim else None
        modalities = 1 + (encoder is not None) + (config.language_dim > 0)
        joint = modalities * config.width
        self.norm: nn.Module = nn.BatchNorm1d(joint) if config.norm == "batch" else nn.LayerNorm(joint)
        widths = (joint, *config.hidden)
        layers: list[nn.Module] = []
        for i in range(len(config.hidden)):
            layers += [nn.Linear(widths[i], widths[i + 1]), nn.ReLU()]
        last = nn.Linear(widths[-1], ACTION_DIM)
        with torch.no_grad():
            last.weight.mul_(0.01)
            last.bias.zero_()
        self.mlp = nn.Sequential(*layers, last)

    def forward(
        self, points: Tensor, state: Tensor, language: Tensor | None = None, *, fps_ordered: bool = True
    ) -> Tensor:
        """Normalised action (B, 7): translation (3), rotation (3), and the logit of the gripper being open.

        Args:
            points: (B, N, 3) in network units.
            state: (B, 10) normalised proprioception.
            language: (B, language_dim) instruction feature; required exactly when the head has a language input.
            fps_ordered: see ``PointEncoder.forward``.
        """
        feature: Tensor | None = None
        if self.encoder is not None:
            features: PointFeatures = self.encoder(points, fps_ordered=fps_ordered)
            feature = features.pooled
        return self.decide(feature, state, language)

    def decide(self, feature: Tensor | None, state: Tensor, language: Tensor | None = None) -> Tensor:
        """The head alone: action (B, 7) from a global feature (B, feature_dim), state (B, 10) and language."""
        if (language is None) != (self.language_projection is None):
            expected = "an instruction feature" if self.language_projection is not None else "no instruction feature"
            raise ValueError(f"this policy expects {expected} (head.language_dim = {self.config.language_dim})")
        parts = [self.state_projection(state)]
        if self.point_projection is not None:
            assert feature is not None
            parts.insert(0, self.point_projection(feature))
        if self.language_projection is not None:
            parts.append(self.language_projection(language))
        return self.mlp(self.norm(torch.cat(parts, dim=-1)))  # type: ignore[no-any-return]


def _feature_dim(encoder: nn.Module) -> int:
    dim = getattr(encoder, "feature_dim", None)
    if not isinstance(dim, int):
        raise TypeError(f"{type(encoder).__name__} has no integer feature_dim, the width of its feature")
    return dim
