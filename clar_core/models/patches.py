"""Point patches: farthest-point centres, their nearest neighbours, and one token per patch.

The layer widths and parameter names are those of Point-MAE (Pang et al., ECCV 2022), so that its published weights
convert; the computation is reordered where the algebra allows it to be cheaper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clar_core.geometry.points_torch import farthest_point_sampling, group, knn
from clar_core.models.pooling import max_over


@torch.no_grad()
def group_patches(points: Tensor, centres: int, neighbours: int, *, fps_ordered: bool) -> tuple[Tensor, Tensor]:
    """Cut clouds into patches.

    Args:
        points: (B, N, 3) in network units.
        centres: patches per cloud, G.
        neighbours: points per patch, K.
        fps_ordered: the points come in farthest-point order, so the first G are the centres. Otherwise
            farthest-point sampling runs here.

    Returns:
        Centres (B, G, 3), and patches (B, G, K, 3) relative to their centre.
    """
    if points.ndim != 3 or points.shape[-1] != 3:
        raise ValueError(f"expected clouds of shape (B, N, 3), got {tuple(points.shape)}")
    if points.shape[1] < max(centres, neighbours):
        raise ValueError(
            f"expected clouds of at least {max(centres, neighbours)} points, "
            f"for {centres} patches of {neighbours}; got {points.shape[1]}"
        )
    if fps_ordered:
        centre_points = points[:, :centres].contiguous()
    else:
        rows = farthest_point_sampling(points, centres)
        centre_points = points.gather(1, rows.unsqueeze(-1).expand(-1, -1, 3))
    return centre_points, group(points, centre_points, knn(centre_points, points, neighbours))


class PatchEmbedding(nn.Module):
    """A small PointNet that turns each patch into one token.

    3 -> widths[0] -> widths[1], maximum over the patch, [maximum, own feature] -> widths[2] -> dim, maximum.
    Every convolution of the published network has a kernel of one point, so it is a linear layer over rows here.
    """

    def __init__(self, *, widths: tuple[int, int, int], dim: int) -> None:
        super().__init__()
        first, local, joint = widths
        self.first_conv = nn.Sequential(
            nn.Linear(3, first), nn.BatchNorm1d(first), nn.ReLU(inplace=True), nn.Linear(first, local)
        )
        self.second_conv = nn.Sequential(
            nn.Linear(2 * local, joint), nn.BatchNorm1d(joint), nn.ReLU(inplace=True), nn.Linear(joint, dim)
        )
        self.dim = dim

    def forward(self, patches: Tensor) -> Tensor:
        """Tokens (B, G, dim) of patches (B, G, K, 3)."""
        batch, groups, size, _ = patches.shape
        local = self.first_conv(patches.reshape(-1, 3))
        whole = max_over(local.view(batch * groups, size, -1), 1)

        rows = self._joint_layer(whole, local, size)
        for layer in list(self.second_conv)[1:]:
            rows = layer(rows)
        return max_over(rows.view(batch, groups, size, self.dim), 2)

    def _joint_layer(self, whole: Tensor, local: Tensor, size: int) -> Tensor:
        """``second_conv[0]`` on [whole, local], without repeating ``whole`` for each of the ``size`` points.

        W [g; l] + b = (W_g g + b) + W_l l, and the first term is the same for a whole patch.
        """
        linear = self.second_conv[0]
        assert isinstance(linear, nn.Linear)
        split = whole.shape[1]
        shared = F.linear(whole, linear.weight[:, :split], linear.bias)
        own = F.linear(local, linear.weight[:, split:])
        return (own.view(-1, size, shared.shape[1]) + shared.unsqueeze(1)).flatten(0, 1)
