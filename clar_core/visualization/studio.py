"""Pictures of the simulated cell for people: a third-person view with the robot's visual meshes, lit like a studio.

What a policy sees is rendered elsewhere (``clar_core.simulation.camera``). Here a recorded state is drawn again, after
the fact: all that moves is in ``qpos``.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from clar_core.simulation.camera import PICTURE_GROUPS
from clar_core.simulation.depth_render import geometry_options
from clar_core.simulation.scene import compile_model
from clar_core.simulation.tasks import get_task

Image = NDArray[np.uint8]

_FLOOR_RGBA = (0.66, 0.69, 0.73, 1.0)
_HAZE_RGBA = (0.80, 0.83, 0.87, 1.0)
_TABLE_RGBA = (0.76, 0.69, 0.58, 1.0)
_PEDESTAL_RGBA = (0.30, 0.33, 0.37, 1.0)


@dataclass(frozen=True)
class Viewpoint:
    """An orbit camera: what it looks at (metres, base frame), from how far, and the two angles in degrees."""

    target_m: tuple[float, float, float] = (0.37, -0.01, 0.17)
    distance_m: float = 1.55
    azimuth_deg: float = 134.0
    elevation_deg: float = -27.0


class Studio:
    """Draws states of one task's cell. Holds an OpenGL context: use as a context manager, from one thread.

    Args:
        task: registered task name. Raises UnknownTaskError for others.
        width, height: size of the pictures in pixels.
        viewpoint: where the camera stands.
    """

    def __init__(self, task: str, width: int = 960, height: int = 540, viewpoint: Viewpoint = Viewpoint()) -> None:
        self.task = get_task(task)
        self._size = (width, height)
        self._model = _studio_model(compile_model(self.task, visual_meshes=True))
        self._data = mujoco.MjData(self._model)
        # Drawn a third larger and shrunk: on a CPU that smooths edges at a fraction of multi-sampling's cost.
        wide, high = (round(side * 4 / 3) for side in self._size)
        self._model.vis.global_.offwidth, self._model.vis.global_.offheight = wide, high
        self._renderer = mujoco.Renderer(self._model, high, wide)
        self._options = geometry_options(PICTURE_GROUPS)
        self._camera = mujoco.MjvCamera()
        self._camera.lookat[:] = viewpoint.target_m
        self._camera.distance = viewpoint.distance_m
        self._camera.azimuth, self._camera.elevation = viewpoint.azimuth_deg, viewpoint.elevation_deg
        flags = self._renderer.scene.flags
        flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = False
        flags[mujoco.mjtRndFlag.mjRND_FOG] = True

    def __enter__(self) -> Studio:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def draw(self, qpos: ArrayLike) -> Image:
        """Picture (height, width, 3) uint8 RGB of the cell at generalised positions ``qpos``.

        Raises:
            ValueError: ``qpos`` has not the size of this task's model.
        """
        positions = np.asarray(qpos, dtype=np.float64)
        if positions.shape != (self._model.nq,):
            raise ValueError(
                f"qpos: expected {self._model.nq} numbers for {self.task.name}, got shape {positions.shape}"
            )
        self._data.qpos[:] = positions
        mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, self._camera, self._options)
        _add_pedestal(self._renderer.scene)
        return np.asarray(cv2.resize(self._renderer.render(), self._size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

    def close(self) -> None:
        """Free the OpenGL context."""
        self._renderer.close()


def _studio_model(model: mujoco.MjModel) -> mujoco.MjModel:
    """Plain floor, soft light, a shadow map of a size that a CPU can afford."""
    ground, table = model.geom("ground"), model.geom("table")
    ground.matid[:] = -1
    ground.rgba[:] = _FLOOR_RGBA
    table.rgba[:] = _TABLE_RGBA
    ground.size[:2] = 0.0
    model.vis.headlight.ambient[:] = 0.32
    model.vis.headlight.diffuse[:] = 0.12
    model.vis.headlight.specular[:] = 0.0
    for light, strength in (("key_light", 0.52), ("fill_light", 0.14), ("rim_light", 0.14)):
        model.light(light).diffuse[:] = strength
    model.light_specular[:] = 0.1
    model.vis.rgba.fog[:] = _HAZE_RGBA
    model.vis.map.fogstart, model.vis.map.fogend = 2.0, 6.0
    model.vis.quality.shadowsize = 1024
    model.vis.quality.offsamples = 0
    return model


def _add_pedestal(scene: mujoco.MjvScene) -> None:
    """Put the robot on a column: in the physics its base is simply fixed."""
    if scene.ngeom >= scene.maxgeom:
        return
    mujoco.mjv_initGeom(
        scene.geoms[scene.ngeom],
        mujoco.mjtGeom.mjGEOM_BOX,
        np.array([0.11, 0.11, 0.372]),
        np.array([-0.03, 0.0, -0.376]),
        np.eye(3).flatten(),
        np.array(_PEDESTAL_RGBA, dtype=np.float32),
    )
    scene.geoms[scene.ngeom].category = mujoco.mjtCatBit.mjCAT_DECOR
    scene.ngeom += 1
