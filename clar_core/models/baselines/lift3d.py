"""Lift3D (Jia et al., 2024): CLIP's vision transformer on tokens of points, with positions lifted from its image's.

Parameter names are those of OpenAI's CLIP below ``visual.``, so that its published weights load. They stay fixed then,
and low-rank additions to the attention learn instead (Hu et al., ICLR 2022). Lift3D's own pre-training, which masks
depth images, is not reproduced: its weights are CLIP's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from clar_core.models.baselines.published import below, copy_weights
from clar_core.models.encoder import PointFeatures
from clar_core.models.patches import PatchEmbedding, group_patches
from clar_core.models.pooling import max_over

_PREFIX = "visual."
_IMAGE_ONLY = ("conv1.weight", "proj")
_FACES = ((0, 1, 1), (0, 1, -1), (0, 2, 1), (0, 2, -1), (1, 2, 1), (1, 2, -1))
"""Of the cube [-1, 1]: the axes of a face, and whether it is seen from outside or mirrored."""


@dataclass(frozen=True, kw_only=True)
class Lift3DConfig:
    """Shape of the encoder; the defaults are CLIP's ViT-B/16.

    Attributes:
        dim, depth, heads: of the transformer.
        grid: patches along a side of CLIP's image.
        centres, neighbours: tokens a cloud, points a token.
        rank: of the additions to the attention.
    """

    dim: int = 768
    depth: int = 12
    heads: int = 12
    grid: int = 14
    centres: int = 64
    neighbours: int = 32
    rank: int = 4

    def __post_init__(self) -> None:
        for name in ("dim", "depth", "heads", "grid", "centres", "neighbours", "rank"):
            if getattr(self, name) < 1:
                raise ValueError(f"encoder.{name}: expected a positive number, got {getattr(self, name)}")
        if self.dim % self.heads:
            raise ValueError(f"encoder.heads: expected a divisor of dim {self.dim}, got {self.heads}")


class LowRank(nn.Module):
    """A weight plus the product of two thin matrices, zero at first; a parametrization of the weight."""

    def __init__(self, outputs: int, inputs: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, inputs) * inputs**-0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """(outputs, inputs) -> the same shape."""
        return weight + self.up @ self.down


class QuickGELU(nn.Module):
    """The activation of OpenAI's CLIP."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return x * torch.sigmoid(1.702 * x)


class ClipBlock(nn.Module):
    """A residual block of CLIP, with low-rank additions to its attention."""

    def __init__(self, config: Lift3DConfig) -> None:
        super().__init__()
        dim = config.dim
        self.attn = nn.MultiheadAttention(dim, config.heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        layers = {"c_fc": nn.Linear(dim, 4 * dim), "gelu": QuickGELU(), "c_proj": nn.Linear(4 * dim, dim)}
        self.mlp = nn.Sequential(OrderedDict(layers))
        parametrize.register_parametrization(self.attn, "in_proj_weight", LowRank(3 * dim, dim, config.rank))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, dim) -> (B, T, dim)."""
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


class Lift3D(nn.Module):
    """Patches of points to tokens, CLIP's blocks with lifted positions, class token beside the tokens' maximum."""

    weights_source: ClassVar[str] = (
        "a state dict of OpenAI's CLIP ViT-B/16, whose keys begin with visual.; make it once where there is network: "
        "torch.save(open_clip.create_model('ViT-B-16-quickgelu', pretrained='openai').state_dict(), 'clip_vit_b_16.pt')"
    )

    def __init__(self, config: Lift3DConfig) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = PatchEmbedding(widths=(128, 256, 512), dim=config.dim)
        self.class_embedding = nn.Parameter(torch.randn(config.dim) * config.dim**-0.5)
        self.positional_embedding = nn.Parameter(torch.randn(config.grid**2 + 1, config.dim) * config.dim**-0.5)
        self.ln_pre, self.ln_post = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(ClipBlock(config) for _ in range(config.depth))

    @property
    def feature_dim(self) -> int:
        """Width of the global feature."""
        return 2 * self.config.dim

    def forward(self, points: Tensor, *, fps_ordered: bool = True) -> PointFeatures:
        """Features of clouds (B, N, 3) in network units."""
        config = self.config
        centres, patches = group_patches(points, config.centres, config.neighbours, fps_ordered=fps_ordered)
        tokens = self.tokenizer(patches) + self.lifted_positions(centres)
        summary = (self.class_embedding + self.positional_embedding[0]).expand(len(tokens), 1, -1)
        x = self.ln_pre(torch.cat([summary.to(tokens.dtype), tokens], dim=1))
        for block in self.transformer.resblocks:  # type: ignore[union-attr]
            x = block(x)
        x = self.ln_post(x)
        return PointFeatures(x[:, 1:], centres, torch.cat([x[:, 0], max_over(x[:, 1:], 1)], dim=-1))

    def lifted_positions(self, centres: Tensor) -> Tensor:
        """Position embeddings (B, G, dim) of centres (B, G, 3): the image's, read where a centre falls on six faces."""
        side = self.config.grid
        image = self.positional_embedding[1:].T.reshape(1, -1, side, side).expand(len(centres), -1, -1, -1)
        lifted: list[Tensor] = []
        for first, second, sign in _FACES:
            places = torch.stack([sign * centres[..., first], centres[..., second]], dim=-1).unsqueeze(1)
            read = F.grid_sample(image, places.to(image.dtype), padding_mode="border", align_corners=False)
            lifted.append(read.squeeze(2).transpose(1, 2))
        return torch.stack(lifted).mean(0)

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take CLIP's weights and fix them; tokenizer and low-rank additions stay as they are.

        Raises:
            ValueError: a weight is missing, unknown, or of another shape; named.
        """
        theirs = {k: v for k, v in below(_PREFIX, weights).items() if k not in _IMAGE_ONLY}
        mine = {
            name.replace("parametrizations.in_proj_weight.original", "in_proj_weight"): parameter
            for name, parameter in self.named_parameters()
            if not name.startswith("tokenizer.") and ".in_proj_weight.0." not in name
        }
        copy_weights(mine, theirs, _PREFIX)
        for parameter in mine.values():
            parameter.requires_grad_(False)
