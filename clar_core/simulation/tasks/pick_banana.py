"""pick_banana: pick a banana up from the table."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import ClassVar

import mujoco
import numpy as np

from clar_core.control.action import Action
from clar_core.simulation.expert import CLOSED, TopDownGrasp, step_towards, top_grasp, yaw_of
from clar_core.simulation.tasks.base import CellView, capsule, free_body, place_free_body

THICKNESS_M = 0.036
"""Across its middle, where it is grasped."""
LIFTED_M = 0.12
"""The banana counts as picked when its middle is this high."""
_BEND_RADIUS_M = 0.11
_HALF_ANGLE_RAD = 0.80
_SEGMENTS = 8
_SKIN, _STEM, _TIP = "0.93 0.78 0.14", "0.45 0.42 0.12", "0.22 0.16 0.08"
_GRASP = TopDownGrasp(width_m=THICKNESS_M, close_below_m=0.006, deeper_m=0.010)
"""Deeper than other objects: pads that press above the widest place of something round squeeze it out downwards."""


class PickBanana:
    """A ripe banana lies alone on the table, bent side anywhere; it is grasped across its middle and lifted."""

    name: ClassVar[str] = "pick_banana"
    instructions: ClassVar[tuple[str, ...]] = (
        "pick up the banana",
        "grasp the banana and lift it",
        "take the yellow fruit from the table",
        "lift the banana off the table",
    )
    unseen_instructions: ClassVar[tuple[str, ...]] = (
        "raise the banana into the air",
        "get me that banana",
    )
    objects: ClassVar[tuple[str, ...]] = ("banana",)
    time_limit_s: ClassVar[float] = 20.0

    def add_bodies(self, worldbody: ET.Element) -> None:
        """Append the banana: rods along an arc, thick in the middle, with a stem and a dark tip.

        Its frame lies in the middle of the arc, x along it, y away from the bend's centre.
        """
        banana = free_body(worldbody, "banana", height_m=THICKNESS_M / 2)
        angles = np.linspace(-_HALF_ANGLE_RAD, _HALF_ANGLE_RAD, _SEGMENTS + 1)
        radii = THICKNESS_M / 2 * (1.0 - 0.25 * (angles / _HALF_ANGLE_RAD) ** 2)
        x, y = _BEND_RADIUS_M * np.sin(angles), _BEND_RADIUS_M * (np.cos(angles) - 1.0)
        # All parts rest on the table, so that it does not rock.
        joints = list(zip(x, y, radii - THICKNESS_M / 2, strict=True))
        for i, (start, end) in enumerate(pairwise(joints)):
            radius = (radii[i] + radii[i + 1]) / 2
            capsule(banana, start, end, radius, _SKIN, mass="0.015", friction="1.5 0.05 0.002", condim="4")
        for start, angle, length, color in (
            (joints[-1], angles[-1], 0.026, _STEM),
            (joints[0], angles[0] + np.pi, 0.016, _TIP),
        ):
            end = start + np.array([length * np.cos(angle), -length * np.sin(angle), 0.0])
            capsule(banana, start, end, 0.006, color, mass="0.002")

    def reset(self, model: mujoco.MjModel, data: mujoco.MjData, rng: np.random.Generator) -> None:
        """Banana anywhere in a 20 x 34 cm field with any yaw."""
        x, y = rng.uniform(0.40, 0.60), rng.uniform(-0.16, 0.18)
        place_free_body(data, "banana", x, y, THICKNESS_M / 2 + 0.001, rng.uniform(-np.pi, np.pi))

    def success(self, view: CellView) -> bool:
        """The banana is up in the air, in the hand."""
        banana = view.body_pose("banana")[:3, 3]
        in_hand = np.linalg.norm(banana - view.T_base_tcp[:3, 3]) < 0.05
        return bool(banana[2] > LIFTED_M and in_hand)

    def expert(self, view: CellView) -> Action:
        """Above its middle, down, close, up."""
        T_base_banana, T_base_tcp = view.body_pose("banana"), view.T_base_tcp
        middle, tcp = T_base_banana[:3, 3], T_base_tcp[:3, 3]
        rotation = top_grasp(yaw_of(T_base_banana[:3, :3]), T_base_tcp[:3, :3], np.pi)
        if _GRASP.holds(T_base_tcp, view.gripper_width_m, middle):
            up = np.array([tcp[0], tcp[1], LIFTED_M + 0.10])
            return step_towards(T_base_tcp, up, T_base_tcp[:3, :3], CLOSED, near=tcp[2] < 0.05)
        return _GRASP.approach(T_base_tcp, view.gripper_width_m, middle, rotation)
