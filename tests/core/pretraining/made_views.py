"""Small sets of views of made-up scenes: two boxes on a table, ray-traced without a renderer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clar_core.data.views import Instant, View, ViewWriter
from clar_core.geometry.camera import Intrinsics, pixel_rays
from clar_core.geometry.poses import Array
from clar_core.observation.spec import ObservationSpec
from clar_core.simulation.camera import look_at

SIZE = 56
SPEC = ObservationSpec(
    crop_min_m=(0.2, -0.4, 0.005), crop_max_m=(0.8, 0.4, 0.4), network_points=128, min_cloud_points=20
)
LABELS = ("background", "table", "red", "cube", "plank")
IMAGE = Intrinsics(
    SIZE, SIZE, 40.0, 42.0, 27.0, 28.5, "inverse_brown_conrady", (-0.0553, 0.0652, -0.0005, 0.0004, -0.0207)
)


def box_depth(T_base_image: Array, boxes: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Depth (SIZE, SIZE) in metres of boxes (n, 2, 3) on the plane z = 0, and labels: 1 table, 3 first, 4 others."""
    rays = pixel_rays(IMAGE).astype(np.float64) @ T_base_image[:3, :3].T
    rays[np.abs(rays) < 1e-12] = 1e-12
    origin = T_base_image[:3, 3]
    depth = np.where(rays[..., 2] < 0, -origin[2] / rays[..., 2], 5.0)
    labels = np.where(rays[..., 2] < 0, 1, 0).astype(np.uint8)
    for i, (low, high) in enumerate(boxes):
        a, b = (low - origin) / rays, (high - origin) / rays
        enter, leave = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
        hit = (enter < leave) & (enter > 0) & (enter < depth)
        depth, labels = np.where(hit, enter, depth), np.where(hit, 3 if i == 0 else 4, labels)
    return depth.astype(np.float32), labels.astype(np.uint8)


def box_surface(boxes: NDArray[np.float64], rng: np.random.Generator, count: int = 300) -> NDArray[np.float32]:
    """Points (n, 3) on the boxes' sides and tops."""
    points = []
    for low, high in boxes:
        inside = rng.uniform(low, high, (count, 3))
        axis = rng.integers(0, 3, count)
        side = rng.random(count) < 0.5
        inside[np.arange(count), axis] = np.where(side | (axis == 2), high[axis], low[axis])
        points.append(inside)
    return np.concatenate(points).astype(np.float32)


def make_instant(seed: int, cameras: int = 2) -> Instant:
    """One instant: a red cube and a plank, seen by a fixed and by moving cameras."""
    rng = np.random.default_rng(seed)
    centres = np.stack([rng.uniform((0.35, -0.25), (0.5, 0.0)), rng.uniform((0.5, 0.05), (0.65, 0.25))])
    halves = np.array([[0.03, 0.03, 0.06], [0.05, 0.02, 0.02 + 0.03 * rng.random()]])
    boxes = np.stack(
        [np.c_[centres - halves[:, :2], np.zeros(2)], np.c_[centres + halves[:, :2], halves[:, 2]]], axis=1
    )
    views = []
    for camera in range(cameras):
        place = (1.1, 0.4, 0.7) if camera == 0 else tuple(rng.uniform((0.7, -0.8, 0.5), (1.1, 0.8, 0.9)).tolist())
        pose = look_at((place[0], place[1], place[2]), (0.5, 0.0, 0.05))
        depth, labels = box_depth(pose, boxes)
        image = np.full((SIZE, SIZE, 3), 120, dtype=np.uint8)
        image[labels == 3] = (200, 20, 20)
        image[labels == 4] = (240, 240, 240)
        views.append(
            View(
                box_surface(boxes, rng),
                image,
                (depth * 1000).astype(np.uint16),
                IMAGE,
                pose,
                labels,
                0 if camera == 0 else -1,
            )
        )
    task = f"red cube {seed % 3}"
    state = np.array([0.4, 0, 0.2, 1, 0, 0, 0, -1, 0, 0.5 * rng.random()], dtype=np.float32)
    objects = [
        {
            "kind": "cube" if seed % 2 else "plank",
            "color": "red",
            "position_m": [*centres[0].tolist(), 0.06],
            "yaw_rad": 0,
        }
    ]
    return Instant(views, state, f"take the {task}", task, {"objects": objects})


def make_views(directory: Path, episodes: int = 12, cameras: int = 2) -> Path:
    """Write a set of views; returns its directory."""
    writer = ViewWriter(directory, SPEC, image_size=SIZE, labels=LABELS, points_per_cloud=256)
    for seed in range(episodes):
        writer.append([make_instant(seed, cameras)])
    return directory
