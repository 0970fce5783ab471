"""A flat printed plate on the hand of the simulated robot, or on the table: what a calibration board is to a camera.

The plate is looks only. It collides with nothing and weighs nothing, so that a scene with it has the same state and the
same physics as one without, and whoever renders may add it alone.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from clar_core.geometry.poses import Array, matrix_to_quaternion

PLATE = "plate"
_BORDER_GREY = 235


@dataclass(frozen=True, eq=False)
class Plate:
    """A picture on a rigid plate.

    Attributes:
        picture: (h, w) uint8 grey, what is printed on the front; its aspect is that of the plate.
        width_m, height_m: size of the picture.
        T_parent_plate: (4, 4) pose of the picture's top-left corner: x right, y down, z into the plate. The parent is
            the TCP, or the base for a plate that lies on the table.
        on_hand: whether the parent is the TCP.
        thickness_m: of the plate, behind the picture.
    """

    picture: NDArray[np.uint8]
    width_m: float
    height_m: float
    T_parent_plate: Array
    on_hand: bool = True
    thickness_m: float = 0.004


def add_plate(assets: ET.Element, parent: ET.Element, plate: Plate, T_body_plate: Array, group: int) -> None:
    """Add the plate's mesh and material to a scene, below the element of a body; ``print_plate`` after compiling."""
    height, width = plate.picture.shape
    w, h, d = plate.width_m, plate.height_m, plate.thickness_m
    # The front has vertices of its own, because only there the picture's coordinates run from 0 to 1.
    front = [(0, 0, 0), (w, 0, 0), (w, h, 0), (0, h, 0)]
    back = [(x, y, d) for x, y, _ in front]
    corners = [(0, 0), (1, 0), (1, 1), (0, 1)]
    faces = [(0, 2, 1), (0, 3, 2), (8, 9, 10), (8, 10, 11)]
    faces += [(4 + i, 4 + (i + 1) % 4, 8 + (i + 1) % 4) for i in range(4)]
    faces += [(4 + i, 8 + (i + 1) % 4, 8 + i) for i in range(4)]
    ET.SubElement(
        assets, "texture", name=PLATE, type="2d", builtin="flat", rgb1="1 1 1", width=str(width), height=str(height)
    )
    ET.SubElement(assets, "material", name=PLATE, texture=PLATE, specular="0", shininess="0", emission="0.25")
    ET.SubElement(
        assets,
        "mesh",
        name=PLATE,
        vertex=_numbers([*front, *front, *back]),
        texcoord=_numbers([*corners, *[(0.0, 0.0)] * 8]),
        face=" ".join(str(i) for face in faces for i in face),
    )
    x, y, z, qw = matrix_to_quaternion(T_body_plate[:3, :3])
    ET.SubElement(
        parent,
        "geom",
        name=PLATE,
        type="mesh",
        mesh=PLATE,
        material=PLATE,
        group=str(group),
        contype="0",
        conaffinity="0",
        mass="0",
        pos=_numbers([T_body_plate[:3, 3]]),
        quat=_numbers([(qw, x, y, z)]),
    )


def print_plate(model: mujoco.MjModel, plate: Plate) -> None:
    """Put the picture onto the plate of a compiled model, before a renderer takes the textures."""
    texture = model.texture(PLATE).id
    start = int(model.tex_adr[texture])
    rgb = np.repeat(plate.picture[:, :, None], 3, axis=2)
    model.tex_data[start : start + rgb.size] = rgb.ravel()


def _numbers(rows: object) -> str:
    return " ".join(f"{value:.9g}" for value in np.asarray(rows, dtype=np.float64).ravel())
