"""What a task of the simulated cell is: bodies, a random start, a success predicate, sentences and an expert."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import mujoco
import numpy as np

from clar_core.control.action import Action
from clar_core.geometry.poses import Array, make_pose
from clar_core.simulation.camera import CELL_GROUP


@dataclass(frozen=True)
class CellView:
    """The true state of the cell, for predicates and experts. A policy never sees it.

    Attributes:
        T_base_tcp: measured TCP pose (4, 4).
        gripper_width_m: opening between the fingers.
    """

    model: mujoco.MjModel
    data: mujoco.MjData
    T_base_tcp: Array
    gripper_width_m: float

    def body_pose(self, name: str) -> Array:
        """``T_base_body`` (4, 4) of a body of the scene."""
        body = self.data.body(name)
        return make_pose(body.xmat.reshape(3, 3), body.xpos)

    def object_state(self, names: Iterable[str]) -> Array:
        """Position [m] and first two columns of the rotation of each body in the base frame, (9 per body,)."""
        poses = [self.body_pose(name) for name in names]
        return np.concatenate([np.concatenate([pose[:3, 3], pose[:3, 0], pose[:3, 1]]) for pose in poses])

    def joint_position(self, name: str) -> float:
        """Position of a hinge [rad] or slide [m] joint."""
        return float(self.data.joint(name).qpos[0])


class Task(Protocol):
    """One manipulation task. Stateless: everything that varies lives in the MuJoCo model and data.

    Attributes:
        name: registered name, also the name of datasets and checkpoints.
        instructions: sentences that mean this task; the first is the default.
        unseen_instructions: more of them, which no demonstration carries: for evaluation.
        objects: bodies whose poses are the state of the task, the one that is handled first.
        time_limit_s: a trial that has not succeeded by then has failed.
    """

    name: ClassVar[str]
    instructions: ClassVar[tuple[str, ...]]
    unseen_instructions: ClassVar[tuple[str, ...]]
    objects: ClassVar[tuple[str, ...]]
    time_limit_s: ClassVar[float]

    def add_bodies(self, worldbody: ET.Element) -> None:
        """Append the task's bodies to a scene that is being built."""

    def reset(self, model: mujoco.MjModel, data: mujoco.MjData, rng: np.random.Generator) -> None:
        """Draw a start: write object poses into the model or the data. Leaves the robot alone."""

    def success(self, view: CellView) -> bool:
        """True while the task is done."""

    def expert(self, view: CellView) -> Action:
        """The action that a good operator takes here: a function of the present state alone, with no memory."""


def placed_body(worldbody: ET.Element, name: str, *, mass_kg: float) -> ET.Element:
    """Append a body that stands where the start puts it, by joints ``<name>_x``, ``_y`` [m] and ``_yaw`` [rad].

    Dry friction beyond what the arm can push holds it there. Joints, and not the body's position, so that the whole
    state of the cell lies in qpos, which is what crosses processes and what recordings keep.
    """
    body = ET.SubElement(worldbody, "body", name=name, pos="0 0 0")
    inertia = f"{mass_kg * 0.01:.6g}"
    ET.SubElement(body, "inertial", pos="0 0 0.02", mass=f"{mass_kg:.6g}", diaginertia=f"{inertia} {inertia} {inertia}")
    for suffix, kind, axis in (("x", "slide", "1 0 0"), ("y", "slide", "0 1 0"), ("yaw", "hinge", "0 0 1")):
        ET.SubElement(
            body,
            "joint",
            name=f"{name}_{suffix}",
            type=kind,
            axis=axis,
            frictionloss="500",
            damping="500",
            armature="5",
        )
    return body


def place_body(data: mujoco.MjData, name: str, x_m: float, y_m: float, yaw_rad: float = 0.0) -> None:
    """Put a :func:`placed_body` somewhere on the table, at rest."""
    for suffix, value in (("x", x_m), ("y", y_m), ("yaw", yaw_rad)):
        joint = data.joint(f"{name}_{suffix}")
        joint.qpos[0], joint.qvel[0] = value, 0.0


def box(
    parent: ET.Element,
    position_m: tuple[float, float, float],
    half_size_m: tuple[float, float, float],
    color: str,
    **attributes: str,
) -> ET.Element:
    """Append a box geometry; half sizes and position in metres in the parent's frame, colour as 'r g b'."""
    return shape(parent, "box", half_size_m, color, pos=numbers(position_m), **attributes)


def capsule(
    parent: ET.Element,
    start_m: Iterable[float],
    end_m: Iterable[float],
    radius_m: float,
    color: str,
    **attributes: str,
) -> ET.Element:
    """Append a rod with round ends between two points; metres in the parent's frame."""
    return shape(parent, "capsule", (radius_m,), color, fromto=numbers((*start_m, *end_m)), **attributes)


def cylinder(
    parent: ET.Element,
    position_m: tuple[float, float, float],
    radius_m: float,
    half_height_m: float,
    color: str,
    **attributes: str,
) -> ET.Element:
    """Append an upright cylinder around a centre; metres in the parent's frame."""
    return shape(parent, "cylinder", (radius_m, half_height_m), color, pos=numbers(position_m), **attributes)


def shape(parent: ET.Element, kind: str, size_m: Sequence[float], color: str, **attributes: str) -> ET.Element:
    """Append any MuJoCo primitive that the depth camera sees; ``attributes`` place it and may override the friction."""
    element = ET.SubElement(parent, "geom", type=kind, size=numbers(size_m), rgba=f"{color} 1")
    element.attrib.update({"group": str(CELL_GROUP), "friction": "1.0 0.02 0.001", **attributes})
    return element


def free_body(worldbody: ET.Element, name: str, *, height_m: float) -> ET.Element:
    """Append a body that moves freely, by a joint of its own name."""
    body = ET.SubElement(worldbody, "body", name=name, pos=numbers((0.5, 0.1, height_m)))
    ET.SubElement(body, "freejoint", name=name)
    return body


def place_free_body(data: mujoco.MjData, name: str, x_m: float, y_m: float, z_m: float, yaw_rad: float) -> None:
    """Put a :func:`free_body` somewhere, turned about the vertical, at rest."""
    joint = data.joint(name)
    joint.qpos[:] = [x_m, y_m, z_m, np.cos(yaw_rad / 2), 0.0, 0.0, np.sin(yaw_rad / 2)]
    joint.qvel[:] = 0.0


def numbers(values: Iterable[float]) -> str:
    """Numbers as MuJoCo's XML has them."""
    return " ".join(f"{v:.6g}" for v in values)
