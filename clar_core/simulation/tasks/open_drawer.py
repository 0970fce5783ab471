"""open_drawer: pull the drawer of a small cabinet open by its handle."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import ClassVar

import mujoco
import numpy as np

from clar_core.control.action import Action
from clar_core.geometry.poses import Array, make_pose
from clar_core.simulation.expert import CLOSED, OPEN, hold, step_towards, top_grasp, yaw_of
from clar_core.simulation.tasks.base import CellView, box, place_body, placed_body

OPENED_M = 0.10
"""The drawer counts as open from here."""
TRAVEL_M = 0.16
HANDLE_HEIGHT_M = 0.080
HANDLE_THICKNESS_M = 0.018
_HALF_DEPTH_M, _HALF_WIDTH_M, _HEIGHT_M, _WALL_M = 0.10, 0.11, 0.10, 0.005
_FRONT_X_M = -_HALF_DEPTH_M - 0.008
_HANDLE_OFFSET_M = 0.072
"""An open hand over the bar leaves 2 cm between its far finger and the drawer's front."""
_COLOR, _FRONT, _HANDLE = "0.62 0.47 0.32", "0.72 0.57 0.40", "0.25 0.25 0.28"


class OpenDrawer:
    """The cabinet stands opposite the robot, its drawer facing it; its handle is a bar, grasped from above."""

    name: ClassVar[str] = "open_drawer"
    instructions: ClassVar[tuple[str, ...]] = (
        "open the drawer",
        "pull the drawer open",
        "grab the handle and open the cabinet drawer",
        "slide the drawer out",
    )
    unseen_instructions: ClassVar[tuple[str, ...]] = (
        "the drawer should be open",
        "pull out the drawer of the cabinet",
    )
    objects: ClassVar[tuple[str, ...]] = ("drawer",)
    time_limit_s: ClassVar[float] = 20.0

    def add_bodies(self, worldbody: ET.Element) -> None:
        """Append the cabinet and, on a slide joint in it, the drawer."""
        cabinet = placed_body(worldbody, "cabinet", mass_kg=10.0)
        depth, width, wall, top = _HALF_DEPTH_M, _HALF_WIDTH_M, _WALL_M, _HEIGHT_M
        box(cabinet, (0, 0, top - wall), (depth, width, wall), _COLOR)
        box(cabinet, (depth - wall, 0, top / 2), (wall, width, top / 2), _COLOR)
        for side in (-1, 1):
            box(cabinet, (0, side * (width - wall), top / 2), (depth, wall, top / 2), _COLOR)
        drawer = ET.SubElement(cabinet, "body", name="drawer")
        ET.SubElement(
            drawer,
            "joint",
            name="drawer",
            type="slide",
            axis="-1 0 0",
            limited="true",
            range=f"0 {TRAVEL_M}",
            damping="8",
            frictionloss="1.5",
        )
        # The drawer touches the hand, never the cabinet that guides it: its box is seen but takes no part in contacts.
        seen = {"contype": "0", "conaffinity": "0", "mass": "0.1"}
        front = _FRONT_X_M
        box(drawer, (front, 0, top / 2), (0.006, width, top / 2 - 0.004), _FRONT, mass="0.2")
        box(drawer, (0, 0, 0.020), (depth - 0.014, width - 0.018, 0.003), _FRONT, **seen)
        for side in (-1, 1):
            box(drawer, (0, side * (width - 0.020), 0.045), (depth - 0.014, 0.003, 0.028), _FRONT, **seen)
        half, bar = HANDLE_THICKNESS_M / 2, front - _HANDLE_OFFSET_M
        box(drawer, (bar, 0, HANDLE_HEIGHT_M), (half, 0.05, half), _HANDLE, mass="0.05", condim="4")
        for side in (-1, 1):
            middle, reach = (front + bar) / 2, _HANDLE_OFFSET_M / 2
            box(drawer, (middle, side * 0.044, HANDLE_HEIGHT_M), (reach, 0.005, 0.005), _HANDLE, mass="0.02")

    def reset(self, model: mujoco.MjModel, data: mujoco.MjData, rng: np.random.Generator) -> None:
        """Cabinet anywhere in an 8 x 24 cm field, turned by up to 0.25 rad; the drawer is shut."""
        place_body(data, "cabinet", rng.uniform(0.66, 0.74), rng.uniform(-0.14, 0.10), rng.uniform(-0.25, 0.25))
        data.joint("drawer").qpos[0] = 0.0
        data.joint("drawer").qvel[0] = 0.0

    def success(self, view: CellView) -> bool:
        """The drawer is out by 10 cm."""
        return view.joint_position("drawer") >= OPENED_M

    def expert(self, view: CellView) -> Action:
        """Above the handle, down over it, close, pull along the drawer's axis."""
        T_base_drawer = view.body_pose("drawer")
        T_base_handle = T_base_drawer @ make_pose(translation=(_FRONT_X_M - _HANDLE_OFFSET_M, 0.0, HANDLE_HEIGHT_M))
        handle, tcp, width = T_base_handle[:3, 3], view.T_base_tcp[:3, 3], view.gripper_width_m
        # The fingers open along the TCP's y axis; across the bar means along the drawer's x axis.
        rotation = top_grasp(yaw_of(T_base_drawer[:3, :3]) + np.pi / 2, view.T_base_tcp[:3, :3], np.pi)
        offset = T_base_handle[:3, :3].T @ (tcp - handle)
        around = abs(offset[0]) < 0.014 and abs(offset[1]) < 0.025 and abs(offset[2]) < 0.014
        if around and width < HANDLE_THICKNESS_M + 0.006:
            return step_towards(view.T_base_tcp, self._pulled(T_base_drawer, tcp), rotation, CLOSED)
        if around and offset[2] < 0.009 and abs(offset[0]) < 0.012:
            return hold(CLOSED)
        return self._approach(view, handle, rotation, offset)

    def _pulled(self, T_base_drawer: Array, tcp: Array) -> Array:
        return tcp - 0.06 * T_base_drawer[:3, 0]

    def _approach(self, view: CellView, handle: Array, rotation: Array, offset: Array) -> Action:
        tcp = view.T_base_tcp[:3, 3]
        turned = float(np.trace(rotation @ view.T_base_tcp[:3, :3].T)) > 1 + 2 * np.cos(0.12)
        aside = float(np.linalg.norm(offset[:2]))
        if turned and (aside < 0.008 or (aside < 0.014 and offset[2] < 0.06)):
            deeper = handle - (0.0, 0.0, 0.006)
            return step_towards(view.T_base_tcp, deeper, rotation, OPEN, near=offset[2] < 0.06)
        low = offset[2] < 0.05
        above = np.array([tcp[0], tcp[1], handle[2] + 0.09]) if low else handle + np.array([0.0, 0.0, 0.075])
        return step_towards(view.T_base_tcp, above, rotation, OPEN)
