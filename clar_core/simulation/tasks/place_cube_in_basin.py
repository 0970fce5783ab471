"""place_cube_in_basin: pick a 5 cm cube from the table and put it in a basin."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import ClassVar

import mujoco
import numpy as np

from clar_core.control.action import Action
from clar_core.geometry.poses import Array
from clar_core.simulation.expert import CLOSED, OPEN, hold, step_towards, top_grasp, yaw_of
from clar_core.simulation.tasks.base import CellView, box, place_body, placed_body

CUBE_M = 0.05
BASIN_HALF_M = 0.08
BASIN_HEIGHT_M = 0.05
_WALL_M = 0.004
_CLEARANCE_M = 0.15


class PlaceCubeInBasin:
    """The cube starts on the left of the table with any yaw, the basin stands on the right."""

    name: ClassVar[str] = "place_cube_in_basin"
    instructions: ClassVar[tuple[str, ...]] = (
        "put the red cube into the blue basin",
        "place the cube in the basin",
        "pick up the cube and drop it into the bowl",
        "move the red block into the container",
    )
    time_limit_s: ClassVar[float] = 20.0

    def add_bodies(self, worldbody: ET.Element) -> None:
        """Append the cube and the basin."""
        cube = ET.SubElement(worldbody, "body", name="cube", pos=f"0.5 0.1 {CUBE_M / 2}")
        ET.SubElement(cube, "freejoint", name="cube")
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
        cube = data.joint("cube")
        cube.qpos[:] = [
            rng.uniform(0.40, 0.62), rng.uniform(-0.04, 0.22), CUBE_M / 2 + 0.001,
            np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2),
        ]  # fmt: skip
        cube.qvel[:] = 0.0
        place_body(data, "basin", rng.uniform(0.42, 0.60), rng.uniform(-0.32, -0.22))

    def success(self, view: CellView) -> bool:
        """The cube rests inside the basin and the gripper has let go of it."""
        offset = view.body_pose("cube")[:3, 3] - view.body_pose("basin")[:3, 3]
        inside = np.abs(offset[:2]).max() < BASIN_HALF_M - _WALL_M and offset[2] < BASIN_HEIGHT_M
        return bool(inside and view.gripper_width_m > CUBE_M + 0.012)

    def expert(self, view: CellView) -> Action:
        """Above the cube, down, close; up, across, down into the basin, open."""
        T_base_cube, basin = view.body_pose("cube"), view.body_pose("basin")[:3, 3]
        cube, tcp, width = T_base_cube[:3, 3], view.T_base_tcp[:3, 3], view.gripper_width_m
        rotation = top_grasp(_flat_yaw(T_base_cube[:3, :3]), view.T_base_tcp[:3, :3], np.pi / 2)
        between_fingers = bool(np.linalg.norm((cube - tcp)[:2]) < 0.020) and abs(cube[2] - tcp[2]) < 0.022
        if between_fingers and width < CUBE_M + 0.004:
            return self._carry(view, basin)
        if bool(np.linalg.norm((cube - basin)[:2]) < BASIN_HALF_M) and cube[2] < BASIN_HEIGHT_M:
            return step_towards(view.T_base_tcp, np.array([tcp[0], tcp[1], 0.20]), view.T_base_tcp[:3, :3], OPEN)
        return self._grasp(view, cube, rotation, between_fingers)

    def _grasp(self, view: CellView, cube: Array, rotation: Array, between_fingers: bool) -> Action:
        tcp = view.T_base_tcp[:3, 3]
        aside = float(np.linalg.norm((cube - tcp)[:2]))
        turned = float(np.trace(rotation @ view.T_base_tcp[:3, :3].T)) > 1 + 2 * np.cos(0.12)
        aligned = aside < 0.010 and turned
        if between_fingers and aside < 0.017 and tcp[2] - cube[2] < 0.013:
            return hold(CLOSED)
        if aligned or (turned and aside < 0.016 and tcp[2] < 0.09):
            # Aimed below where the fingers close: a policy that learned to slow down there would never arrive.
            return step_towards(view.T_base_tcp, cube - (0.0, 0.0, 0.008), rotation, OPEN, near=tcp[2] < 0.09)
        if view.gripper_width_m < CUBE_M + 0.012 and tcp[2] < 0.09:
            return step_towards(view.T_base_tcp, np.array([tcp[0], tcp[1], 0.14]), rotation, OPEN)
        low_and_aside = tcp[2] < 0.08 and aside > 0.016
        above = np.array([tcp[0], tcp[1], 0.13]) if low_and_aside else np.array([cube[0], cube[1], 0.11])
        return step_towards(view.T_base_tcp, above, rotation, OPEN)

    def _carry(self, view: CellView, basin: Array) -> Action:
        tcp, rotation = view.T_base_tcp[:3, 3], view.T_base_tcp[:3, :3]
        upright = top_grasp(_finger_yaw(rotation), rotation, np.pi)
        aside = float(np.linalg.norm((basin - tcp)[:2]))
        if aside < 0.030 and tcp[2] < 0.085:
            return hold(OPEN)
        if aside < 0.025:
            return step_towards(view.T_base_tcp, np.array([basin[0], basin[1], 0.060]), upright, CLOSED)
        if tcp[2] < 0.10 and aside > 0.06:
            rise = np.array([tcp[0], tcp[1], _CLEARANCE_M])
            return step_towards(view.T_base_tcp, rise, upright, CLOSED, near=tcp[2] < 0.05)
        return step_towards(view.T_base_tcp, np.array([basin[0], basin[1], _CLEARANCE_M]), upright, CLOSED)


def _flat_yaw(rotation: Array) -> float:
    """Yaw of the cube's most horizontal pair of axes: a toppled cube is a cube."""
    flat = [axis for axis in rotation.T if abs(axis[2]) < 0.5]
    return float(np.arctan2(flat[0][1], flat[0][0])) if flat else yaw_of(rotation)


def _finger_yaw(rotation: Array) -> float:
    return float(np.arctan2(rotation[1, 0], rotation[0, 0]))
