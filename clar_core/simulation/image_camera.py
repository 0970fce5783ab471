"""The D455's colour camera as stores keep its images: through the lens, resized to a square, with depth and labels."""

from __future__ import annotations

from typing import Any

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from clar_core.simulation.camera import COLOR_CAMERA, COLOR_INTRINSICS, DEPTH_GROUPS, lens_map
from clar_core.simulation.depth_render import geometry_options

_DEPTH_MAX_M = 6.0


class ImageCamera:
    """Square colour images of a scene, with what belongs to their pixels.

    Args:
        model: a compiled scene (see scene.py).
        size: S, pixels along a side.
    """

    def __init__(self, model: mujoco.MjModel, size: int) -> None:
        self.size = size
        self.intrinsics = COLOR_INTRINSICS.scaled(size, size)
        samples, model.vis.quality.offsamples = model.vis.quality.offsamples, 0
        self._renderer = mujoco.Renderer(model, COLOR_INTRINSICS.height, COLOR_INTRINSICS.width)
        model.vis.quality.offsamples = samples
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._renderer.scene.flags[flag] = False
        self._options = geometry_options((0, *DEPTH_GROUPS))
        self._full_map = lens_map(COLOR_INTRINSICS)
        self._small_map = lens_map(self.intrinsics, COLOR_INTRINSICS)

    def image(self, data: mujoco.MjData) -> NDArray[np.uint8]:
        """RGB (S, S, 3) uint8 of the state in ``data``."""
        rendered = self._rendered(data)
        lens = cv2.remap(rendered, *self._full_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(cv2.resize(lens, (self.size, self.size), interpolation=cv2.INTER_AREA), dtype=np.uint8)

    def depth(self, data: mujoco.MjData) -> NDArray[np.uint16]:
        """Depth (S, S) uint16 of the image, mm along its optical axis, without noise; 0 beyond 6 m."""
        self._renderer.enable_depth_rendering()
        depth = self._sampled(self._rendered(data))
        self._renderer.disable_depth_rendering()
        return np.where(depth <= _DEPTH_MAX_M, depth * 1000.0 + 0.5, 0.0).astype(np.uint16)

    def labels(self, data: mujoco.MjData, of_geoms: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Labels (S, S) uint8 of the image's pixels, given that of every geometry (ngeom,); 0 where there is none."""
        self._renderer.enable_segmentation_rendering()
        rendered = self._rendered(data)
        self._renderer.disable_segmentation_rendering()
        geoms = np.where(rendered[..., 1] == mujoco.mjtObj.mjOBJ_GEOM, rendered[..., 0], -1)
        return self._sampled(np.append(of_geoms, 0).astype(np.uint8)[geoms])

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def _rendered(self, data: mujoco.MjData) -> NDArray[Any]:
        self._renderer.update_scene(data, COLOR_CAMERA, self._options)
        return self._renderer.render()  # type: ignore[no-any-return]

    def _sampled(self, rendered: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(cv2.remap(rendered, *self._small_map, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE))
