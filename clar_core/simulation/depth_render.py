"""Depth buffers of a scene, as the graphics library leaves them.

A perspective depth buffer is linear in the inverse of the distance, which is what a stereo camera measures. So nothing
is converted here: who wants disparities scales the buffer, who wants distances divides once.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

_MAX_GEOMETRIES = 10_000


class DepthRenderer:
    """Renders the depth buffer of one camera of a scene.

    The inverse of the distance along the optical axis is ``slope_per_m * buffer + offset_per_m``, in 1/m.

    Args:
        model: a compiled scene.
        camera: name of the camera.
        width, height: size of the image in pixels, no larger than the scene's offscreen buffer.
        groups: geometry groups that it sees.

    Raises:
        ValueError: the scene has no such camera, or a smaller offscreen buffer.
    """

    def __init__(self, model: mujoco.MjModel, camera: str, width: int, height: int, groups: Sequence[int]) -> None:
        largest = model.vis.global_.offwidth, model.vis.global_.offheight
        if width > largest[0] or height > largest[1]:
            raise ValueError(
                f"depth image: expected at most {largest} pixels (offwidth, offheight), got {width, height}"
            )
        self._model = model
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        if self._camera.fixedcamid < 0:
            raise ValueError(f"camera: the scene has none named {camera!r}")
        self._options = geometry_options(groups)
        self._scene = mujoco.MjvScene(model, _MAX_GEOMETRIES)
        for flag in (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR):
            self._scene.flags[flag] = True  # no light, no shadow, no sky: they would cost time and change nothing
        self._context = mujoco.GLContext(width, height)
        self._context.make_current()
        samples, model.vis.quality.offsamples = model.vis.quality.offsamples, 0  # distances must not be averaged
        self._buffers = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        model.vis.quality.offsamples = samples
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._buffers)
        self._buffers.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._buffer = np.empty((height, width), dtype=np.float32)
        near_m, far_m = (model.stat.extent * plane for plane in (model.vis.map.znear, model.vis.map.zfar))
        self.slope_per_m, self.offset_per_m = 1.0 / near_m - 1.0 / far_m, 1.0 / far_m

    def render(self, data: mujoco.MjData) -> NDArray[np.float32]:
        """The buffer (height, width) float32, 0 far and 1 near, **the bottom row first**; the same array each time."""
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, data, self._options, None, self._camera, everything, self._scene)
        self._context.make_current()
        mujoco.mjr_render(self._rectangle, self._scene, self._buffers)
        mujoco.mjr_readPixels(None, self._buffer, self._rectangle, self._buffers)
        return self._buffer

    def close(self) -> None:
        """Free the buffers; a second renderer without this gives empty frames under OSMesa."""
        self._context.free()
        self._buffers.free()


def geometry_options(groups: Sequence[int]) -> mujoco.MjvOption:
    """Visualisation options that show these geometry groups and nothing else."""
    options = mujoco.MjvOption()
    options.geomgroup[:] = 0
    options.geomgroup[list(groups)] = 1
    options.sitegroup[:] = 0
    return options
