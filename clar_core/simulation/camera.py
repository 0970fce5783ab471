"""The simulated D455: intrinsics and extrinsics of a real one, depth with its limits and noise, colour with its lens.

Geometry groups of the scene decide what a camera sees: 1 the cell (table, objects), 2 the robot's visual meshes, 3 its
collision meshes. Depth is rendered from 1 and 3, five times faster than with the visual meshes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from clar_core.geometry.camera import T_BODY_OPTICAL, Intrinsics, pixel_rays, project
from clar_core.geometry.poses import Array, make_pose, rotation_vector_to_matrix
from clar_core.simulation.depth_noise import DEPTH_NOISE, DepthNoise, StereoDepth
from clar_core.simulation.depth_render import DepthRenderer, geometry_options

CELL_GROUP = 1
DEPTH_GROUPS = (CELL_GROUP, 3)
PICTURE_GROUPS = (0, CELL_GROUP, 2)
DEPTH_CAMERA = "d455_depth"
COLOR_CAMERA = "d455_color"

BASELINE_M = 0.095
DEPTH_MIN_M = 0.30
DEPTH_MAX_M = 6.0
DEPTH_INTRINSICS = Intrinsics(width=640, height=480, fx=386.7, fy=386.7, cx=321.3, cy=238.6)
COLOR_INTRINSICS = Intrinsics(
    width=640,
    height=480,
    fx=382.8,
    fy=382.3,
    cx=318.4,
    cy=241.2,
    model="inverse_brown_conrady",
    coefficients=(-0.0553, 0.0652, -0.0005, 0.0004, -0.0207),
)
T_DEPTH_COLOR = make_pose(translation=(0.059, 0.0, 0.0))
_WORKING_AREA_M = np.array([[x, y, 0.03] for x in (0.38, 0.74) for y in (-0.34, 0.24)])
"""Corners of the area on the table in which the tasks put their objects."""
_MOVE_DRAWS = 1000
T_LINK_DEPTH = T_BODY_OPTICAL
"""camera_link (REP-103: x forward, y left, z up) from camera_depth_optical_frame; they share their origin on a D455."""


def look_at(position: tuple[float, float, float], target: tuple[float, float, float]) -> Array:
    """``T_base_optical`` of a level camera at a position that looks at a target; metres, base frame."""
    forward = np.subtract(target, position)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    return make_pose(np.stack([right, np.cross(forward, right), forward], axis=1), position)


T_BASE_DEPTH = look_at((0.95, 0.62, 0.56), (0.48, -0.06, 0.05))
"""Pose of camera_depth_optical_frame in the base frame: a tripod at the table's far left
corner, so that the arm, which comes from behind, hides neither the object at grasp nor the goal."""


@dataclass(frozen=True)
class CameraMove:
    """A camera that stands elsewhere than in training: moved by fixed amounts, in directions drawn by seed.

    Attributes:
        distance_m: how far it was moved.
        angle_rad: by how much it was turned.
        recalibrated: whether the observation path is told the new pose. If not, clouds are placed as if the camera
            still stood where it did in training: what a policy sees that works in the camera's frame.
    """

    distance_m: float = 0.10
    angle_rad: float = float(np.radians(15.0))
    recalibrated: bool = True

    def pose(self, T_base_depth: Array, seed: int) -> Array:
        """The new ``T_base_optical`` (4, 4). Directions that would lose sight of the working area are drawn again."""
        rng = np.random.default_rng((seed, 6))
        for _ in range(_MOVE_DRAWS):
            shift, axis = (_unit(rng.standard_normal(3)) for _ in range(2))
            turn = rotation_vector_to_matrix(axis * self.angle_rad)
            moved = make_pose(T_base_depth[:3, :3] @ turn, T_base_depth[:3, 3] + shift * self.distance_m)
            if _sees(moved, _WORKING_AREA_M):
                return moved
        raise ValueError(
            f"camera: no direction found in which it still sees the working area after {self.distance_m} m and "
            f"{np.degrees(self.angle_rad):.0f} degrees; move it less"
        )


class DepthCamera:
    """Renders depth images of a scene as a D455 would deliver them.

    Args:
        model: a compiled scene (see scene.py).
        noise: parameters of the noise, or None for exact depth.
        seed: seeds the noise fields that every image draws from.
    """

    def __init__(self, model: mujoco.MjModel, noise: DepthNoise | None = DEPTH_NOISE, seed: int = 0) -> None:
        self.intrinsics = DEPTH_INTRINSICS
        width, height = self.intrinsics.width, self.intrinsics.height
        self._renderer = DepthRenderer(model, DEPTH_CAMERA, width, height, DEPTH_GROUPS)
        self._stereo: StereoDepth | None = None
        if noise is not None:
            self._stereo = StereoDepth(self.intrinsics, BASELINE_M, noise, seed, _to_millimetres)

    def render(self, data: mujoco.MjData, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Depth image (480, 640) uint16 in millimetres, 0 where there is none, of the state in ``data``."""
        renderer = self._renderer
        buffer = renderer.render(data)
        if self._stereo is not None:
            return self._stereo.image(buffer, renderer.slope_per_m, renderer.offset_per_m, rng)
        return _to_millimetres(1.0 / (renderer.slope_per_m * buffer[::-1].astype(np.float64) + renderer.offset_per_m))

    def close(self) -> None:
        """Free the renderer; a second renderer without this gives empty frames under OSMesa."""
        self._renderer.close()


class ColorCamera:
    """Renders colour images through the D455's lens (inverse Brown-Conrady), with the robot's visual meshes or not.

    ``supersampling`` renders that many times finer and averages: without it the corners of a calibration board lie up
    to a sixth of a pixel beside their true place.
    """

    def __init__(self, model: mujoco.MjModel, *, visual_meshes: bool = False, supersampling: int = 1) -> None:
        self.intrinsics = COLOR_INTRINSICS
        self._camera = COLOR_CAMERA
        self._supersampling = supersampling
        samples, model.vis.quality.offsamples = model.vis.quality.offsamples, 0
        height, width = self.intrinsics.height * supersampling, self.intrinsics.width * supersampling
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, height)
        self._renderer = mujoco.Renderer(model, height, width)
        model.vis.quality.offsamples = samples
        self._options = geometry_options(PICTURE_GROUPS if visual_meshes else (0, *DEPTH_GROUPS))
        scene = self._renderer.scene
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            scene.flags[flag] = visual_meshes
        self._map = lens_map(self.intrinsics)

    def render(self, data: mujoco.MjData) -> NDArray[np.uint8]:
        """Colour image (480, 640, 3) uint8 RGB of the state in ``data``."""
        self._renderer.update_scene(data, self._camera, self._options)
        ideal = self._renderer.render()
        if self._supersampling > 1:
            ideal = cv2.resize(ideal, (self.intrinsics.width, self.intrinsics.height), interpolation=cv2.INTER_AREA)
        method = cv2.INTER_LINEAR if self._supersampling == 1 else cv2.INTER_CUBIC
        image = cv2.remap(ideal, *self._map, method, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(image, dtype=np.uint8)

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))


def _sees(T_base_depth: Array, points_m: Array) -> bool:
    """Whether all points (n, 3) of the base frame lie in the depth image."""
    inside = (points_m - T_base_depth[:3, 3]) @ T_base_depth[:3, :3]
    u, v = project(inside, DEPTH_INTRINSICS).T
    in_image = (u > 0) & (u < DEPTH_INTRINSICS.width - 1) & (v > 0) & (v < DEPTH_INTRINSICS.height - 1)
    return bool((inside[:, 2] > DEPTH_MIN_M).all() and in_image.all())


def _to_millimetres(depth_m: Array) -> NDArray[np.uint16]:
    """What the camera reports of distances: millimetres, 0 where it has no reading."""
    valid = (depth_m >= DEPTH_MIN_M) & (depth_m <= DEPTH_MAX_M)
    return np.where(valid, depth_m * 1000.0 + 0.5, 0.0).astype(np.uint16)


LensMap = tuple[NDArray[np.float32], NDArray[np.float32]]


def lens_map(intrinsics: Intrinsics, rendered: Intrinsics | None = None) -> LensMap:
    """Where each pixel of the distorted image lies in an undistorted render: columns and rows, (height, width) float32.

    The render has the same focal length, centre and size unless ``rendered`` says otherwise.
    """
    rays = pixel_rays(intrinsics)
    rendered = rendered or intrinsics
    map_x = rays[..., 0] * rendered.fx + rendered.cx
    map_y = rays[..., 1] * rendered.fy + rendered.cy
    return map_x.astype(np.float32), map_y.astype(np.float32)
