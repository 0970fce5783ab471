"""Objects of randomised scenes: classes built from MuJoCo primitives, with a size, a colour and a place of their own.

Used by ``simulation.views`` only; the objects of a task are the task's.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_core.simulation.camera import CELL_GROUP

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.82, 0.10, 0.09),
    "orange": (0.93, 0.48, 0.05),
    "yellow": (0.90, 0.82, 0.10),
    "green": (0.12, 0.58, 0.17),
    "blue": (0.10, 0.25, 0.78),
    "purple": (0.48, 0.14, 0.60),
    "white": (0.92, 0.92, 0.92),
    "black": (0.06, 0.06, 0.06),
}
"""Names and RGB in [0, 1]."""


@dataclass(frozen=True)
class Part:
    """One primitive of an object, in the object's frame: z up, the table at z = 0. Metres, half sizes as in MuJoCo."""

    kind: str
    position_m: tuple[float, float, float]
    size_m: tuple[float, ...]
    euler_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class SceneObject:
    """An object that stands on the table.

    Attributes:
        kind: its class, a key of ``CLASSES``.
        color: a key of ``COLORS``.
        position_m: middle of its bounding box in the base frame.
        yaw_rad: rotation about the vertical.
        radius_m: of the circle about its axis that holds it.
        height_m: above the table.
        parts: primitives in its own frame, whose origin is on the table below ``position_m``.
    """

    kind: str
    color: str
    position_m: tuple[float, float, float]
    yaw_rad: float
    radius_m: float
    height_m: float
    parts: tuple[Part, ...]

    def add_to(self, worldbody: ET.Element, name: str, rgb: NDArray[np.float64]) -> None:
        """Append it as a body without joints, in the given colour (3,)."""
        x, y, _ = self.position_m
        body = ET.SubElement(
            worldbody, "body", name=name, pos=_numbers((x, y, 0.0)), euler=_numbers((0, 0, self.yaw_rad))
        )
        for part in self.parts:
            ET.SubElement(
                body,
                "geom",
                type=part.kind,
                group=str(CELL_GROUP),
                pos=_numbers(part.position_m),
                euler=_numbers(part.euler_rad),
                size=_numbers(part.size_m),
                rgba=_numbers((*rgb, 1.0)),
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: class, colour, place."""
        return {
            "kind": self.kind,
            "color": self.color,
            "position_m": [round(v, 4) for v in self.position_m],
            "yaw_rad": round(self.yaw_rad, 4),
        }


def make_object(kind: str, color: str, x_m: float, y_m: float, yaw_rad: float, rng: np.random.Generator) -> SceneObject:
    """An object of a class with a random size.

    Raises:
        KeyError: no such class.
    """
    parts = tuple(CLASSES[kind](rng))
    corners = np.concatenate([_corners(part) for part in parts])
    height = float(corners[:, 2].max())
    radius = float(np.linalg.norm(corners[:, :2], axis=1).max())
    return SceneObject(kind, color, (x_m, y_m, height / 2), yaw_rad, radius, height, parts)


def _corners(part: Part) -> NDArray[np.float64]:
    """Corners (8, 3) of a box around a primitive; rotated primitives get the cube around their longest side."""
    size = part.size_m
    half = {
        "box": size,
        "sphere": (size[0],) * 3,
        "cylinder": (size[0], size[0], size[-1]),
        "capsule": (size[0], size[0], size[-1] + size[0]),
    }[part.kind]
    if any(part.euler_rad):
        half = (half[2], half[2], half[0]) if part.kind in ("cylinder", "capsule") else (max(half),) * 3
    signs = np.array(np.meshgrid((-1, 1), (-1, 1), (-1, 1))).reshape(3, 8).T
    return np.asarray(part.position_m) + signs * np.asarray(half)


def _cube(rng: np.random.Generator) -> list[Part]:
    half = rng.uniform(0.018, 0.034)
    return [Part("box", (0, 0, half), (half, half, half))]


def _plank(rng: np.random.Generator) -> list[Part]:
    length, width, half = rng.uniform(0.06, 0.10), rng.uniform(0.014, 0.026), rng.uniform(0.010, 0.018)
    return [Part("box", (0, 0, half), (length, width, half))]


def _can(rng: np.random.Generator) -> list[Part]:
    radius, half = rng.uniform(0.022, 0.036), rng.uniform(0.035, 0.060)
    return [Part("cylinder", (0, 0, half), (radius, half))]


def _ball(rng: np.random.Generator) -> list[Part]:
    radius = rng.uniform(0.022, 0.040)
    return [Part("sphere", (0, 0, radius), (radius,))]


def _plate(rng: np.random.Generator) -> list[Part]:
    radius, half = rng.uniform(0.06, 0.10), 0.005
    rim = [
        Part(
            "capsule",
            (radius * np.cos(a), radius * np.sin(a), 0.016),
            (0.006, radius * 0.2),
            (np.pi / 2, 0, a),
        )
        for a in np.arange(16) * np.pi / 8
    ]
    return [Part("cylinder", (0, 0, half + 0.008), (radius, half)), *rim]


def _basin(rng: np.random.Generator) -> list[Part]:
    x, y, height = rng.uniform(0.055, 0.090), rng.uniform(0.055, 0.090), rng.uniform(0.020, 0.035)
    wall = 0.004
    return [
        Part("box", (0, 0, wall), (x, y, wall)),
        *(Part("box", (s * (x - wall), 0, height), (wall, y, height)) for s in (-1, 1)),
        *(Part("box", (0, s * (y - wall), height), (x, wall, height)) for s in (-1, 1)),
    ]


def _mug(rng: np.random.Generator) -> list[Part]:
    radius, half = rng.uniform(0.032, 0.042), rng.uniform(0.038, 0.052)
    reach, bar = radius + 0.024, 0.006
    return [
        Part("cylinder", (0, 0, half), (radius, half)),
        Part("box", (reach, 0, half), (bar, bar, half * 0.6)),
        *(Part("box", (radius + 0.012, 0, half * (1 + s * 0.6)), (0.014, bar, bar)) for s in (-1, 1)),
    ]


def _cabinet(rng: np.random.Generator) -> list[Part]:
    x, y, half = rng.uniform(0.06, 0.09), rng.uniform(0.07, 0.10), rng.uniform(0.045, 0.065)
    out = -x - 0.045
    return [
        Part("box", (0, 0, half), (x, y, half)),
        Part("box", (out, 0, half * 1.3), (0.008, 0.045, 0.008)),
        *(Part("box", ((out - x) / 2, s * 0.04, half * 1.3), (0.024, 0.005, 0.005)) for s in (-1, 1)),
    ]


def _bracket(rng: np.random.Generator) -> list[Part]:
    length, half, height = rng.uniform(0.045, 0.07), rng.uniform(0.012, 0.018), rng.uniform(0.015, 0.030)
    return [
        Part("box", (0, -length + half, height), (length, half, height)),
        Part("box", (-length + half, 0, height), (half, length, height)),
    ]


def _bottle(rng: np.random.Generator) -> list[Part]:
    radius, half = rng.uniform(0.026, 0.036), rng.uniform(0.045, 0.060)
    return [
        Part("cylinder", (0, 0, half), (radius, half)),
        Part("sphere", (0, 0, 2 * half), (radius,)),
        Part("cylinder", (0, 0, 2 * half + radius + 0.012), (0.012, 0.024)),
    ]


def _hammer(rng: np.random.Generator) -> list[Part]:
    length, head = rng.uniform(0.06, 0.085), rng.uniform(0.028, 0.040)
    return [
        Part("box", (0, 0, 0.016), (length, 0.011, 0.011)),
        Part("box", (length, 0, 0.018), (0.016, head, 0.018)),
    ]


def _arch(rng: np.random.Generator) -> list[Part]:
    span, half, height = rng.uniform(0.045, 0.065), rng.uniform(0.013, 0.018), rng.uniform(0.030, 0.045)
    return [
        *(Part("box", (s * span, 0, height), (half, half, height)) for s in (-1, 1)),
        Part("box", (0, 0, 2 * height + half), (span + half, half, half)),
    ]


CLASSES: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    "cube": _cube,
    "plank": _plank,
    "can": _can,
    "ball": _ball,
    "plate": _plate,
    "basin": _basin,
    "mug": _mug,
    "cabinet": _cabinet,
    "bracket": _bracket,
    "bottle": _bottle,
    "hammer": _hammer,
    "arch": _arch,
}
"""Object classes by name; each draws the primitives of one example."""

HELD_OUT_CLASSES = ("bottle", "hammer", "arch")
"""Classes that pre-training never sees: the probe asks what its features make of them."""


def _numbers(values: tuple[float, ...] | NDArray[np.float64]) -> str:
    return " ".join(f"{float(v):.6g}" for v in values)
