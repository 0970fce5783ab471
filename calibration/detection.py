"""Finds a board in a colour image, and says what is wrong where the view is no good for calibrating."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from clar_calibration.board import Board
from clar_core.geometry.camera import Intrinsics, normalize_pixels
from clar_core.geometry.poses import make_pose, rotation_vector_to_matrix

Array = NDArray[np.float64]

MINIMUM_SEEN = 0.5
"""A view of less than half of the board's corners is partial."""
EDGE_WIDTH_MAX_PX = 4.5
"""Black to white takes one to two pixels in a sharp picture; motion or a lens out of focus spread it."""
_MAGNIFICATIONS = (1, 2)
"""Cells of two or three pixels are read more surely in a magnified picture; corners are refined in the original."""
_REFINE_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 40, 1e-4)
_NO_DISTORTION = np.zeros(5)


class DetectionError(ValueError):
    """No usable view of the board: not found, partial, or blurred; the text says which and what to do."""


@dataclass(frozen=True, eq=False)
class Detection:
    """Corners of a board in one image.

    Attributes:
        ids: (n,) rows of ``Board.points``.
        pixels: (n, 2) as (u, v), in the image as it is, distorted.
        seen: part of the board's corners that were found.
        edge_width_px: how many pixels an edge takes from black to white.
    """

    ids: NDArray[np.int64]
    pixels: Array
    seen: float
    edge_width_px: float


def detect(image: NDArray[np.uint8], board: Board) -> Detection:
    """Find the board in an image (h, w) grey or (h, w, 3) RGB.

    Raises:
        DetectionError: the board is not there, less than half of it is, or the picture is blurred.
    """
    grey = np.asarray(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    ids, pixels = _charuco(grey, board) if board.kind == "charuco" else _tags(grey, board)
    total = len(board.points)
    if len(ids) == 0:
        raise DetectionError(
            f"no board in view: expected {board}; is it in the picture, lit, whole, and of this dictionary and layout?"
        )
    seen = len(ids) / total
    if seen < MINIMUM_SEEN or len(ids) < 6:
        raise DetectionError(
            f"partial view: {len(ids)} of {total} corners; bring the whole board into the picture, without glare"
        )
    radius = _refinement_radius(ids, pixels, board)
    window = (radius, radius)
    refined = cv2.cornerSubPix(grey, pixels.astype(np.float32).reshape(-1, 1, 2), window, (-1, -1), _REFINE_STEPS)
    pixels = np.asarray(refined, dtype=np.float64).reshape(-1, 2)
    width = edge_width_px(grey, pixels, radius + 1)
    if width > EDGE_WIDTH_MAX_PX:
        raise DetectionError(
            f"blurred: an edge of the board is {width:.1f} pixels wide (at most {EDGE_WIDTH_MAX_PX:g}); wait until the"
            " arm is still, focus, or shorten the exposure"
        )
    return Detection(ids, pixels, seen, width)


def normalized(detection: Detection, intrinsics: Intrinsics) -> Array:
    """(n, 2) ideal image coordinates x/z, y/z of the corners, the lens undone in the direction the intrinsics say."""
    return normalize_pixels(detection.pixels, intrinsics)


def board_pose(detection: Detection, board: Board, intrinsics: Intrinsics) -> Array:
    """``T_camera_board`` (4, 4) from one view.

    Raises:
        DetectionError: the corners fit no pose.
    """
    points, rays = board.points[detection.ids], normalized(detection, intrinsics)
    found, rotations, translations, errors = cv2.solvePnPGeneric(
        points, rays.reshape(-1, 1, 2), np.eye(3), _NO_DISTORTION, flags=cv2.SOLVEPNP_IPPE
    )
    if not found:
        raise DetectionError("the corners that were found fit no pose of the board; are its sizes right?")
    best = int(np.argmin(np.asarray(errors).ravel()))
    rotation, translation = cv2.solvePnPRefineLM(
        points, rays.reshape(-1, 1, 2), np.eye(3), _NO_DISTORTION, rotations[best], translations[best]
    )
    return make_pose(rotation_vector_to_matrix(np.ravel(rotation)), np.ravel(translation))


def edge_width_px(grey: NDArray[np.uint8], pixels: Array, radius: int) -> float:
    """Contrast over steepest gradient around each corner, the median of all: the width of an edge in pixels."""
    height, width = grey.shape
    gradient = np.hypot(
        cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8), cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    )
    widths = []
    for u, v in np.rint(pixels).astype(int):
        rows = slice(max(v - radius, 0), min(v + radius + 1, height))
        columns = slice(max(u - radius, 0), min(u + radius + 1, width))
        patch = grey[rows, columns]
        if patch.size:
            steepest = float(gradient[rows, columns].max())
            widths.append((float(patch.max()) - float(patch.min())) / max(steepest, 1e-3))
    return float(np.median(widths)) if widths else np.inf


def _charuco(grey: NDArray[np.uint8], board: Board) -> tuple[NDArray[np.int64], Array]:
    detector = cv2.aruco.CharucoDetector(board.detector_board())
    detector.setDetectorParameters(_parameters())
    best_ids, best = np.zeros(0, dtype=np.int64), np.zeros((0, 2))
    for factor in _MAGNIFICATIONS:
        corners, ids, _, _ = detector.detectBoard(_magnified(grey, factor))
        if ids is not None and len(ids) > len(best_ids):
            best_ids = np.ravel(ids).astype(np.int64)
            best = (np.asarray(corners, dtype=np.float64).reshape(-1, 2) + 0.5) / factor - 0.5
        if len(best_ids) == len(board.points):
            break
    return best_ids, best


def _tags(grey: NDArray[np.uint8], board: Board) -> tuple[NDArray[np.int64], Array]:
    detector = cv2.aruco.ArucoDetector(board.detector_board().getDictionary(), _parameters())
    best: list[tuple[int, Array]] = []
    for factor in _MAGNIFICATIONS:
        corners, ids, _ = detector.detectMarkers(_magnified(grey, factor))
        found = [] if ids is None else zip(np.ravel(ids), corners, strict=True)
        ours = [(int(i), (np.reshape(c, (4, 2)) + 0.5) / factor - 0.5) for i, c in found if i < board.marker_count]
        best = max(best, ours, key=len)
        if len(best) == board.marker_count:
            break
    if not best:
        return np.zeros(0, dtype=np.int64), np.zeros((0, 2))
    rows = np.concatenate([4 * number + np.arange(4) for number, _ in best])
    return rows, np.concatenate([corners for _, corners in best])


def _parameters() -> cv2.aruco.DetectorParameters:
    parameters = cv2.aruco.DetectorParameters()
    parameters.adaptiveThreshWinSizeMin, parameters.adaptiveThreshWinSizeMax = 5, 25
    parameters.adaptiveThreshWinSizeStep = 4
    return parameters


def _magnified(grey: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    if factor == 1:
        return grey
    return np.asarray(cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _refinement_radius(ids: NDArray[np.int64], pixels: Array, board: Board) -> int:
    """A window that stays within the squares (or the border of a tag) beside a corner."""
    points = board.points[ids, :2]
    span_m = np.ptp(points, axis=0)
    span_px = np.linalg.norm(np.ptp(pixels, axis=0))
    scale = span_px / max(float(np.linalg.norm(span_m)), 1e-9)
    reach = board.square_m - board.marker_m if board.kind == "charuco" else board.marker_m / 4
    return int(np.clip(round(0.5 * reach * scale), 2, 7))
