"""Pinhole cameras with both directions of the Brown-Conrady model: depth images to points, points to pixels.

Pixel centres lie at integer coordinates (the convention of ROS, OpenCV and librealsense): the image spans
``[-0.5, width - 0.5]``. Points are in the optical frame of REP-103: x right, y down, z forward.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

DistortionModel = Literal["none", "brown_conrady", "inverse_brown_conrady"]

T_BODY_OPTICAL = np.array([[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
"""(4, 4) an optical frame in its camera's body frame (REP-103: x forward, y left, z up)."""

_FARTHEST_MM = 65534
_NEWTON_STEPS = 12
_NEWTON_TOLERANCE = 1e-9
_NEWTON_DONE = 1e-12


@dataclass(frozen=True)
class Intrinsics:
    """Intrinsic parameters of one image stream.

    ``coefficients`` are (k1, k2, p1, p2, k3), OpenCV's order. What the polynomial maps depends on ``model``:

    - ``brown_conrady``: ideal -> distorted, as OpenCV and ROS's ``plumb_bob`` define it.
    - ``inverse_brown_conrady``: distorted -> ideal, as librealsense defines it for the D400 colour streams (which
      realsense-ros nevertheless labels ``plumb_bob``).

    Raises:
        ValueError: a size or focal length that is not positive, a number that is not finite, an unknown model, a
            number of coefficients other than 5, or non-zero coefficients under the model "none".
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: DistortionModel = "none"
    coefficients: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "coefficients", tuple(float(c) for c in self.coefficients))
        if self.width < 1 or self.height < 1:
            raise ValueError(f"intrinsics: expected a positive image size, got {self.width} x {self.height}")
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.coefficients)
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"intrinsics: expected finite numbers, got {numbers}")
        if self.fx <= 0 or self.fy <= 0:
            raise ValueError(
                f"intrinsics: expected positive focal lengths in pixels, got fx={self.fx}, fy={self.fy}; "
                "has the camera published its camera_info yet?"
            )
        if self.model not in get_args(DistortionModel):
            raise ValueError(f"intrinsics: unknown model {self.model!r}, expected one of {get_args(DistortionModel)}")
        if len(self.coefficients) != 5:
            raise ValueError(f"intrinsics: expected 5 coefficients (k1 k2 p1 p2 k3), got {len(self.coefficients)}")
        if self.model == "none" and any(self.coefficients):
            raise ValueError(
                f"intrinsics: coefficients {self.coefficients} without a model; "
                "set model to brown_conrady or inverse_brown_conrady"
            )

    @classmethod
    def from_camera_info(
        cls,
        width: int,
        height: int,
        distortion_model: str,
        d: Sequence[float],
        k: Sequence[float],
        *,
        inverse: bool = False,
    ) -> Intrinsics:
        """Intrinsics of the fields of a ``sensor_msgs/CameraInfo``: d of 0, 4 or 5 numbers, k row-major (9,).

        ``inverse`` says that the coefficients are librealsense's inverse Brown-Conrady under the label ``plumb_bob``.

        Raises:
            ValueError: as the class, or a distortion model other than plumb_bob with non-zero coefficients.
        """
        if len(k) != 9:
            raise ValueError(f"camera_info: expected k of 9 numbers, got {len(k)}")
        coefficients = tuple(float(c) for c in d) + (0.0,) * (5 - len(d))
        model: DistortionModel = "none"
        if any(coefficients):
            if distortion_model != "plumb_bob" or len(d) not in (4, 5):
                raise ValueError(
                    f"camera_info: distortion model {distortion_model!r} with {len(d)} coefficients is not supported; "
                    "expected plumb_bob with 4 or 5, or publish a rectified stream"
                )
            model = "inverse_brown_conrady" if inverse else "brown_conrady"
        return cls(width, height, float(k[0]), float(k[4]), float(k[2]), float(k[5]), model, coefficients)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The camera matrix K, (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def scaled(self, width: int, height: int) -> Intrinsics:
        """Intrinsics of the same view resized to another resolution (the whole image, no crop)."""
        sx, sy = width / self.width, height / self.height
        cx, cy = (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5
        return Intrinsics(width, height, self.fx * sx, self.fy * sy, cx, cy, self.model, self.coefficients)


@functools.lru_cache(maxsize=8)
def pixel_rays(intrinsics: Intrinsics) -> NDArray[np.float32]:
    """Ray of every pixel centre, scaled to z = 1: (height, width, 3) float32, read-only, cached per intrinsics.

    Raises:
        ValueError: the distortion cannot be inverted over the whole image.
    """
    u, v = np.meshgrid(np.arange(intrinsics.width, dtype=np.float64), np.arange(intrinsics.height, dtype=np.float64))
    x, y = (u - intrinsics.cx) / intrinsics.fx, (v - intrinsics.cy) / intrinsics.fy
    if intrinsics.model == "brown_conrady":
        x, y = _invert_polynomial(x, y, intrinsics.coefficients)
        if not np.isfinite(x).all():
            raise ValueError(
                f"intrinsics: the distortion {intrinsics.coefficients} cannot be undone over the whole image of "
                f"{intrinsics.width} x {intrinsics.height}; check the coefficients and their order k1 k2 p1 p2 k3"
            )
    elif intrinsics.model == "inverse_brown_conrady":
        x, y = _polynomial(x, y, intrinsics.coefficients)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1).astype(np.float32)
    rays.setflags(write=False)
    return rays


def deproject(
    depth: NDArray[np.uint16],
    intrinsics: Intrinsics,
    *,
    depth_scale_m: float = 0.001,
    depth_min_m: float,
    depth_max_m: float,
) -> NDArray[np.float32]:
    """Points of a depth image in its optical frame, row by row, pixels outside the depth limits left out.

    Args:
        depth: (height, width) uint16, distance along the optical axis in units of ``depth_scale_m``; 0 is no reading.
        intrinsics: of this very stream.
        depth_scale_m: metres per unit of depth.
        depth_min_m: nearest distance kept, inclusive.
        depth_max_m: farthest distance kept, inclusive.

    Returns:
        (n, 3) float32 in metres.

    Raises:
        ValueError: wrong dtype or shape, or a scale or limits that make no sense.
    """
    check_depth_image(depth, intrinsics)
    near, far = raw_depth_limits(depth_scale_m, depth_min_m, depth_max_m)
    kept = np.flatnonzero((depth >= near) & (depth <= far))
    rays = pixel_rays(intrinsics).reshape(-1, 3)
    # Column by column: gathering and scaling whole rows takes five times as long.
    points = np.empty((len(kept), 3), dtype=np.float32)
    z = points[:, 2]
    np.multiply(depth.ravel().take(kept), np.float32(depth_scale_m), out=z, dtype=np.float32)
    for axis in (0, 1):
        np.multiply(rays[:, axis].take(kept), z, out=points[:, axis])
    return points


def project(points: NDArray[np.floating[Any]], intrinsics: Intrinsics) -> NDArray[np.float64]:
    """Pixels of points in the optical frame.

    Args:
        points: (n, 3) in metres.
        intrinsics: of the image projected into.

    Returns:
        (n, 2) float64 as (u, v), not clipped to the image; NaN for points at or behind the camera plane, and for those
        so far outside the image that the distortion model has no answer there.

    Raises:
        ValueError: points that are not (n, 3).
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"project: expected points of shape (n, 3), got {points.shape}")
    z = np.where(points[:, 2] > 0, points[:, 2], np.nan)
    x, y = points[:, 0] / z, points[:, 1] / z
    if intrinsics.model == "brown_conrady":
        x, y = _polynomial(x, y, intrinsics.coefficients)
    elif intrinsics.model == "inverse_brown_conrady":
        x, y = _invert_polynomial(x, y, intrinsics.coefficients)
    return np.stack([x * intrinsics.fx + intrinsics.cx, y * intrinsics.fy + intrinsics.cy], axis=-1)


def depth_image_of(points: NDArray[np.floating[Any]], intrinsics: Intrinsics) -> NDArray[np.uint16]:
    """What a camera would measure of points: the nearest at each pixel.

    Args:
        points: (n, 3) in metres, in the camera's optical frame.
        intrinsics: of the image; where its pixels are finer than the points, holes stay.

    Returns:
        (height, width) uint16, millimetres along the optical axis, 0 where there is no point.
    """
    pixels = project(points, intrinsics) + 0.5
    size = np.array([intrinsics.width, intrinsics.height])
    with np.errstate(invalid="ignore"):
        inside = np.flatnonzero(((pixels >= 0) & (pixels < size)).all(axis=1))
    columns, rows = pixels[inside].astype(np.int64).T
    depth_mm = np.minimum(np.rint(np.asarray(points)[inside, 2] * 1000.0), _FARTHEST_MM).astype(np.uint16)
    image = np.full(intrinsics.height * intrinsics.width, _FARTHEST_MM + 1, dtype=np.uint16)
    np.minimum.at(image, rows * intrinsics.width + columns, depth_mm)
    image[image > _FARTHEST_MM] = 0
    return image.reshape(intrinsics.height, intrinsics.width)


def normalize_pixels(pixels: NDArray[np.floating[Any]], intrinsics: Intrinsics) -> NDArray[np.float64]:
    """Ideal image coordinates (x/z, y/z) of pixels: the inverse of ``project``, without the depth.

    Args:
        pixels: (n, 2) as (u, v), anywhere in the image.
        intrinsics: of that image; its distortion is undone in its own direction.

    Returns:
        (n, 2) float64; NaN where the distortion model has no answer.

    Raises:
        ValueError: pixels that are not (n, 2).
    """
    places: NDArray[np.float64] = np.asarray(pixels, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(f"normalize_pixels: expected pixels of shape (n, 2), got {places.shape}")
    x, y = (places[:, 0] - intrinsics.cx) / intrinsics.fx, (places[:, 1] - intrinsics.cy) / intrinsics.fy
    if intrinsics.model == "brown_conrady":
        x, y = _invert_polynomial(x, y, intrinsics.coefficients)
    elif intrinsics.model == "inverse_brown_conrady":
        x, y = _polynomial(x, y, intrinsics.coefficients)
    return np.stack([x, y], axis=-1)


def check_depth_image(depth: NDArray[np.uint16], intrinsics: Intrinsics) -> None:
    """Raise ValueError, naming what was found, unless depth is (height, width) uint16 of these intrinsics."""
    if depth.dtype != np.uint16:
        raise ValueError(
            f"depth image: expected uint16 (16UC1, raw units), got {depth.dtype}; "
            "convert metres with (depth / depth_scale_m).round().astype(uint16)"
        )
    if depth.shape != (intrinsics.height, intrinsics.width):
        raise ValueError(
            f"depth image: expected (height, width) = ({intrinsics.height}, {intrinsics.width}) as its intrinsics say, "
            f"got {depth.shape}; image and camera_info must come from the same stream"
        )


def raw_depth_limits(depth_scale_m: float, depth_min_m: float, depth_max_m: float) -> tuple[int, int]:
    """Smallest and largest raw depth inside the limits, both inclusive; 0 (no reading) is never inside.

    Raises:
        ValueError: a scale that is not positive, or limits that are not 0 <= min < max.
    """
    if not (math.isfinite(depth_scale_m) and depth_scale_m > 0):
        raise ValueError(f"depth_scale_m: expected a positive number of metres per unit, got {depth_scale_m}")
    if not 0 <= depth_min_m < depth_max_m:
        raise ValueError(f"depth limits: expected 0 <= min < max in metres, got {depth_min_m} and {depth_max_m}")
    # The small slack keeps a limit that is a whole number of units inside, whatever its last bit.
    near = max(1, math.ceil(depth_min_m / depth_scale_m - 1e-6))
    far = min(0xFFFF, math.floor(depth_max_m / depth_scale_m + 1e-6))
    if near > far:
        raise ValueError(
            f"depth limits: no 16 bit value at {depth_scale_m} m per unit lies in [{depth_min_m}, {depth_max_m}] m; "
            "check depth_scale_m (0.001 for images in millimetres)"
        )
    return near, far


def _polynomial(
    x: NDArray[np.float64], y: NDArray[np.float64], coefficients: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The Brown-Conrady polynomial on normalised image coordinates."""
    k1, k2, p1, p2, k3 = coefficients
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y),
    )


def _invert_polynomial(
    x: NDArray[np.float64], y: NDArray[np.float64], coefficients: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates that the polynomial maps to (x, y), by Newton's method; NaN where there are none nearby."""
    k1, k2, p1, p2, k3 = coefficients
    a, b = x.copy(), y.copy()
    with np.errstate(all="ignore"):
        for _ in range(_NEWTON_STEPS):
            fa, fb = _polynomial(a, b, coefficients)
            ra, rb = fa - x, fb - y
            r2 = a * a + b * b
            radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
            slope = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))
            daa = radial + slope * a * a + 2 * p1 * b + 6 * p2 * a
            dbb = radial + slope * b * b + 2 * p2 * a + 6 * p1 * b
            dab = slope * a * b + 2 * p1 * a + 2 * p2 * b
            determinant = daa * dbb - dab * dab
            step_a, step_b = (dbb * ra - dab * rb) / determinant, (daa * rb - dab * ra) / determinant
            a, b = a - step_a, b - step_b
            if not (np.abs(step_a) + np.abs(step_b) > _NEWTON_DONE).any():
                break
        fa, fb = _polynomial(a, b, coefficients)
        # A root past the fold (negative radial factor or determinant) belongs to another branch of the polynomial.
        good = (np.hypot(fa - x, fb - y) < _NEWTON_TOLERANCE) & (determinant > 0) & (radial > 0)
    return np.where(good, a, np.nan), np.where(good, b, np.nan)
