"""Operations on point sets: crop, thin out, farthest point sampling, nearest neighbours, grouping into patches.

Points are (n, 3) float32. NumPy arrays are worked on by the CPU (fpsample, scipy), torch tensors on their own device by
:mod:`clar_core.geometry.points_torch`, under the same names. No operation treats points near the origin specially.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

import fpsample
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from torch import Tensor

Points = NDArray[np.float32]
Indices = NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)

_BUCKET_LEVELS = 5
_SMALLEST_BUCKETED = 2**_BUCKET_LEVELS


def inside_box(points: Points, box_min_m: Sequence[float], box_max_m: Sequence[float]) -> NDArray[np.bool_]:
    """Which points (n, 3) lie in an axis-aligned box, faces included: (n,) bool. Points that are not finite do not."""
    points = check_points(points)
    low, high = np.asarray(box_min_m, dtype=points.dtype), np.asarray(box_max_m, dtype=points.dtype)
    inside = np.ones(len(points), dtype=bool)
    for axis in range(3):
        values = points[:, axis]
        inside &= (values >= low[axis]) & (values <= high[axis])
    return inside


def crop_box(points: Points, box_min_m: Sequence[float], box_max_m: Sequence[float]) -> Points:
    """The points (n, 3) that lie in an axis-aligned box, faces included, in their order: (m, 3)."""
    return points[inside_box(points, box_min_m, box_max_m)]


def voxel_downsample(points: Points, voxel_size_m: float) -> Points:
    """One point per occupied voxel, the first in input order, in input order: (m, 3), m <= n. Deterministic.

    Raises:
        ValueError: a size that is not positive, or so small that voxels cannot be counted in 64 bits.
    """
    points = check_points(points)
    if not (math.isfinite(voxel_size_m) and voxel_size_m > 0):
        raise ValueError(f"voxel_size_m: expected a positive length in metres, got {voxel_size_m}")
    if len(points) == 0:
        return points
    cells = np.floor((points - points.min(axis=0)).astype(np.float64) / voxel_size_m)
    extent = cells.max(axis=0) + 1
    if not float(np.prod(extent)) < 2**62:
        raise ValueError(f"voxel_size_m: {voxel_size_m} m is too small for points spread over {extent} voxels")
    x, y, z = cells.astype(np.int64).T
    _, first = np.unique((x * int(extent[1]) + y) * int(extent[2]) + z, return_index=True)
    return points[np.sort(first)]


def even_subset(rows: NDArray[Scalar], count: int) -> NDArray[Scalar]:
    """At most ``count`` rows (points or indices), evenly spaced in input order: (min(n, count), ...). Deterministic."""
    if len(rows) <= count:
        return rows
    return rows[np.arange(count, dtype=np.int64) * len(rows) // count]


@overload
def farthest_point_sampling(points: Points, count: int, start_index: int = 0) -> Indices: ...
@overload
def farthest_point_sampling(points: Tensor, count: int, start_index: int = 0) -> Tensor: ...
def farthest_point_sampling(points: Any, count: int, start_index: int = 0) -> Any:
    """Exact farthest point sampling: each index names the point farthest from all points named before it.

    Args:
        points: (n, 3) float32 array, or a tensor (n, 3) or (batch, n, 3) on any device.
        count: how many, 1 <= count <= n.
        start_index: which start. For tensors it is the row of the first point. For arrays it is that row's place in the
            spatial order that the kd-tree of fpsample gives the points, so that every value 0 <= start_index < n is
            another start and the same value on the same points is always the same start, but ``result[0]`` is in
            general not ``start_index``. From ``result[0]`` on both agree.

    Returns:
        (count,) int64 rows of points, in the order sampled, distinct as long as the points are; (batch, count) for
        batched tensors.

    Raises:
        ValueError: points, count or start_index out of range. Points that are not finite are the caller's to remove.

    Source: Eldar et al., "The farthest point strategy for progressive image sampling"; QuickFPS (Han et al., 2023).
    """
    if _is_tensor(points):
        from clar_core.geometry import points_torch

        return points_torch.farthest_point_sampling(points, count, start_index)
    points = np.ascontiguousarray(check_points(points), dtype=np.float32)
    if not 1 <= count <= len(points):
        raise ValueError(f"farthest point sampling: expected 1 <= count <= {len(points)} points, got count {count}")
    if not 0 <= start_index < len(points):
        raise ValueError(f"farthest point sampling: expected 0 <= start_index < {len(points)}, got {start_index}")
    if len(points) < _SMALLEST_BUCKETED:
        chosen = fpsample.fps_sampling(points, count, start_idx=int(start_index))
    else:
        chosen = fpsample.bucket_fps_kdline_sampling(points, count, _BUCKET_LEVELS, start_idx=int(start_index))
    return chosen.astype(np.int64)


@overload
def knn(queries: Points, points: Points, k: int) -> Indices: ...
@overload
def knn(queries: Tensor, points: Tensor, k: int) -> Tensor: ...
def knn(queries: Any, points: Any, k: int) -> Any:
    """Exact k nearest points of each query, nearest first.

    Args:
        queries: (m, 3), or a tensor (m, 3) or (batch, m, 3).
        points: (n, 3), or a tensor of the same number of dimensions as queries.
        k: how many, 1 <= k <= n.

    Returns:
        (m, k) int64 rows of points; (batch, m, k) for batched tensors.

    Raises:
        ValueError: shapes that do not match, or k out of range.
    """
    if _is_tensor(points):
        from clar_core.geometry import points_torch

        return points_torch.knn(queries, points, k)
    queries, points = check_points(queries), check_points(points)
    if not 1 <= k <= len(points):
        raise ValueError(f"knn: expected 1 <= k <= {len(points)} points, got k {k}")
    # Unbalanced, not compacted: an order of magnitude faster to build, and the answers are the same.
    tree = cKDTree(points, balanced_tree=False, compact_nodes=False)
    _, neighbours = tree.query(queries, k=k)
    return np.asarray(neighbours, dtype=np.int64).reshape(len(queries), k)


@overload
def group(points: Points, centres: Points, neighbours: Indices) -> Points: ...
@overload
def group(points: Tensor, centres: Tensor, neighbours: Tensor) -> Tensor: ...
def group(points: Any, centres: Any, neighbours: Any) -> Any:
    """Patches: the neighbours of each centre, relative to it.

    Args:
        points: (n, 3), or a tensor (n, 3) or (batch, n, 3).
        centres: (m, 3), or a tensor (m, 3) or (batch, m, 3).
        neighbours: (m, k) rows of points, as :func:`knn` gives them; batched like the others.

    Returns:
        (m, k, 3), or (batch, m, k, 3): points minus centre, in metres if both were.
    """
    if _is_tensor(points):
        from clar_core.geometry import points_torch

        return points_torch.group(points, centres, neighbours)
    return points[neighbours] - centres[:, None, :]


def check_points(points: Any) -> NDArray[Any]:
    """Return points as an array of floats (n, 3), or raise ValueError saying what was found."""
    array = np.asarray(points)
    if array.ndim != 2 or array.shape[1] != 3 or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"points: expected floats of shape (n, 3), got {array.dtype} of shape {array.shape}")
    return array


def _is_tensor(points: object) -> bool:
    """Whether this is a torch tensor, without importing torch for callers that have none."""
    return type(points).__module__.partition(".")[0] == "torch"
