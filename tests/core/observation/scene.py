"""A depth image of boxes on a table, ray traced, so that every pixel's true point is known."""

import numpy as np

from clar_core.geometry.camera import Intrinsics, pixel_rays
from clar_core.geometry.poses import make_pose

INTRINSICS = Intrinsics(320, 240, 192.5, 192.5, 159.5, 119.5)
CUBE = ((0.50, -0.025, 0.0), (0.55, 0.025, 0.05))
WALL = ((0.30, -0.30, 0.0), (0.35, 0.30, 0.30))


def look_at(eye, target):
    """T_base_camera of a camera at eye that looks at target, image upright."""
    forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    return make_pose(np.stack([right, np.cross(forward, right), forward], axis=1), eye)


T_BASE_CAMERA = look_at((1.2, 0.5, 0.6), (0.45, 0.0, 0.1))


def render(boxes=(CUBE, WALL), intrinsics=INTRINSICS, T_base_camera=T_BASE_CAMERA, noise_m=0.0, seed=0):
    """Depth image (h, w) uint16 in millimetres of the table z = 0 and axis-aligned boxes."""
    rays = pixel_rays(intrinsics).astype(np.float64) @ T_base_camera[:3, :3].T
    origin = T_base_camera[:3, 3]
    with np.errstate(divide="ignore"):
        table = -origin[2] / rays[..., 2]
        depth = np.where(table > 0, table, np.inf)
        for low, high in boxes:
            a, b = (np.array(low) - origin) / rays, (np.array(high) - origin) / rays
            enter, leave = np.minimum(a, b).max(axis=-1), np.maximum(a, b).min(axis=-1)
            depth = np.where((enter < leave) & (enter > 0), np.minimum(depth, enter), depth)
    depth = depth + np.random.default_rng(seed).normal(0, noise_m, depth.shape)
    return np.where(depth < 4.0, np.round(depth * 1000), 0).astype(np.uint16)
