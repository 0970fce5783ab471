"""Does the robot's own arm appear where the calibration says? Its measured surface against its model: no board.

Every pixel that should show the arm is compared with what the depth camera measures there, along the surface's normal.
The one rigid displacement that explains these distances best is what the calibration seems to be off by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clar_calibration.arm_shape import ArmShape
from clar_core.geometry.camera import Intrinsics, pixel_rays

Array = NDArray[np.float64]

_GROSS_M = 0.04
_FEWEST = 200
_ROUNDS = 12
_PRIOR_M, _PRIOR_RAD = 0.02, 0.03
_GRAZING = 0.3
_JUMP_M = 0.03


class ArmNotSeenError(ValueError):
    """Too little of the arm is in the depth image; the text says what to do."""


@dataclass(frozen=True, eq=False)
class Posture:
    """One look at the arm: depth image (h, w) uint16 in mm, joints (7,) and the opening of the gripper."""

    depth: NDArray[np.uint16]
    joints_rad: Array
    gripper_width_m: float = 0.08


@dataclass(frozen=True, eq=False)
class ArmCheck:
    """What was found.

    Attributes:
        points: compared.
        median_mm: median distance of measured points from the model's surface.
        shift_mm: (3,) displacement of the measured arm from the model, in the base frame, at the arm's middle.
        turn_deg: (3,) rotation of it.
        distance_mm: length of the shift.
        angle_deg: angle of the rotation.
        explained_mm: median distance that is left after this displacement: noise, and errors of the model.
    """

    points: int
    median_mm: float
    shift_mm: Array
    turn_deg: Array
    distance_mm: float
    angle_deg: float
    explained_mm: float

    def __str__(self) -> str:
        x, y, z = self.shift_mm
        return (
            f"the arm appears {self.distance_mm:.1f} mm ({x:+.1f}, {y:+.1f}, {z:+.1f}) and {self.angle_deg:.2f} degrees"
            f" beside its model; {self.points} points, median distance from its surface {self.median_mm:.1f} mm,"
            f" {self.explained_mm:.1f} mm without that displacement"
        )


def check_arm(
    postures: Sequence[Posture], T_base_depth: Array, intrinsics: Intrinsics, shape: ArmShape, *, stride: int = 3
) -> ArmCheck:
    """Compare the arm with its model.

    Args:
        postures: one or more looks.
        T_base_depth: (4, 4) the calibration under test.
        intrinsics: of the depth images.
        shape: the arm's model.
        stride: pixels between compared ones.

    Raises:
        ArmNotSeenError: the depth images show too little of the arm where it should be.
    """
    rows = [_compare(p, T_base_depth, intrinsics, shape, stride) for p in postures]
    points = np.concatenate([row[0] for row in rows])
    normals = np.concatenate([row[1] for row in rows])
    distances = np.concatenate([row[2] for row in rows])
    if len(points) < _FEWEST:
        raise ArmNotSeenError(
            f"only {len(points)} pixels show the arm where the calibration puts it (at least {_FEWEST}): is the arm in"
            " the picture, are its joints those of the same moment, or is the calibration centimetres off?"
        )
    middle = points.mean(axis=0)
    J = np.concatenate([normals, np.cross(points - middle, normals)], axis=1)
    x = _robust(J, distances)
    left = np.abs(distances - J @ x)
    return ArmCheck(
        points=len(points),
        median_mm=float(np.median(np.abs(distances))) * 1e3,
        shift_mm=x[:3] * 1e3,
        turn_deg=np.degrees(x[3:]),
        distance_mm=float(np.linalg.norm(x[:3])) * 1e3,
        angle_deg=float(np.degrees(np.linalg.norm(x[3:]))),
        explained_mm=float(np.median(left)) * 1e3,
    )


def _compare(
    posture: Posture, T: Array, intrinsics: Intrinsics, shape: ArmShape, stride: int
) -> tuple[Array, Array, Array]:
    """Points (n, 3) and normals (n, 3) of the model, base frame, and signed distances (n,) of the measured ones."""
    expected = shape.expect(posture.joints_rad, posture.gripper_width_m, T, intrinsics, stride=stride)
    rays = pixel_rays(intrinsics)[::stride, ::stride].astype(np.float64)
    depth = posture.depth[::stride, ::stride].astype(np.float64) * 1e-3
    surface = rays * np.where(expected.seen, expected.depth_m, np.nan)[:, :, None]
    across = np.full_like(surface, np.nan)
    down = np.full_like(surface, np.nan)
    across[:, 1:-1] = surface[:, 2:] - surface[:, :-2]
    down[1:-1] = surface[2:] - surface[:-2]
    with np.errstate(invalid="ignore"):
        normals = np.cross(down, across)
        normals /= np.linalg.norm(normals, axis=2, keepdims=True)
        smooth = (np.abs(across[:, :, 2]) < _JUMP_M) & (np.abs(down[:, :, 2]) < _JUMP_M)
        facing = np.abs(np.einsum("hwi,hwi->hw", normals, rays / np.linalg.norm(rays, axis=2, keepdims=True)))
        error = depth - expected.depth_m
        good = smooth & (facing > _GRAZING) & (depth > 0) & (np.abs(error) < _GROSS_M)
    good &= np.isfinite(normals).all(axis=2)
    distances = np.einsum("hwi,hwi->hw", normals, rays * error[:, :, None])[good]
    R = T[:3, :3]
    return surface[good] @ R.T + T[:3, 3], normals[good] @ R.T, distances


def _robust(J: Array, distances: Array) -> Array:
    """Displacement (6,) by iteratively reweighted least squares (Tukey), with a weak prior that it is small."""
    prior = np.diag([1 / _PRIOR_M**2] * 3 + [1 / _PRIOR_RAD**2] * 3)
    x: NDArray[Any] = np.zeros(6)
    for _ in range(_ROUNDS):
        rest = distances - J @ x
        scale = max(1.4826 * float(np.median(np.abs(rest))), 5e-4)
        weight = np.clip(1.0 - (rest / (4.0 * scale)) ** 2, 0.0, None) ** 2 / scale**2
        x = np.linalg.solve((J * weight[:, None]).T @ J + prior, (J * weight[:, None]).T @ distances)
    return x
