"""The one path from a depth image to the network's input. Live nodes, bags, data sets and simulation all call it.

    depth (h, w) -> crop box -> flying pixels out -> base frame -> at most 8192 points -> 1024 by FPS -> network units

It is deterministic bit for bit: elementwise float32 arithmetic in a fixed order, no threads, no randomness.
"""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clar_core.geometry.camera import Intrinsics, check_depth_image, pixel_rays, raw_depth_limits
from clar_core.geometry.points import check_points, even_subset, farthest_point_sampling, inside_box
from clar_core.geometry.poses import check_pose, rotation_to_6d
from clar_core.observation.spec import ObservationSpec
from clar_core.observation.state import interpolate_state

__all__ = ["TooFewPointsError", "build_cloud", "build_network_points", "interpolate_state", "proprioception"]

_MIN_VALID_NEIGHBOURS = 2
# Flying pixels are looked for among this many times the points wanted: they rarely are more than a fifth of a scene.
_OVERSAMPLING = 1.25
_PARALLEL = np.float32(1e-12)


class TooFewPointsError(ValueError):
    """The crop box holds fewer points than the spec asks for. ``count`` is how many it holds."""

    def __init__(self, count: int, spec: ObservationSpec) -> None:
        self.count = count
        super().__init__(
            f"the crop box {spec.crop_min_m} to {spec.crop_max_m} m ({spec.base_frame}) holds {count} points, "
            f"expected at least {spec.min_cloud_points}; is the camera covered or moved, or the calibration wrong?"
        )


def build_cloud(
    depth: NDArray[np.uint16],
    intrinsics: Intrinsics,
    T_base_camera: ArrayLike,
    spec: ObservationSpec,
    *,
    depth_scale_m: float = 0.001,
    stages_ms: dict[str, float] | None = None,
) -> NDArray[np.float32]:
    """Points of one depth image inside the crop box.

    Pixels on the image border, flying pixels, and pixels with fewer than two valid neighbours are left out. The pixels
    are thinned out evenly in image order to ``spec.max_cloud_points`` before the costly steps.

    Args:
        depth: (height, width) uint16 in units of ``depth_scale_m``, 0 where there is no reading.
        intrinsics: of this very stream.
        spec: crop box, limits and sizes.
        depth_scale_m: metres per unit of depth.
        T_base_camera: (4, 4), maps points of the depth optical frame to the base frame.
        stages_ms: if given, receives the time of each stage: "crop", "deproject", "downsample".

    Returns:
        (n, 3) float32, contiguous, metres in ``spec.base_frame``, min_cloud_points <= n <= max_cloud_points.

    Raises:
        ValueError: wrong dtype, shape or scale, or T_base_camera is not a rigid transform.
        TooFewPointsError: fewer than ``spec.min_cloud_points`` points are left.
    """
    check_depth_image(depth, intrinsics)
    clock = _StageClock(stages_ms)
    pose = check_pose(T_base_camera, "T_base_camera")
    volume = _volume(intrinsics, pose.tobytes(), spec, float(depth_scale_m))
    flat = np.ascontiguousarray(depth).reshape(-1)
    pixels = np.flatnonzero((flat >= volume.nearest) & (flat <= volume.farthest))
    clock.lap("crop")

    pixels = even_subset(pixels, round(spec.max_cloud_points * _OVERSAMPLING))
    pixels = pixels[_on_a_surface(flat, pixels, intrinsics.width, spec.edge_threshold)]
    pixels = even_subset(pixels, spec.max_cloud_points)
    clock.lap("downsample")

    points = volume.rays.take(pixels, axis=0)
    points *= (flat[pixels].astype(np.float32) * np.float32(depth_scale_m))[:, None]
    points += volume.origin
    points = points[inside_box(points, spec.crop_min_m, spec.crop_max_m)]
    clock.lap("deproject")
    if len(points) < spec.min_cloud_points:
        raise TooFewPointsError(len(points), spec)
    return points


def build_network_points(
    cloud: NDArray[np.float32], spec: ObservationSpec, *, start_index: int = 0
) -> NDArray[np.float32]:
    """The points that the network sees: sampled farthest first, in network units.

    A cloud of fewer than ``spec.network_points`` points is sampled whole and then repeated from the start in the same
    order, so that every prefix is still spread out and the result does not depend on anything but the cloud.

    Args:
        cloud: (n, 3) float32, metres in the base frame, as :func:`build_cloud` gives it.
        spec: sizes and normalisation.
        start_index: which point the sampling starts from, see
            :func:`clar_core.geometry.points.farthest_point_sampling`. 0 in deployment, random in training.

    Returns:
        (network_points, 3) float32 in FPS order.

    Raises:
        ValueError: wrong shape or dtype, or points that are not finite.
        TooFewPointsError: fewer than ``spec.min_cloud_points`` points.
    """
    cloud = check_points(cloud)
    if cloud.dtype != np.float32:
        raise ValueError(f"cloud: expected float32, got {cloud.dtype}")
    if len(cloud) < spec.min_cloud_points:
        raise TooFewPointsError(len(cloud), spec)
    if not np.isfinite(cloud).all():
        raise ValueError("cloud: expected finite coordinates; drop invalid points before sampling")
    order = farthest_point_sampling(cloud, min(len(cloud), spec.network_points), start_index)
    if len(order) < spec.network_points:
        order = np.resize(order, spec.network_points)
    return spec.normalise(cloud[order])


def proprioception(T_base_tcp: ArrayLike, gripper_width_m: float, spec: ObservationSpec) -> NDArray[np.float32]:
    """The robot's part of the observation, (10,) float32.

    TCP position in metres (3), first and second column of the TCP rotation (6), gripper width / maximum (1). The width
    is clipped to [0, maximum]: grippers report a little more when fully open.

    Raises:
        ValueError: a pose that is not rigid, or a width that is not finite.
    """
    pose = check_pose(T_base_tcp, "T_base_tcp")
    if not np.isfinite(gripper_width_m):
        raise ValueError(f"gripper_width_m: expected a finite number, got {gripper_width_m}")
    width = min(max(float(gripper_width_m) / spec.gripper_max_width_m, 0.0), 1.0)
    return np.concatenate([pose[:3, 3], rotation_to_6d(pose), [width]]).astype(np.float32)


class _Volume:
    """Which raw depths of each pixel lie in the crop box, and the pixels' rays in the base frame.

    The depth interval turns the crop into two integer comparisons on the image, before anything is deprojected. It is
    one unit too wide on either side, and the points are tested exactly afterwards, so it decides nothing by itself.
    """

    def __init__(
        self, intrinsics: Intrinsics, T_base_camera: NDArray[np.float64], spec: ObservationSpec, depth_scale_m: float
    ) -> None:
        near, far = raw_depth_limits(depth_scale_m, spec.depth_min_m, spec.depth_max_m)
        optical_x, optical_y, _ = pixel_rays(intrinsics).reshape(-1, 3).T
        rotation, origin = T_base_camera[:3, :3].astype(np.float32), T_base_camera[:3, 3].astype(np.float32)
        rays = np.empty((optical_x.size, 3), dtype=np.float32)
        enter = np.full(len(rays), near, dtype=np.float32)
        leave = np.full(len(rays), far, dtype=np.float32)
        for axis in range(3):
            # Written out, not a matrix product: BLAS may sum in another order on another machine.
            ray = optical_x * rotation[axis, 0] + optical_y * rotation[axis, 1] + rotation[axis, 2]
            rays[:, axis] = ray
            ray[np.abs(ray) < _PARALLEL] = _PARALLEL
            low = np.float32((spec.crop_min_m[axis] - origin[axis]) / depth_scale_m) / ray
            high = np.float32((spec.crop_max_m[axis] - origin[axis]) / depth_scale_m) / ray
            np.maximum(enter, np.minimum(low, high) - 1, out=enter)
            np.minimum(leave, np.maximum(low, high) + 1, out=leave)
        missed = (enter > leave).reshape(intrinsics.height, intrinsics.width)
        missed[[0, -1], :] = True
        missed[:, [0, -1]] = True
        empty = missed.reshape(-1)
        self.nearest = np.where(empty, 0xFFFF, np.clip(np.floor(enter), near, 0xFFFF)).astype(np.uint16)
        self.farthest = np.where(empty, 0, np.clip(np.ceil(leave), 0, far)).astype(np.uint16)
        self.rays = rays
        self.origin = origin


@functools.lru_cache(maxsize=4)
def _volume(intrinsics: Intrinsics, pose: bytes, spec: ObservationSpec, depth_scale_m: float) -> _Volume:
    return _Volume(intrinsics, np.frombuffer(pose, dtype=np.float64).reshape(4, 4), spec, depth_scale_m)


def _on_a_surface(
    flat: NDArray[np.uint16], pixels: NDArray[np.intp], width: int, edge_threshold: float
) -> NDArray[np.bool_]:
    """Which of the pixels (n,), none on the border, agree in depth with their four neighbours: (n,) bool."""
    own = flat[pixels].astype(np.int32)
    tolerance = (own.astype(np.float32) * np.float32(edge_threshold)).astype(np.int32)
    jump = np.zeros(len(pixels), dtype=bool)
    valid_neighbours = np.zeros(len(pixels), dtype=np.int8)
    for offset in (-width, -1, 1, width):
        neighbour = flat[pixels + offset].astype(np.int32)
        valid = neighbour > 0
        valid_neighbours += valid
        jump |= valid & (np.abs(neighbour - own) > tolerance)
    return np.asarray(~jump & (valid_neighbours >= _MIN_VALID_NEIGHBOURS))


class _StageClock:
    """Writes the time since the last lap into a dict, if there is one."""

    def __init__(self, stages_ms: dict[str, Any] | None) -> None:
        self._stages_ms = stages_ms
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        if self._stages_ms is not None:
            self._stages_ms[stage] = (now - self._last) * 1e3
        self._last = now
