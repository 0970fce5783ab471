"""The point operations on torch tensors, batched, on the tensors' own device. See :mod:`clar_core.geometry.points`.

The CPU versions for arrays are faster on a CPU; these exist so that points already on a GPU stay there.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def farthest_point_sampling(points: Tensor, count: int, start_index: int | Tensor = 0) -> Tensor:
    """Exact farthest point sampling of tensors; ties go to the lowest row.

    Args:
        points: (n, 3) or (batch, n, 3) float.
        count: how many, 1 <= count <= n.
        start_index: row of the first point, one for all or (batch,) int64.

    Returns:
        (count,) or (batch, count) int64 on the device of points.

    Raises:
        ValueError: points, count or start_index out of range.
    """
    batched = _batched(points)
    batch, n, _ = batched.shape
    if not 1 <= count <= n:
        raise ValueError(f"farthest point sampling: expected 1 <= count <= {n} points, got count {count}")
    if isinstance(start_index, int) and not 0 <= start_index < n:
        raise ValueError(f"farthest point sampling: expected 0 <= start_index < {n}, got {start_index}")
    chosen = torch.empty(batch, count, dtype=torch.int64, device=points.device)
    chosen[:, 0] = torch.as_tensor(start_index, dtype=torch.int64, device=points.device)
    # One coordinate per tensor: the loop below then touches contiguous memory only, and sums in a fixed order.
    x, y, z = (batched[..., axis].contiguous() for axis in range(3))
    distance = torch.full((batch, n), torch.inf, dtype=batched.dtype, device=points.device)
    for i in range(1, count):
        last = chosen[:, i - 1 : i]
        dx, dy, dz = (axis - axis.gather(1, last) for axis in (x, y, z))
        torch.minimum(distance, dx * dx + dy * dy + dz * dz, out=distance)
        chosen[:, i] = distance.argmax(dim=1)
    return chosen if points.ndim == 3 else chosen[0]


@torch.no_grad()
def knn(queries: Tensor, points: Tensor, k: int) -> Tensor:
    """Exact k nearest points of each query, nearest first: (m, k) or (batch, m, k) int64.

    Distances are summed from differences, not from the expanded square, which loses the small ones to rounding.

    Raises:
        ValueError: shapes that do not match, or k out of range.
    """
    q, p = _batched(queries), _batched(points)
    if queries.ndim != points.ndim or q.shape[0] != p.shape[0]:
        raise ValueError(f"knn: expected queries and points batched alike, got {queries.shape} and {points.shape}")
    if not 1 <= k <= p.shape[1]:
        raise ValueError(f"knn: expected 1 <= k <= {p.shape[1]} points, got k {k}")
    distance = torch.cdist(q, p, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distance.topk(k, dim=-1, largest=False, sorted=True).indices
    return nearest if points.ndim == 3 else nearest[0]


def group(points: Tensor, centres: Tensor, neighbours: Tensor) -> Tensor:
    """Patches: the neighbours of each centre, relative to it: (m, k, 3) or (batch, m, k, 3). Differentiable."""
    if points.ndim == 2:
        return points[neighbours] - centres[:, None, :]
    batch, m, k = neighbours.shape
    rows = neighbours.reshape(batch, m * k, 1).expand(-1, -1, 3)
    return points.gather(1, rows).view(batch, m, k, 3) - centres[:, :, None, :]


def _batched(points: Tensor) -> Tensor:
    if points.ndim not in (2, 3) or points.shape[-1] != 3 or not points.is_floating_point():
        raise ValueError(
            "points: expected floats of shape (n, 3) or (batch, n, 3), "
            f"got {points.dtype} of shape {tuple(points.shape)}"
        )
    return points if points.ndim == 3 else points[None]
