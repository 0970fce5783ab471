"""What a stereo camera makes of distances: noise in the disparity, ragged edges, lost pixels, a smallest step.

An error in disparity of ``disparity_noise_px`` is an error in depth of ``z^2 / (f B)`` times that, so it grows with the
square of the distance; it is correlated over a few pixels (matching window), depth is quantised by the disparity step,
and edges are ragged and partly lost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from clar_core.geometry.camera import Intrinsics

_STEPS = 1 << 16
_NO_FRACTIONS = np.empty(0, dtype=np.uint16)
_LOST = np.float32(-1e9)


@dataclass(frozen=True)
class DepthNoise:
    """Parameters of the depth noise. The defaults give 2 mm (1 sigma) on a plane at 1 m, as the D455's datasheet."""

    disparity_noise_px: float = 0.07
    fine_noise_px: float = 0.04
    correlation_px: int = 4
    edge_jitter_px: float = 0.7
    disparity_step_px: float = 1.0 / 32.0
    dropout: float = 0.002
    fields: int = 8


DEPTH_NOISE = DepthNoise()


class StereoDepth:
    """Turns depth buffers into the depth images of a stereo camera.

    Everything happens in steps of disparity: the buffer is linear in them, noise is added to them, rounding them is the
    quantisation, and a table tells the depth of each.

    Args:
        intrinsics: of the image.
        baseline_m: between the two imagers.
        noise: parameters.
        seed: seeds the noise fields that every image draws from.
        to_millimetres: what the camera reports of depths in m, 0 where it reports none.
    """

    def __init__(
        self,
        intrinsics: Intrinsics,
        baseline_m: float,
        noise: DepthNoise,
        seed: int,
        to_millimetres: Callable[[NDArray[np.float64]], NDArray[np.uint16]],
    ) -> None:
        self._shape = intrinsics.height, intrinsics.width
        self._fields = _noise_fields(intrinsics, noise, seed)
        self._steps_m = intrinsics.fx * baseline_m / noise.disparity_step_px
        self._depth_mm = np.zeros(_STEPS, dtype=np.uint16)
        self._depth_mm[1:] = to_millimetres(self._steps_m / np.arange(1, _STEPS))

    def image(
        self, buffer: NDArray[np.float32], slope_per_m: float, offset_per_m: float, rng: np.random.Generator
    ) -> NDArray[np.uint16]:
        """Depth image in mm of a buffer of :class:`~clar_core.simulation.depth_render.DepthRenderer`."""
        (height, width), steps_m = self._shape, self._steps_m
        noise, places = self._fields[int(rng.integers(len(self._fields)))]
        down, right = int(rng.integers(height)), int(rng.integers(width))
        shifted = noise[height - down : 2 * height - down, width - right : 2 * width - right]
        ragged = cv2.remap(buffer, places, _NO_FRACTIONS, cv2.INTER_NEAREST)
        steps = cv2.addWeighted(ragged, slope_per_m * steps_m, shifted, 1.0, offset_per_m * steps_m, dtype=cv2.CV_16U)
        return self._depth_mm[steps]


_Field = tuple[NDArray[np.float32], NDArray[np.int16]]


@functools.lru_cache(maxsize=2)
def _noise_fields(intrinsics: Intrinsics, noise: DepthNoise, seed: int) -> list[_Field]:
    """A pool of random fields; every image takes one and shifts it, which is far cheaper than drawing 300k numbers.

    Each has errors in steps of disparity, far below zero where the pixel is lost, twice in each direction so that any
    shift of them is a view; and where each pixel's depth is looked up in the buffer, whose bottom row comes first.
    """
    rng = np.random.default_rng(seed)
    shape = (intrinsics.height, intrinsics.width)
    v, u = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    right, bottom = shape[1] - 1, shape[0] - 1
    fields: list[_Field] = []
    for _ in range(noise.fields):
        coarse = rng.standard_normal((shape[0] // noise.correlation_px, shape[1] // noise.correlation_px))
        smooth: Any = cv2.resize(coarse.astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
        fine = rng.standard_normal(shape, dtype=np.float32)
        disparity = smooth * np.float32(noise.disparity_noise_px / smooth.std())
        disparity += np.float32(noise.fine_noise_px) * fine
        jitter = noise.edge_jitter_px * rng.standard_normal((2, *shape), dtype=np.float32)
        lost = rng.random(shape, dtype=np.float32) < noise.dropout
        map_x, map_y = np.clip(u + jitter[0], 0, right), np.clip(v + jitter[1], 0, bottom)
        errors = np.where(lost, _LOST, disparity / np.float32(noise.disparity_step_px))
        places, _ = cv2.convertMaps(
            map_x.astype(np.float32), (bottom - map_y).astype(np.float32), cv2.CV_16SC2, nninterpolation=True
        )
        fields.append((np.tile(errors, (2, 2)), np.asarray(places)))
    return fields
