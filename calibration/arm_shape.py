"""Where the arm must appear in a depth image, by its model: rays against the geometry, no rendering and no GPU."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from clar_calibration.kinematics import arm_model
from clar_core.geometry.camera import Intrinsics, pixel_rays
from clar_core.simulation.scene import RobotIndices

Array = NDArray[np.float64]

COLLISION_SHAPE, VISUAL_SHAPE = 3, 2
"""Geometry groups: the simulated depth camera sees the coarse shape, a real one the fine meshes."""
SIMULATED_SERIAL = "simulated"


@dataclass(frozen=True, eq=False)
class Expected:
    """The arm in a grid of pixels, every ``stride`` pixels.

    Attributes:
        stride: pixels between rays.
        depth_m: (h', w') depth along the optical axis, inf where the arm is not.
    """

    stride: int
    depth_m: Array

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(h', w') where the arm is."""
        return np.isfinite(self.depth_m)


class ArmShape:
    """The arm's surface in any posture.

    Args:
        model: a scene with the robot.
        group: which of its shapes.
    """

    def __init__(self, model: mujoco.MjModel, group: int = COLLISION_SHAPE) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        self._robot = RobotIndices.of(model)
        self._groups = np.zeros(6, dtype=np.uint8)
        self._groups[group] = 1

    @classmethod
    def seen_by(cls, camera_serial: str) -> ArmShape:
        """The shape that a camera sees: the fine meshes, or in the simulated cell the coarse ones."""
        simulated = camera_serial == SIMULATED_SERIAL
        return cls(arm_model(visual_meshes=not simulated), COLLISION_SHAPE if simulated else VISUAL_SHAPE)

    def expect(
        self,
        joints_rad: Array,
        gripper_width_m: float,
        T_base_camera: Array,
        intrinsics: Intrinsics,
        *,
        stride: int = 4,
        far_m: float = 4.0,
    ) -> Expected:
        """Cast rays through every ``stride``-th pixel of a camera at ``T_base_camera`` (4, 4)."""
        self._data.qpos[self._robot.arm_qpos] = joints_rad
        self._data.qpos[self._robot.finger_qpos] = 0.5 * gripper_width_m
        mujoco.mj_kinematics(self._model, self._data)
        rays = pixel_rays(intrinsics)[::stride, ::stride].astype(np.float64)
        shape = rays.shape[:2]
        lengths = np.linalg.norm(rays, axis=2, keepdims=True)
        directions = (rays / lengths).reshape(-1, 3) @ T_base_camera[:3, :3].T
        count = len(directions)
        geoms, distances = np.zeros(count, dtype=np.int32), np.zeros(count)
        mujoco.mj_multiRay(
            self._model,
            self._data,
            T_base_camera[:3, 3].copy(),
            np.ascontiguousarray(directions).ravel(),
            self._groups,
            1,
            -1,
            geoms,
            distances,
            count,
            far_m,
        )
        depth = np.where(distances >= 0, distances, np.inf).reshape(shape) / lengths[:, :, 0]
        return Expected(stride, depth)
