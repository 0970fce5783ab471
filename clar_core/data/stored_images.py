"""How a store keeps the colour images of its steps, where it does; S is the store's attribute ``image_size``.

    image                (T, S, S, 3) uint8    RGB, the whole colour image nearest to the step, resized to a square
    image_depth          (T, S, S) uint16      mm along the image's optical axis, 0 where there is none
    depth_valid          (T, S, S) bool        pixels of the image whose depth was measured
    intrinsics           (T, 9) float64        fx fy cx cy k1 k2 p1 p2 k3 of the resized image; the model is in the info
    T_base_image         (T, 4, 4) float64     maps points of the image's optical frame to the base frame

Features of teachers, which are made from these, lie beside them in ``teachers/``, see ``data.teacher_features``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_core.data.episode import EpisodeError, PosedImage, Step
from clar_core.geometry.camera import Intrinsics

LENS = "lens"
"""Key of an episode's info: the distortion model of its images."""


def image_layout(size: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape of a row and type of every array; none for size 0."""
    if size == 0:
        return {}
    return {
        "image": ((size, size, 3), "uint8"),
        "image_depth": ((size, size), "uint16"),
        "depth_valid": ((size, size), "bool"),
        "intrinsics": ((9,), "float64"),
        "T_base_image": ((4, 4), "float64"),
    }


def image_rows(steps: Sequence[Step], size: int) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The rows of an episode in every array, and what its info must say.

    Raises:
        EpisodeError: a step without an image, or with one of another size; images through two kinds of lens.
    """
    if size == 0:
        return {}, {}
    images: list[PosedImage] = []
    for number, step in enumerate(steps):
        if step.image is None or step.image.intrinsics.width != size:
            found = "none" if step.image is None else f"one of {step.image.intrinsics.width} pixels"
            raise EpisodeError(f"step {number}: image: expected one of {size} pixels as in all the store, got {found}")
        images.append(step.image)
    lenses = sorted({image.intrinsics.model for image in images})
    if len(lenses) > 1:
        raise EpisodeError(f"image: expected one distortion model in an episode, got {' and '.join(lenses)}")
    depth = np.stack([image.depth for image in images])
    rows: dict[str, NDArray[Any]] = {
        "image": np.stack([image.image for image in images]),
        "image_depth": depth,
        "depth_valid": depth > 0,
        "intrinsics": np.stack([intrinsics_row(image.intrinsics) for image in images]),
        "T_base_image": np.stack([image.T_base_image for image in images]),
    }
    return rows, {LENS: lenses[0]}


def posed_images(rows: Mapping[str, NDArray[Any]], lens: str) -> list[PosedImage]:
    """The images of an episode, from its rows."""
    return [
        PosedImage(image, depth, intrinsics_from(numbers, image.shape[0], lens), T)
        for image, depth, numbers, T in zip(
            rows["image"], rows["image_depth"], rows["intrinsics"], rows["T_base_image"], strict=True
        )
    ]


def intrinsics_row(intrinsics: Intrinsics) -> NDArray[np.float64]:
    """(9,) fx fy cx cy k1 k2 p1 p2 k3."""
    i = intrinsics
    return np.array([i.fx, i.fy, i.cx, i.cy, *i.coefficients])


def intrinsics_from(row: NDArray[np.float64], size: int, lens: Any) -> Intrinsics:
    """Intrinsics of a square image from (9,) numbers and the distortion model. Raises ValueError for bad ones."""
    numbers = [float(number) for number in row]
    return Intrinsics(size, size, numbers[0], numbers[1], numbers[2], numbers[3], lens, tuple(numbers[4:]))
