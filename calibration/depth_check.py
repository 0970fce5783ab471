"""Is the depth right? The board is a plane whose place the colour camera knows: what does the depth camera measure?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from clar_calibration.board import Board
from clar_core.geometry.camera import Intrinsics, pixel_rays, project
from clar_core.geometry.poses import transform_points

Array = NDArray[np.float64]

_SHRINK = 0.85
_FEWEST_PIXELS = 150
_FEWEST_VIEWS = 4
_LEVER_LEAST_M = 0.12
_GROSS_M = 0.05


@dataclass(frozen=True)
class DepthCheck:
    """Measured depth against the board's plane: ``measured = (1 + scale) * true + bias``.

    Attributes:
        views: views that had enough depth on the board.
        scale: relative error of the depth; 0 when the views are all equally far, where it cannot be told from a bias.
        bias_mm: offset, at the mean distance when there is no scale.
        at_work_mm: error of the depth at the mean distance.
        noise_mm: of single pixels, one standard deviation.
        mean_distance_m: of the board in the views.
    """

    views: int
    scale: float
    bias_mm: float
    at_work_mm: float
    noise_mm: float
    mean_distance_m: float


def check_depth(
    depths: Sequence[NDArray[np.uint16] | None],
    T_depth_board: Sequence[Array],
    board: Board,
    intrinsics: Intrinsics,
    *,
    depth_scale_m: float = 0.001,
) -> DepthCheck | None:
    """Compare depth images with the plane of the board in each; None when fewer than four show enough of it.

    Args:
        depths: k images (h, w) uint16, or None.
        T_depth_board: k poses (4, 4) of the board in the depth optical frame.
        board: its size.
        intrinsics: of the depth images.
        depth_scale_m: metres per unit.
    """
    rows = [
        row
        for depth, T in zip(depths, T_depth_board, strict=True)
        if depth is not None and (row := _one(depth, T, board, intrinsics, depth_scale_m)) is not None
    ]
    if len(rows) < _FEWEST_VIEWS:
        return None
    true, error, noise = np.array(rows).T
    mean = float(np.median(true))
    at_work = float(np.median(error))
    if float(np.std(true)) < _LEVER_LEAST_M / 2:
        return DepthCheck(len(rows), 0.0, at_work * 1e3, at_work * 1e3, float(np.median(noise)) * 1e3, mean)
    design = np.stack([true, np.ones_like(true)], axis=1)
    weight = np.ones(len(rows))
    coefficients = np.zeros(2)
    for _ in range(10):
        coefficients = np.linalg.lstsq(design * weight[:, None], error * weight, rcond=None)[0]
        rest = np.abs(error - design @ coefficients)
        weight = np.sqrt(1.0 / np.maximum(1.0, rest / max(1.5 * float(np.median(rest)), 1e-6)))
    scale, bias = coefficients
    return DepthCheck(len(rows), float(scale), float(bias) * 1e3, at_work * 1e3, float(np.median(noise)) * 1e3, mean)


def _one(
    depth: NDArray[np.uint16], T: Array, board: Board, intrinsics: Intrinsics, depth_scale_m: float
) -> tuple[float, float, float] | None:
    """True distance, its median error and the noise of one view, metres."""
    outline = board.outline
    middle = outline.mean(axis=0)
    corners = project(transform_points(T, middle + _SHRINK * (outline - middle)), intrinsics)
    if not np.isfinite(corners).all():
        return None
    mask = np.zeros(depth.shape, dtype=np.uint8)
    cv2.fillConvexPoly(mask, np.rint(corners).astype(np.int32), (1,))
    chosen = (mask > 0) & (depth > 0)
    normal, point = T[:3, 2], T[:3, 3]
    denominator = pixel_rays(intrinsics)[chosen] @ normal
    true = (normal @ point) / np.where(np.abs(denominator) > 1e-6, denominator, np.nan)
    error = depth[chosen] * depth_scale_m - true
    good = np.isfinite(error) & (np.abs(error) < _GROSS_M)
    if good.sum() < _FEWEST_PIXELS:
        return None
    spread = 1.4826 * float(np.median(np.abs(error[good] - np.median(error[good]))))
    return float(np.median(true[good])), float(np.median(error[good])), spread
