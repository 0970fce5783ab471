"""RLBench's scene as this project sees it: tasks, crop box, and the frame that clouds and poses are expressed in."""

from __future__ import annotations

from typing import Any

import numpy as np

from clar_core.geometry.camera import Intrinsics
from clar_core.geometry.poses import Array, make_pose, orthonormalize
from clar_core.observation.builder import build_cloud, proprioception
from clar_core.observation.spec import ObservationSpec

TASKS = ("close_box", "close_laptop_lid", "water_plants", "toilet_seat_down")
"""The paper's four for evaluation; any other task of RLBench is taken as well."""

T_BASE_WORLD = make_pose(translation=(0.309, 0.0, -0.752))
"""Maps RLBench's world to the frame ``rlbench_base``: upright on the table where the arm stands, x to the front.

A convention: demonstrations do not say where the arm stands. It need not be exact, since poses are mapped back by it.
"""

SPEC = ObservationSpec(
    base_frame="rlbench_base",
    crop_min_m=(0.05, -0.50, 0.01),
    crop_max_m=(1.00, 0.50, 0.85),
    depth_min_m=0.1,
    depth_max_m=2.5,
    # Neighbouring pixels of 128 x 128 images lie farther apart than those of a camera.
    edge_threshold=0.05,
)
GRIPPER_MAX_WIDTH_M = 0.08

_TURNED = np.diag([-1.0, -1.0, 1.0, 1.0])
_MILLIMETRES = 1000.0


def camera_of(K: Any, extrinsics: Any, width: int, height: int) -> tuple[Intrinsics, Array]:
    """Intrinsics and ``T_world_camera`` (4, 4) of an image of this size, of RLBench's matrices.

    Its intrinsics have negative focal lengths, which is a camera turned by half about its axis.
    """
    K = np.asarray(K, dtype=np.float64)
    T = np.asarray(extrinsics, dtype=np.float64).reshape(-1, 4)[:3]
    T_world_camera = make_pose(orthonormalize(T[:, :3]), T[:, 3])
    fx, fy = float(K[0, 0]), float(K[1, 1])
    if fx < 0 and fy < 0:
        fx, fy, T_world_camera = -fx, -fy, T_world_camera @ _TURNED
    return Intrinsics(width=width, height=height, fx=fx, fy=fy, cx=float(K[0, 2]), cy=float(K[1, 2])), T_world_camera


def millimetres(depth_m: Array) -> Any:
    """Depth (h, w) in metres as uint16 millimetres, 0 where it is beyond them."""
    depth = np.round(np.asarray(depth_m, dtype=np.float64) * _MILLIMETRES)
    return np.where((depth >= 0) & (depth < 65536), depth, 0).astype(np.uint16)


def observe(
    depth: Any,
    intrinsics: Intrinsics,
    T_base_camera: Array,
    T_base_tip: Array,
    is_open: bool,
    spec: ObservationSpec,
) -> tuple[Any, Any]:
    """Cloud (n, 3) and proprioception (10,), float32, of one instant: stored demonstrations and the simulator alike.

    Raises:
        TooFewPointsError: the crop box is all but empty.
    """
    width = GRIPPER_MAX_WIDTH_M if is_open else 0.0
    return build_cloud(depth, intrinsics, T_base_camera, spec), proprioception(T_base_tip, width, spec)
