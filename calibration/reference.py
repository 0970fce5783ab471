"""The scene as the camera saw it at calibration: what a later look is compared with to tell whether the camera moved.

One safetensors file beside the calibration, named in it with its SHA-256. Depth and grey values are means over several
frames; the mask leaves out the arm, and whatever was in its hand.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from clar_calibration.arm_shape import ArmShape
from clar_calibration.result import CalibrationError, CalibrationResult
from clar_core.geometry.camera import Intrinsics, project
from clar_core.geometry.poses import check_pose, transform_points

Array = NDArray[np.float64]

_FEWEST_VALID = 0.5
_ARM_MARGIN_PX = 14
_RAY_STRIDE = 4


@dataclass(frozen=True, eq=False)
class Scene:
    """One look at the scene.

    Attributes:
        depth_m: (h, w) float32 mean depth, 0 where there is none.
        grey: (h, w) float32 mean grey value of the colour image.
        static: (h, w) bool, depth pixels that show neither the arm nor what it holds.
        depth, color: intrinsics.
        T_depth_color: (4, 4).
    """

    depth_m: NDArray[np.float32]
    grey: NDArray[np.float32]
    static: NDArray[np.bool_]
    depth: Intrinsics
    color: Intrinsics
    T_depth_color: Array


def make_scene(
    depths: Sequence[NDArray[np.uint16]],
    colors: Sequence[NDArray[np.uint8]],
    depth: Intrinsics,
    color: Intrinsics,
    T_depth_color: Array,
    moving: NDArray[np.bool_],
) -> Scene:
    """Average frames (uint16 mm, and uint8 RGB). ``moving`` (h, w) are depth pixels of the arm and what it holds.

    Raises:
        ValueError: no frames.
    """
    if not depths or not colors:
        raise ValueError("scene: expected at least one depth and one colour image")
    stack = np.stack(depths).astype(np.float32)
    valid = (stack > 0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(valid >= _FEWEST_VALID * len(stack), stack.sum(axis=0) / valid, 0.0) * 1e-3
    grey = np.mean([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in colors], axis=0, dtype=np.float32)
    return Scene(mean.astype(np.float32), np.asarray(grey, dtype=np.float32), ~moving, depth, color, T_depth_color)


def arm_mask(
    joints_rad: Array,
    gripper_width_m: float,
    T_base_depth: Array,
    intrinsics: Intrinsics,
    shape: ArmShape,
    *,
    T_base_board: Array | None = None,
    outline: Array | None = None,
) -> NDArray[np.bool_]:
    """(h, w) pixels of the arm, with a margin, and of a board (its outline (n, 3)) that it holds."""
    expected = shape.expect(joints_rad, gripper_width_m, T_base_depth, intrinsics, stride=_RAY_STRIDE)
    size = (intrinsics.width, intrinsics.height)
    mask = cv2.resize(expected.seen.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    if T_base_board is not None and outline is not None:
        in_camera = transform_points(np.linalg.inv(T_base_depth) @ T_base_board, outline)
        pixels = project(in_camera, intrinsics)
        if np.isfinite(pixels).all():
            cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(pixels).astype(np.int32)), (1,))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _ARM_MARGIN_PX + 1,) * 2)
    return np.asarray(cv2.dilate(np.asarray(mask, dtype=np.uint8), kernel) > 0)


def save_scene(scene: Scene, path: Path) -> dict[str, str]:
    """Write the scene; returns what the calibration file says about it: ``file`` and ``sha256``."""
    meta = {
        "format": "1",
        "depth": json.dumps(asdict(scene.depth)),
        "color": json.dumps(asdict(scene.color)),
        "T_depth_color": json.dumps(scene.T_depth_color.tolist()),
    }
    tensors = {
        "depth_um10": np.rint(scene.depth_m * 1e5).astype(np.uint32),
        "grey": np.rint(scene.grey * 100.0).astype(np.uint16),
        "static": scene.static.astype(np.uint8),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata=meta)
    part.replace(path)
    return {"file": path.name, "sha256": _digest(path)}


def load_scene(result: CalibrationResult, calibration: Path) -> Scene:
    """The scene that a calibration names, from the folder of its file.

    Raises:
        CalibrationError: the calibration has none, or the file is missing, changed or malformed.
    """
    name = str(result.reference.get("file", ""))
    if not name:
        raise CalibrationError(
            f"{calibration}: reference: none, so that nobody can tell whether the camera moved; record one with"
            " `clar calibrate check --record`, or calibrate again"
        )
    path = calibration.parent / name
    if not path.is_file():
        raise CalibrationError(f"{path}: missing, {calibration} names it as its reference scene; restore it")
    if _digest(path) != result.reference.get("sha256"):
        raise CalibrationError(f"{path}: its content is not the one that {calibration} names: restore it")
    try:
        with safe_open(path, framework="numpy") as file:
            meta = file.metadata() or {}
            return Scene(
                file.get_tensor("depth_um10").astype(np.float32) * np.float32(1e-5),
                file.get_tensor("grey").astype(np.float32) * np.float32(0.01),
                file.get_tensor("static") > 0,
                _intrinsics(meta["depth"]),
                _intrinsics(meta["color"]),
                check_pose(np.array(json.loads(meta["T_depth_color"])), "T_depth_color"),
            )
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CalibrationError(f"{path}: no readable reference scene: {error}") from error


def _intrinsics(text: str) -> Intrinsics:
    content: dict[str, Any] = json.loads(text)
    return Intrinsics(**content)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
