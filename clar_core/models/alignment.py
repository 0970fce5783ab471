"""Deformable local alignment (CLAR Sec. III-B, Eq. 5): each point patch samples the image features that it needs.

    F_local^I(q) = sum_k A_qk v(p_q + dp_qk)

One level, several heads, K points a head (Deformable DETR, Zhu et al., ICLR 2021). The query only decides where to look
and how to weigh; its features never reach the output: with a residual around the attention, Eq. 6 would be solved by
copying the query.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Sampling(NamedTuple):
    """Where the queries look.

    Attributes:
        locations: (B, Q, heads, K, 2) image coordinates in [0, 1], u then v, of the whole image; may lie outside.
        weights: (B, Q, heads, K), summing to 1 over K.
    """

    locations: Tensor
    weights: Tensor


class DeformableAlignment(nn.Module):
    """Cross-attention from point patches to an image feature map.

    Args:
        query_dim: width of the patch tokens.
        value_dim: width of the feature map.
        dim: width of the output.
        heads: attention heads.
        points: K, samples per head.
        max_offset_cells: bound of the offsets, in cells of the map, per axis.
        cells: side of the (square) feature map.
    """

    def __init__(
        self,
        *,
        query_dim: int,
        value_dim: int,
        dim: int = 256,
        heads: int = 8,
        points: int = 4,
        max_offset_cells: float = 3.0,
        cells: int = 14,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"expected dim to be a multiple of heads, got dim {dim} and {heads} heads")
        self.heads, self.points, self.cells, self.max_offset_cells = heads, points, cells, max_offset_cells
        self.offsets = nn.Linear(query_dim, heads * points * 2)
        self.weights = nn.Linear(query_dim, heads * points)
        self.value = nn.Linear(value_dim, dim)
        self.out = nn.Linear(dim, dim)
        self._initialise()

    def _initialise(self) -> None:
        """Offsets on rings around the reference point, one direction a head; even weights."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
        radius = (torch.arange(self.points) + 1) / self.points
        ring = direction[:, None] * radius[:, None] / self.max_offset_cells
        with torch.no_grad():
            self.offsets.weight.zero_()
            self.offsets.bias.copy_(torch.atanh(ring.clamp(-0.99, 0.99)).flatten())
            self.weights.weight.zero_()
            self.weights.bias.zero_()
        nn.init.xavier_uniform_(self.value.weight)
        nn.init.xavier_uniform_(self.out.weight)
        nn.init.zeros_(self.value.bias)
        nn.init.zeros_(self.out.bias)

    def sampling(self, queries: Tensor, reference: Tensor) -> Sampling:
        """Where queries (B, Q, query_dim) with reference points (B, Q, 2) in [0, 1] look."""
        batch, count, _ = queries.shape
        offsets = torch.tanh(self.offsets(queries)).view(batch, count, self.heads, self.points, 2)
        weights = self.weights(queries).view(batch, count, self.heads, self.points).softmax(-1)
        step = self.max_offset_cells / self.cells
        return Sampling(reference[:, :, None, None] + offsets * step, weights)

    def forward(self, queries: Tensor, reference: Tensor, feature_map: Tensor) -> Tensor:
        """Aligned image features (B, Q, dim).

        Args:
            queries: (B, Q, query_dim) encoded patch tokens.
            reference: (B, Q, 2) projections of the patch centres, (u, v) in [0, 1] over the whole image.
            feature_map: (B, h, w, value_dim), rows from the top.
        """
        batch, count, _ = queries.shape
        locations, weights = self.sampling(queries, reference)
        height, width = feature_map.shape[1:3]
        value = self.value(feature_map).view(batch, height, width, self.heads, -1)
        value = value.permute(0, 3, 4, 1, 2).flatten(0, 1)
        grid = (2 * locations - 1).transpose(1, 2).flatten(0, 1)
        sampled = F.grid_sample(value.float(), grid.float(), mode="bilinear", padding_mode="zeros", align_corners=False)
        attention = weights.transpose(1, 2).flatten(0, 1)
        mixed = (sampled * attention.float()[:, None]).sum(-1)
        mixed = mixed.view(batch, self.heads, -1, count).permute(0, 3, 1, 2).flatten(2)
        return self.out(mixed.to(value.dtype))  # type: ignore[no-any-return]
