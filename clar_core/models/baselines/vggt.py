"""VGGT (Wang et al., CVPR 2025) as an encoder of a single view: its aggregator, without the heads on top of it.

The aggregator is a DINOv2 ViT-L/14 whose patch tokens, beside a camera token and registers, pass through blocks that
attend within a frame and over all frames in turn. With one view both attend to the same tokens; both are needed all the
same, for they were trained in turn. What is left out: camera, depth, point and track heads, which turn the aggregator's
tokens into cameras and maps, and the tokens of further frames. The feature is the mean over the patches of what the
heads are given, the outputs of the last two blocks side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clar_core.models.baselines.published import below, copy_weights
from clar_core.models.image_encoder import IMAGENET_MEAN, IMAGENET_STD, ImageEncoder, ImageEncoderConfig
from clar_core.models.vision_libraries import import_timm

_PREFIX = "aggregator."
_BACKBONE = "patch_embed."
_ROTARY_BASE = 100.0
_LAYER_SCALE = 0.01


@dataclass(frozen=True, kw_only=True)
class VGGTConfig(ImageEncoderConfig):
    """Shape of the aggregator; the defaults are VGGT-1B's.

    Attributes:
        dim, heads: of all blocks.
        backbone_depth: blocks of the DINOv2 network.
        depth: pairs of blocks after it.
        patch: pixels along the side of a patch.
        registers: register tokens, of both parts.
    """

    dim: int = 1024
    heads: int = 16
    backbone_depth: int = 24
    depth: int = 24
    patch: int = 14
    registers: int = 4

    def __post_init__(self) -> None:
        self.check_positive("dim", "heads", "backbone_depth", "depth", "patch", "registers")
        if self.dim % (4 * self.heads) or self.pixels % self.patch:
            raise ValueError(
                f"encoder.heads, encoder.patch: expected a divisor of a quarter of dim {self.dim} and one of pixels "
                f"{self.pixels}, got {self.heads}, {self.patch}"
            )


class RotaryAttention(nn.Module):
    """Attention whose normalised queries and keys are turned by the tokens' places in the image.

    Half of every head turns with the row, half with the column (Su et al., 2021, in two dimensions).
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.q_norm, self.k_norm = nn.LayerNorm(dim // heads), nn.LayerNorm(dim // heads)

    def forward(self, x: Tensor, turn: Tensor) -> Tensor:
        """Tokens (B, T, dim) and ``turn`` (2, T, dim / heads), cosine and sine -> (B, T, dim)."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        query, key = _turned(self.q_norm(qkv[0]), turn), _turned(self.k_norm(qkv[1]), turn)
        attended = F.scaled_dot_product_attention(query, key, qkv[2])
        return self.proj(attended.transpose(1, 2).reshape(batch, tokens, dim))  # type: ignore[no-any-return]


class AggregatorBlock(nn.Module):
    """A pre-norm residual block whose branches are scaled by a learned vector."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        layers = import_timm().layers
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = RotaryAttention(dim, heads)
        self.mlp = layers.Mlp(dim, 4 * dim)
        self.ls1, self.ls2 = (layers.LayerScale(dim, init_values=_LAYER_SCALE) for _ in range(2))

    def forward(self, x: Tensor, turn: Tensor) -> Tensor:
        """(B, T, dim) -> (B, T, dim)."""
        x = x + self.ls1(self.attn(self.norm1(x), turn))
        return x + self.ls2(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


class VGGT(ImageEncoder):
    """The aggregator on one view, see the module."""

    weights_source: ClassVar[str] = (
        "VGGT-1B (keys begin with aggregator.): model.pt or model.safetensors of "
        "https://huggingface.co/facebook/VGGT-1B (not for commercial use), or of "
        "https://huggingface.co/facebook/VGGT-1B-Commercial (on request)"
    )

    turn: Tensor

    def __init__(self, config: VGGTConfig) -> None:
        super().__init__(config, IMAGENET_MEAN, IMAGENET_STD)
        self.patch_embed = import_timm().models.vision_transformer.VisionTransformer(
            img_size=config.pixels,
            patch_size=config.patch,
            embed_dim=config.dim,
            depth=config.backbone_depth,
            num_heads=config.heads,
            init_values=1.0,
            reg_tokens=config.registers,
            no_embed_class=True,
            num_classes=0,
        )
        # Of the first frame and of all others; a single view is a first frame.
        self.camera_token = nn.Parameter(1e-6 * torch.randn(1, 2, 1, config.dim))
        self.register_token = nn.Parameter(1e-6 * torch.randn(1, 2, config.registers, config.dim))
        self.frame_blocks, self.global_blocks = (
            nn.ModuleList(AggregatorBlock(config.dim, config.heads) for _ in range(config.depth)) for _ in range(2)
        )
        side = config.pixels // config.patch
        turn = rotary_turn(side, 1 + config.registers, config.dim // config.heads)
        self.register_buffer("turn", turn, persistent=False)

    @property
    def feature_dim(self) -> int:
        """Twice the width of the blocks."""
        return 2 * self.config.dim  # type: ignore[no-any-return]

    def pooled(self, images: Tensor) -> Tensor:
        """See :class:`ImageEncoder`."""
        special = 1 + self.config.registers
        patches = self.patch_embed.forward_features(images)[:, special:]
        first = torch.cat([self.camera_token[:, 0], self.register_token[:, 0]], dim=1)
        x = torch.cat([first.expand(len(images), -1, -1).to(patches.dtype), patches], dim=1)
        for frame_block, global_block in zip(self.frame_blocks, self.global_blocks, strict=True):
            within = frame_block(x, self.turn)
            x = global_block(within, self.turn)
        return torch.cat([within, x], dim=-1)[:, special:].mean(1)

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of the aggregator; those of the heads are left alone.

        The positions were learnt for images of 518 pixels and are interpolated, as VGGT does for smaller ones.

        Raises:
            ValueError: a weight is missing, unknown, or of another shape; named.
        """
        theirs = below(_PREFIX, weights)
        for name in ("cls_token", "pos_embed", "register_tokens"):
            if _BACKBONE + name not in theirs:
                raise ValueError(f"weight {_PREFIX}{_BACKBONE}{name}: missing")
        theirs.pop(_BACKBONE + "mask_token", None)
        # timm adds the class token's position beforehand.
        positions = theirs.pop(_BACKBONE + "pos_embed")
        theirs[_BACKBONE + "cls_token"] = theirs[_BACKBONE + "cls_token"] + positions[:, :1]
        theirs[_BACKBONE + "reg_token"] = theirs.pop(_BACKBONE + "register_tokens")
        side = self.config.pixels // self.config.patch
        theirs[_BACKBONE + "pos_embed"] = import_timm().layers.resample_abs_pos_embed(
            positions[:, 1:], [side, side], num_prefix_tokens=0
        )
        copy_weights(self.state_dict(), theirs, _PREFIX)


def rotary_turn(side: int, special: int, dim: int) -> Tensor:
    """Cosines and sines (2, special + side * side, dim) by which heads of width ``dim`` turn.

    Special tokens come first and lie at place 0, patches, by rows, at places from 1 on.
    """
    half = dim // 2
    frequencies = _ROTARY_BASE ** (-torch.arange(0, half, 2) / half)
    rows, columns = torch.meshgrid(torch.arange(1, side + 1), torch.arange(1, side + 1), indexing="ij")
    angles = [
        torch.cat([torch.zeros(special, half // 2), place.reshape(-1, 1) * frequencies]).repeat(1, 2)
        for place in (rows, columns)
    ]
    angle = torch.cat(angles, dim=1)
    return torch.stack([angle.cos(), angle.sin()])


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    """Every half of (..., T, dim) turned in the planes of its numbers i and i + dim / 4."""
    first, second = x.view(*x.shape[:-1], 2, 2, -1).unbind(-2)
    quarter = torch.stack([-second, first], dim=-2).flatten(-3)
    return x * turn[0] + quarter * turn[1]
