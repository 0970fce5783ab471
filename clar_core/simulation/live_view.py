"""What can be seen of a live cell: depth and colour images and the task's success, from snapshots of its state.

Rendering happens on a copy of the scene in the reader's process, so that it never holds up the physics.
"""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from clar_core.simulation.camera import ColorCamera, DepthCamera
from clar_core.simulation.depth_noise import DEPTH_NOISE, DepthNoise
from clar_core.simulation.live_snapshot import Snapshot
from clar_core.simulation.plate import Plate
from clar_core.simulation.scene import RobotIndices, compile_model
from clar_core.simulation.tasks import CellView, get_task


class LiveView:
    """A copy of the scene with its cameras. Make it, use it and close it in one thread, which owns the renderers.

    Args:
        task: the task whose objects stand in the cell.
        noise: depth noise, None for exact depth.
        visual_meshes: show the robot's fine meshes in colour images.
        seed: seeds the depth noise.
        plate: a printed plate that the scene of the physics need not have.
    """

    def __init__(
        self,
        task: str,
        *,
        noise: DepthNoise | None = DEPTH_NOISE,
        visual_meshes: bool = False,
        seed: int = 0,
        plate: Plate | None = None,
    ) -> None:
        self.task = get_task(task)
        self.model = compile_model(self.task, visual_meshes=visual_meshes, plate=plate)
        self.data = mujoco.MjData(self.model)
        self._robot = RobotIndices.of(self.model)
        self._random = np.random.default_rng(seed)
        self.depth_camera = DepthCamera(self.model, noise, seed=seed)
        self.color_camera = ColorCamera(self.model, visual_meshes=visual_meshes, supersampling=2 if plate else 1)

    def show(self, snapshot: Snapshot) -> None:
        """Take the state of a snapshot. Raises ValueError when it is of another task's scene."""
        snapshot.apply(self.model, self.data)

    def depth(self) -> NDArray[np.uint16]:
        """Depth image (480, 640) uint16 in millimetres, 0 where there is none."""
        return self.depth_camera.render(self.data, self._random)

    def color(self) -> NDArray[np.uint8]:
        """Colour image (480, 640, 3) uint8, RGB."""
        return self.color_camera.render(self.data)

    @property
    def truth(self) -> CellView:
        """The true state, for predicates and experts."""
        robot = self._robot
        return CellView(self.model, self.data, robot.tcp_pose(self.data), robot.gripper_width_m(self.data))

    def success(self) -> bool:
        """Whether the task is done in this state."""
        return self.task.success(self.truth)

    def close(self) -> None:
        """Free the renderers."""
        self.color_camera.close()
        self.depth_camera.close()
