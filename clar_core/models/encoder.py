"""The point encoder: patches of a cloud -> contextual tokens and one global feature.

Point-MAE's encoder (Pang et al., ECCV 2022) with a class token, as CLAR (Sec. III-A) uses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from clar_core.models.patches import PatchEmbedding, group_patches
from clar_core.models.pooling import max_over
from clar_core.models.transformer import PositionedBlocks, initialise_transformer


@dataclass(frozen=True, kw_only=True)
class PointEncoderConfig:
    """Shape of a point encoder. The defaults are the paper's; presets are in ``models.registry``.

    Attributes:
        dim: token width.
        depth: transformer blocks.
        heads: attention heads.
        mlp_ratio: hidden width of a block's feed-forward part, as a multiple of ``dim``.
        drop_path: stochastic depth of the last block; it grows linearly from 0.
        centres: patches per cloud.
        neighbours: points per patch.
        patch_widths: widths of the patch embedding before ``dim``.
    """

    dim: int = 384
    depth: int = 12
    heads: int = 6
    mlp_ratio: float = 4.0
    drop_path: float = 0.1
    centres: int = 64
    neighbours: int = 32
    patch_widths: tuple[int, int, int] = (128, 256, 512)

    def __post_init__(self) -> None:
        for name in ("dim", "depth", "heads", "centres", "neighbours"):
            if getattr(self, name) < 1:
                raise ValueError(f"encoder.{name}: expected a positive number, got {getattr(self, name)}")
        if self.dim % self.heads:
            raise ValueError(f"encoder.heads: expected a divisor of dim {self.dim}, got {self.heads}")
        if not 0.0 <= self.drop_path < 1.0:
            raise ValueError(f"encoder.drop_path: expected a number in [0, 1), got {self.drop_path}")
        if len(self.patch_widths) != 3 or min(self.patch_widths) < 1:
            raise ValueError(f"encoder.patch_widths: expected three positive widths, got {self.patch_widths}")


class PointFeatures(NamedTuple):
    """What the encoder makes of a cloud.

    Attributes:
        tokens: (B, G, dim), one per patch, after the final LayerNorm.
        centres: (B, G, 3) patch centres in network units, in the order of the tokens.
        pooled: (B, 2 dim), the class token beside the maximum over the tokens.
    """

    tokens: Tensor
    centres: Tensor
    pooled: Tensor


class PointEncoder(nn.Module):
    """Patch embedding, position embedding, transformer blocks, final LayerNorm.

    The parts are usable on their own: ``patch_embed`` on patches, ``pos_embed`` on centres, ``blocks`` on any subset of
    tokens with its positions (the visible pass of a masked autoencoder has no class token).
    """

    def __init__(self, config: PointEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbedding(widths=config.patch_widths, dim=config.dim)
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, config.dim))
        self.blocks = PositionedBlocks(
            dim=config.dim,
            depth=config.depth,
            heads=config.heads,
            mlp_ratio=config.mlp_ratio,
            drop_path=config.drop_path,
        )
        self.norm = nn.LayerNorm(config.dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.dim))
        self.cls_pos = nn.Parameter(torch.empty(1, 1, config.dim))
        for part in (self.pos_embed, self.blocks):
            part.apply(initialise_transformer)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.cls_pos, std=0.02)

    @property
    def feature_dim(self) -> int:
        """Width of the global feature."""
        return 2 * self.config.dim

    def group(self, points: Tensor, *, fps_ordered: bool) -> tuple[Tensor, Tensor]:
        """Centres (B, G, 3) and centred patches (B, G, K, 3) of clouds (B, N, 3) in network units."""
        return group_patches(points, self.config.centres, self.config.neighbours, fps_ordered=fps_ordered)

    def encode(self, tokens: Tensor, centres: Tensor) -> Tensor:
        """Contextual tokens (B, T, dim) of patch tokens (B, T, dim) and their centres (B, T, 3); no class token."""
        return self.norm(self.blocks(tokens, self.pos_embed(centres)))  # type: ignore[no-any-return]

    def forward(self, points: Tensor, *, fps_ordered: bool = True) -> PointFeatures:
        """Features of whole clouds.

        Args:
            points: (B, N, 3) in network units.
            fps_ordered: the points come in farthest-point order; without it, farthest-point sampling runs here.
        """
        centres, patches = self.group(points, fps_ordered=fps_ordered)
        return self.encode_all(self.patch_embed(patches), centres)

    def encode_all(self, tokens: Tensor, centres: Tensor) -> PointFeatures:
        """Features of all patches with the class token: patch tokens (B, G, dim) and their centres (B, G, 3)."""
        batch = tokens.shape[0]
        positions = self.pos_embed(centres)
        summary = self.cls_token.expand(batch, -1, -1).to(tokens.dtype)
        tokens = torch.cat([summary, tokens], dim=1)
        positions = torch.cat([self.cls_pos.expand(batch, -1, -1).to(positions.dtype), positions], dim=1)
        encoded = self.norm(self.blocks(tokens, positions))
        summary, tokens = encoded[:, 0], encoded[:, 1:]
        return PointFeatures(tokens, centres, torch.cat([summary, max_over(tokens, 1)], dim=-1))
