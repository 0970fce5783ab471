"""Masked autoencoder of point patches (Pang et al., ECCV 2022), as CLAR uses it (Sec. III-A).

The encoder sees the visible patches only; a light decoder sees them and a learned token in the place of each hidden
one, and predicts the hidden patches' points relative to their centres.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clar_core.models.encoder import PointEncoder
from clar_core.models.transformer import PositionedBlocks, initialise_transformer


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Shape of the decoder: transformer blocks, heads, and stochastic depth of the last block."""

    depth: int = 4
    heads: int = 6
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        for name in ("depth", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"decoder.{name}: expected a positive number, got {getattr(self, name)}")
        if not 0.0 <= self.drop_path < 1.0:
            raise ValueError(f"decoder.drop_path: expected a number in [0, 1), got {self.drop_path}")


class MaskedDecoder(nn.Module):
    """Predicts hidden patches from encoded visible ones.

    Args:
        dim: token width of the encoder.
        neighbours: points per patch, K.
        config: its shape.
    """

    def __init__(self, *, dim: int, neighbours: int, config: DecoderConfig) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, dim))
        self.blocks = PositionedBlocks(dim=dim, depth=config.depth, heads=config.heads, drop_path=config.drop_path)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 3 * neighbours)
        self.apply(initialise_transformer)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, visible: Tensor, visible_centres: Tensor, hidden_centres: Tensor) -> Tensor:
        """Points (B, H, K, 3) of the hidden patches, relative to their centres, in units of the patch radius.

        Args:
            visible: (B, V, dim) encoded visible tokens.
            visible_centres: (B, V, 3).
            hidden_centres: (B, H, 3).
        """
        batch, hidden, _ = hidden_centres.shape
        tokens = torch.cat([visible, self.mask_token.expand(batch, hidden, -1).to(visible.dtype)], dim=1)
        positions = self.pos_embed(torch.cat([visible_centres, hidden_centres], dim=1))
        decoded = self.norm(self.blocks(tokens, positions)[:, -hidden:])
        return self.head(decoded).view(batch, hidden, self.neighbours, 3)  # type: ignore[no-any-return]


def hidden_patches(groups: int, ratio: float) -> int:
    """How many of ``groups`` patches a mask of this ratio hides: at least one, never all."""
    return min(max(round(groups * ratio), 1), groups - 1)


def split(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Visible and hidden rows of per-patch values.

    Args:
        values: (B, G, ...).
        mask: (B, G) bool, True where hidden; the same number in every sample.

    Returns:
        (B, V, ...) and (B, H, ...), in the order of the patches.
    """
    batch, rest = values.shape[0], values.shape[2:]
    return values[~mask].view(batch, -1, *rest), values[mask].view(batch, -1, *rest)


def reconstruct(
    encoder: PointEncoder, decoder: MaskedDecoder, tokens: Tensor, centres: Tensor, patches: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Predicted and true hidden patches.

    Args:
        encoder: encodes the visible patches, without class token.
        decoder: predicts the hidden ones.
        tokens: (B, G, dim) patch embeddings of all patches.
        centres: (B, G, 3) in network units.
        patches: (B, G, K, 3) relative to the centres, in any unit.
        mask: (B, G) bool, True where hidden.

    Returns:
        (B, H, K, 3) predicted and true, in the unit of ``patches``.
    """
    visible_tokens, _ = split(tokens, mask)
    visible_centres, hidden_centres = split(centres, mask)
    encoded = encoder.encode(visible_tokens, visible_centres)
    return decoder(encoded, visible_centres, hidden_centres), split(patches, mask)[1]
