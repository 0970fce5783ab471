"""place_cube_in_basin: pick a 5 cm cube from the table and put it in a basin."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import ClassVar

import mujoco
import numpy as np

from clar_core.control.action import Action
from clar_core.geometry.poses import Array
from clar_core.simulation.expert import SetDown, TopDownGrasp, retreat, top_grasp, yaw_of
from clar_core.simulation.tasks.base import CellView, box, free_body, place_body, place_free_body, placed_body

CUBE_M = 0.05
BASIN_HALF_M = 0.08
BASIN_HEIGHT_M = 0.05
_WALL_M = 0.004
_GRASP, _PLACE = TopDownGrasp(width_m=CUBE_M), SetDown()


class PlaceCubeInBasin:
    """The cube starts on the left of the table with any yaw, the basin stands on the right."""

    name: ClassVar[str] = "place_cube_in_basin"
    instructions: ClassVar[tuple[str, ...]] = (
        "put the red cube into the blue basin",
        "place the cube in the basin",
        "pick up the cube and drop it into the bowl",
        "move the red block into the container",
    )
    unseen_instructions: ClassVar[tuple[str, ...]] = (
        "drop the cube into the blue basin",
        "the red cube belongs in the basin",
    )
    objects: ClassVar[tuple[str, ...]] = ("cube", "basin")
    time_limit_s: ClassVar[float] = 20.0

    def add_bodies(self, worldbody: ET.Element) -> None:
        """Append the cube and the basin."""
        cube = free_body(worldbody, "cube", height_m=CUBE_M / 2)
        half = CUBE_M / 2
        box(cube, (0, 0, 0), (half, half, half), "0.85 0.12 0.10", mass="0.06", friction="1.5 0.05 0.001", condim="4")
        basin = placed_body(worldbody, "basin", mass_kg=1.0)
        box(basin, (0, 0, _WALL_M), (BASIN_HALF_M, BASIN_HALF_M, _WALL_M), "0.15 0.35 0.75")
        for axis in (0, 1):
            for side in (-1, 1):
                position, size = [0.0, 0.0, BASIN_HEIGHT_M / 2], [BASIN_HALF_M, BASIN_HALF_M, BASIN_HEIGHT_M / 2]
                position[axis], size[axis] = side * (BASIN_HALF_M - _WALL_M), _WALL_M
                box(basin, (position[0], position[1], position[2]), (size[0], size[1], size[2]), "0.15 0.35 0.75")

    def reset(self, model: mujoco.MjModel, data: mujoco.MjData, rng: np.random.Generator) -> None:
        """Cube anywhere in a 22 x 26 cm field with any yaw, basin in an 18 x 10 cm field."""
        yaw = rng.uniform(-np.pi, np.pi)
        x, y = rng.uniform(0.40, 0.62), rng.uniform(-0.04, 0.22)
        place_free_body(data, "cube", x, y, CUBE_M / 2 + 0.001, yaw)
        place_body(data, "basin", rng.uniform(0.42, 0.60), rng.uniform(-0.32, -0.22))

    def success(self, view: CellView) -> bool:
        """The cube rests inside the basin and the gripper has let go of it."""
        offset = view.body_pose("cube")[:3, 3] - view.body_pose("basin")[:3, 3]
        inside = np.abs(offset[:2]).max() < BASIN_HALF_M - _WALL_M and offset[2] < BASIN_HEIGHT_M
        return bool(inside and _GRASP.has_let_go(view.gripper_width_m))

    def expert(self, view: CellView) -> Action:
        """Above the cube, down, close; up, across, down into the basin, open."""
        T_base_cube, basin = view.body_pose("cube"), view.body_pose("basin")[:3, 3]
        cube, T_base_tcp = T_base_cube[:3, 3], view.T_base_tcp
        if _GRASP.holds(T_base_tcp, view.gripper_width_m, cube):
            return _PLACE.step(T_base_tcp, basin)
        if bool(np.linalg.norm((cube - basin)[:2]) < BASIN_HALF_M) and cube[2] < BASIN_HEIGHT_M:
            return retreat(T_base_tcp)
        rotation = top_grasp(_flat_yaw(T_base_cube[:3, :3]), T_base_tcp[:3, :3], np.pi / 2)
        return _GRASP.approach(T_base_tcp, view.gripper_width_m, cube, rotation)


def _flat_yaw(rotation: Array) -> float:
    """Yaw of the cube's most horizontal pair of axes: a toppled cube is a cube."""
    flat = [axis for axis in rotation.T if abs(axis[2]) < 0.5]
    return float(np.arctan2(flat[0][1], flat[0][0])) if flat else yaw_of(rotation)
