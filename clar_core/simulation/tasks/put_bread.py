"""put_bread: put a small loaf of bread on a plate."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import ClassVar

import mujoco
import numpy as np

from clar_core.control.action import Action
from clar_core.simulation.expert import SetDown, TopDownGrasp, retreat, top_grasp, yaw_of
from clar_core.simulation.tasks.base import (
    CellView,
    box,
    capsule,
    cylinder,
    free_body,
    place_body,
    place_free_body,
    placed_body,
    shape,
)

LOAF_LENGTH_M, LOAF_WIDTH_M, LOAF_HEIGHT_M = 0.110, 0.050, 0.046
PLATE_RADIUS_M = 0.085
PLATE_TOP_M = 0.014
_MIDDLE_M = 0.022
"""Height of the loaf's frame, and of the grasp, over its sole."""
_CRUST, _CRUMB, _PLATE, _RIM = "0.66 0.40 0.16", "0.86 0.66 0.38", "0.93 0.93 0.90", "0.20 0.38 0.62"
_RIM_PARTS = 24
_GRASP = TopDownGrasp(width_m=LOAF_WIDTH_M)
_PLACE = SetDown(
    clearance_m=0.14, lower_to_m=PLATE_TOP_M + _MIDDLE_M - 0.004, release_below_m=PLATE_TOP_M + _MIDDLE_M + 0.012
)


class PutBread:
    """The loaf starts on the left of the table with any yaw, the plate stands on the right."""

    name: ClassVar[str] = "put_bread"
    instructions: ClassVar[tuple[str, ...]] = (
        "put the bread on the plate",
        "place the loaf on the white plate",
        "pick up the bread and lay it on the plate",
        "move the bread to the dish",
    )
    unseen_instructions: ClassVar[tuple[str, ...]] = (
        "the bread goes on the plate",
        "set the small loaf down on the plate",
    )
    objects: ClassVar[tuple[str, ...]] = ("loaf", "plate")
    time_limit_s: ClassVar[float] = 20.0

    def add_bodies(self, worldbody: ET.Element) -> None:
        """Append the loaf, a box with a domed crust and cuts across it, and the plate with its rim."""
        loaf = free_body(worldbody, "loaf", height_m=_MIDDLE_M)
        half_width, half_length = LOAF_WIDTH_M / 2, LOAF_LENGTH_M / 2
        top = LOAF_HEIGHT_M - _MIDDLE_M
        grip = {"friction": "1.5 0.05 0.002", "condim": "4"}
        box(loaf, (0, 0, -0.007), (half_length - 0.010, half_width, _MIDDLE_M - 0.007), _CRUST, mass="0.06", **grip)
        for side in (-1, 1):
            box(loaf, (side * (half_length - 0.006), 0, -0.006), (0.006, 0.020, 0.014), _CRUST, mass="0.01")
        shape(loaf, "ellipsoid", (half_length, half_width - 0.001, top), _CRUST, pos="0 0 0", mass="0.02")
        for x in (-0.027, 0.0, 0.027):
            cut = {"contype": "0", "conaffinity": "0", "mass": "0"}
            capsule(loaf, (x - 0.007, -0.012, top - 0.004), (x + 0.007, 0.012, top - 0.004), 0.003, _CRUMB, **cut)
        plate = placed_body(worldbody, "plate", mass_kg=1.0)
        cylinder(plate, (0, 0, PLATE_TOP_M / 2), PLATE_RADIUS_M, PLATE_TOP_M / 2, _PLATE)
        angles = np.linspace(0.0, 2 * np.pi, _RIM_PARTS + 1)
        rim = [(PLATE_RADIUS_M * np.cos(a), PLATE_RADIUS_M * np.sin(a), PLATE_TOP_M + 0.001) for a in angles]
        for start, end in pairwise(rim):
            capsule(plate, start, end, 0.005, _RIM)

    def reset(self, model: mujoco.MjModel, data: mujoco.MjData, rng: np.random.Generator) -> None:
        """Loaf anywhere in a 20 x 22 cm field with any yaw, plate in an 18 x 10 cm field."""
        x, y, yaw = rng.uniform(0.40, 0.60), rng.uniform(-0.02, 0.20), rng.uniform(-np.pi, np.pi)
        place_free_body(data, "loaf", x, y, _MIDDLE_M + 0.001, yaw)
        place_body(data, "plate", rng.uniform(0.42, 0.60), rng.uniform(-0.32, -0.22))

    def success(self, view: CellView) -> bool:
        """The loaf lies on the plate and the gripper has let go of it."""
        return self._on_plate(view) and _GRASP.has_let_go(view.gripper_width_m)

    def expert(self, view: CellView) -> Action:
        """Above the loaf, down, close; up, across, down onto the plate, open."""
        T_base_loaf, T_base_tcp = view.body_pose("loaf"), view.T_base_tcp
        loaf = T_base_loaf[:3, 3]
        if _GRASP.holds(T_base_tcp, view.gripper_width_m, loaf):
            return _PLACE.step(T_base_tcp, view.body_pose("plate")[:3, 3])
        if self._on_plate(view):
            return retreat(T_base_tcp)
        rotation = top_grasp(yaw_of(T_base_loaf[:3, :3]), T_base_tcp[:3, :3], np.pi)
        return _GRASP.approach(T_base_tcp, view.gripper_width_m, loaf, rotation)

    def _on_plate(self, view: CellView) -> bool:
        offset = view.body_pose("loaf")[:3, 3] - view.body_pose("plate")[:3, 3]
        return bool(np.linalg.norm(offset[:2]) < PLATE_RADIUS_M - 0.020 and offset[2] < PLATE_TOP_M + 0.040)
