"""water_flower: lift a watering can by its handle and tilt it over a flower."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import ClassVar

import mujoco
import numpy as np

from clar_core.control.action import Action
from clar_core.geometry.poses import Array, rotation_vector_to_matrix
from clar_core.simulation.expert import CLOSED, TopDownGrasp, step_towards, top_grasp, yaw_of
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

POUR_TILT_RAD = np.radians(38.0)
"""Tilted by this much the water reaches the spout."""
POUR_WITHIN_M = 0.035
"""So far from the blossom's centre, horizontally, the water still hits it."""
POUR_HEIGHT_M = (0.01, 0.14)
"""Height of the spout's end over the blossom."""
BLOSSOM_M = 0.105
"""Height of the blossom over the table."""
_CAN_RADIUS_M, _CAN_HEIGHT_M, _BAR_M, _BAR_HEIGHT_M = 0.042, 0.075, 0.018, 0.120
_HANDLE = np.array([0.0, 0.0, _BAR_HEIGHT_M])
_SPOUT = np.array([0.110, 0.0, 0.100])
_TIN, _METAL, _POT, _LEAF, _PETAL, _HEART = (
    "0.13 0.48 0.44", "0.30 0.32 0.33", "0.70 0.36 0.22", "0.22 0.52 0.18", "0.88 0.30 0.52", "0.95 0.80 0.20",
)  # fmt: skip
_GRASP = TopDownGrasp(width_m=_BAR_M, deeper_m=0.014, close_below_m=0.004)
_TILT_RAD, _SPOUT_OVER_M, _CLEARANCE_M = np.radians(48.0), 0.065, 0.15


class WaterFlower:
    """The can starts on the left, its spout towards the flower on the right.

    Its handle is an arch over its top, square and across the spout's direction, so that the hand holds it from above
    and can tilt it without it slipping.
    """

    name: ClassVar[str] = "water_flower"
    instructions: ClassVar[tuple[str, ...]] = (
        "water the flower",
        "pick up the watering can and water the plant",
        "pour water on the flower",
        "take the kettle and pour it over the pink flower",
    )
    unseen_instructions: ClassVar[tuple[str, ...]] = (
        "give the flower some water",
        "the plant is dry, use the watering can",
    )
    objects: ClassVar[tuple[str, ...]] = ("can", "flower")
    time_limit_s: ClassVar[float] = 25.0

    def add_bodies(self, worldbody: ET.Element) -> None:
        """Append the can, x towards its spout, z up, origin on its sole; and the flower in its pot."""
        can = free_body(worldbody, "can", height_m=0.0)
        # It stands on a square foot inside: a round one creeps in MuJoCo.
        box(can, (0, 0, 0.010), (0.029, 0.029, 0.010), _TIN, mass="0.02")
        half = (_CAN_HEIGHT_M - 0.002) / 2
        cylinder(can, (0, 0, _CAN_HEIGHT_M - half), _CAN_RADIUS_M, half, _TIN, mass="0.06")
        capsule(can, (_CAN_RADIUS_M - 0.006, 0, 0.030), _SPOUT, 0.008, _TIN, mass="0.01")
        cylinder(can, (_SPOUT[0], 0, _SPOUT[2]), 0.014, 0.006, _METAL, mass="0.004", euler="0 0.8 0")
        grip = {"friction": "2.5 0.05 0.05", "condim": "6"}
        box(can, (0, 0, _BAR_HEIGHT_M), (_BAR_M / 2, 0.044, 0.014), _METAL, mass="0.02", **grip)
        for side in (-1, 1):
            capsule(can, (0, side * 0.038, _CAN_HEIGHT_M), (0, side * 0.044, _BAR_HEIGHT_M), 0.006, _METAL, mass="0.01")
        flower = placed_body(worldbody, "flower", mass_kg=1.0)
        cylinder(flower, (0, 0, 0.020), 0.032, 0.020, _POT)
        cylinder(flower, (0, 0, 0.042), 0.037, 0.005, _POT)
        capsule(flower, (0, 0, 0.045), (0, 0, BLOSSOM_M), 0.005, _LEAF)
        for side in (-1, 1):
            leaf = {"pos": f"0 {side * 0.018} 0.065", "euler": f"{side * 0.7} 0 0"}
            shape(flower, "ellipsoid", (0.009, 0.020, 0.004), _LEAF, **leaf)
        for angle in np.arange(6) * np.pi / 3:
            petal = {"pos": f"{0.018 * np.cos(angle):.4f} {0.018 * np.sin(angle):.4f} {BLOSSOM_M}"}
            shape(flower, "ellipsoid", (0.013, 0.011, 0.005), _PETAL, euler=f"0 0 {angle:.4f}", **petal)
        shape(flower, "sphere", (0.009,), _HEART, pos=f"0 0 {BLOSSOM_M + 0.003}")

    def reset(self, model: mujoco.MjModel, data: mujoco.MjData, rng: np.random.Generator) -> None:
        """Can in a 16 x 14 cm field, spout within 0.4 rad of the right; flower in a 14 x 10 cm field."""
        x, y = rng.uniform(0.42, 0.58), rng.uniform(0.04, 0.18)
        place_free_body(data, "can", x, y, 0.001, -np.pi / 2 + rng.uniform(-0.4, 0.4))
        place_body(data, "flower", rng.uniform(0.44, 0.58), rng.uniform(-0.30, -0.20))

    def success(self, view: CellView) -> bool:
        """The can is tilted in the hand, its spout over the blossom."""
        T_base_can = view.body_pose("can")
        spout = _point(T_base_can, _SPOUT) - self._blossom(view)
        tilt = float(np.arcsin(np.clip(-T_base_can[2, 0], -1.0, 1.0)))
        in_hand = np.linalg.norm(_point(T_base_can, _HANDLE) - view.T_base_tcp[:3, 3]) < 0.04
        over = np.linalg.norm(spout[:2]) < POUR_WITHIN_M and POUR_HEIGHT_M[0] < spout[2] < POUR_HEIGHT_M[1]
        return bool(in_hand and over and tilt > POUR_TILT_RAD)

    def expert(self, view: CellView) -> Action:
        """Above the handle, down over it, close; up, across until the spout is there, tilt."""
        T_base_can, T_base_tcp = view.body_pose("can"), view.T_base_tcp
        handle = _point(T_base_can, _HANDLE)
        if _GRASP.holds(T_base_tcp, view.gripper_width_m, handle):
            return self._pour(T_base_can, T_base_tcp, self._blossom(view))
        # The fingers open along the TCP's y axis; across the bar means along the can's x axis.
        rotation = top_grasp(yaw_of(T_base_can[:3, :3]) + np.pi / 2, T_base_tcp[:3, :3], np.pi)
        return _GRASP.approach(T_base_tcp, view.gripper_width_m, handle, rotation)

    def _blossom(self, view: CellView) -> Array:
        return view.body_pose("flower")[:3, 3] + (0.0, 0.0, BLOSSOM_M)

    def _pour(self, T_base_can: Array, T_base_tcp: Array, blossom: Array) -> Action:
        """Towards the pose in which the tilted can's spout is over the blossom; upright until nearly there."""
        tcp = T_base_tcp[:3, 3]
        yaw = yaw_of(T_base_can[:3, :3])
        upright = rotation_vector_to_matrix((0.0, 0.0, yaw))
        tilted = upright @ rotation_vector_to_matrix((0.0, _TILT_RAD, 0.0))
        handle = blossom + np.array([0.0, 0.0, _SPOUT_OVER_M]) - tilted @ (_SPOUT - _HANDLE)
        offset = T_base_can[:3, :3].T @ (tcp - _point(T_base_can, _HANDLE))
        aside = float(np.linalg.norm((handle + tilted @ offset - tcp)[:2]))
        near = aside < 0.03
        target = tilted if near else upright
        rotation = target @ T_base_can[:3, :3].T @ T_base_tcp[:3, :3]
        if not near and T_base_can[2, 3] < _CLEARANCE_M - 0.05 and aside > 0.10:
            rise = np.array([tcp[0], tcp[1], _CLEARANCE_M + _BAR_HEIGHT_M])
            return step_towards(T_base_tcp, rise, rotation, CLOSED, near=T_base_can[2, 3] < 0.02)
        return step_towards(T_base_tcp, handle + tilted @ offset, rotation, CLOSED)


def _point(T_base_body: Array, point_m: Array) -> Array:
    return np.asarray(T_base_body[:3, :3] @ point_m + T_base_body[:3, 3])
