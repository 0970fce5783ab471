"""Calibration boards: what is printed on them, where their corners are, and how they look from the front.

Board frame: origin at the top-left corner of the pattern, x to the right, y down, z into the board, away from the
viewer (OpenCV's convention). A board is a list of black rectangles; the printable page, the picture and the texture of
the simulated board are all drawn from that one list.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BoardKind = Literal["charuco", "apriltag"]

DICTIONARIES = {
    "4X4_50": cv2.aruco.DICT_4X4_50,
    "5X5_100": cv2.aruco.DICT_5X5_100,
    "6X6_250": cv2.aruco.DICT_6X6_250,
    "APRILTAG_36h11": cv2.aruco.DICT_APRILTAG_36h11,
}

MEASURED_TOLERANCE = 0.03
"""A printer that fits a page to the paper scales by 3 to 6 percent; a ruler is better than one."""
MEASURED_DOUBT = 0.002


class BoardError(ValueError):
    """A board that cannot exist, or whose measured size does not fit; the text says what to do."""


@dataclass(frozen=True)
class Rectangle:
    """A black area, in metres in the board's plane: x to the right, y down."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Board:
    """A ChArUco board, or a grid of AprilTags.

    Attributes:
        kind: ``charuco`` or ``apriltag``.
        columns, rows: squares of a ChArUco board, tags of a grid.
        square_m: side of a square; of a grid the distance from tag to tag.
        marker_m: side of a marker, its black border included.
        dictionary: of the markers, one of ``DICTIONARIES``.

    Raises:
        BoardError: a size that makes no sense, or more markers than the dictionary has.
    """

    kind: BoardKind = "charuco"
    columns: int = 6
    rows: int = 4
    square_m: float = 0.042
    marker_m: float = 0.032
    dictionary: str = "4X4_50"

    def __post_init__(self) -> None:
        if self.kind not in get_args(BoardKind):
            raise BoardError(f"board kind: expected one of {', '.join(get_args(BoardKind))}, got {self.kind!r}")
        if self.dictionary not in DICTIONARIES:
            raise BoardError(f"board dictionary: expected one of {', '.join(DICTIONARIES)}, got {self.dictionary!r}")
        least = 3 if self.kind == "charuco" else 1
        if self.columns < least or self.rows < least:
            raise BoardError(f"board: expected at least {least} x {least}, got {self.columns} x {self.rows}")
        if not 0.0 < self.marker_m < self.square_m:
            raise BoardError(
                f"board: expected 0 < marker < square, got marker {self.marker_m * 1e3:g} mm and square"
                f" {self.square_m * 1e3:g} mm (sizes are in metres)"
            )
        if self.marker_count > len(self._dictionary.bytesList):
            raise BoardError(
                f"board: {self.columns} x {self.rows} needs {self.marker_count} markers, {self.dictionary} has"
                f" {len(self._dictionary.bytesList)}; choose fewer squares or another dictionary"
            )

    @classmethod
    def apriltags(cls, columns: int = 5, rows: int = 4, tag_m: float = 0.035, pitch_m: float = 0.045) -> Board:
        """A grid of AprilTags of the family 36h11."""
        return cls(
            kind="apriltag",
            columns=columns,
            rows=rows,
            square_m=pitch_m,
            marker_m=tag_m,
            dictionary="APRILTAG_36h11",
        )

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Board:
        """The board that ``to_dict`` wrote. Raises BoardError for unknown or missing fields."""
        names = {row.name for row in fields(cls)}
        if set(content) != names:
            wrong = sorted(set(content) ^ names)
            raise BoardError(f"board: expected the fields {', '.join(sorted(names))}; unknown or missing: {wrong}")
        return cls(**content)

    def to_dict(self) -> dict[str, Any]:
        """Plain content, for JSON and YAML."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.kind} {self.columns} x {self.rows}, {self.dictionary},"
            f" {'square' if self.kind == 'charuco' else 'pitch'} {self.square_m * 1e3:.2f} mm,"
            f" marker {self.marker_m * 1e3:.2f} mm"
        )

    @property
    def width_m(self) -> float:
        """Width of the pattern: the length that is printed beside it and measured."""
        gap = 0.0 if self.kind == "charuco" else self.square_m - self.marker_m
        return self.columns * self.square_m - gap

    @property
    def height_m(self) -> float:
        """Height of the pattern."""
        gap = 0.0 if self.kind == "charuco" else self.square_m - self.marker_m
        return self.rows * self.square_m - gap

    @property
    def marker_count(self) -> int:
        """Number of markers."""
        return self.columns * self.rows // 2 if self.kind == "charuco" else self.columns * self.rows

    @property
    def points(self) -> Array:
        """(n, 3) corners that a detection may name by their row here, in the board frame, metres."""
        return _points(self)

    @property
    def outline(self) -> Array:
        """(4, 3) corners of the pattern: top left, top right, bottom right, bottom left."""
        w, h = self.width_m, self.height_m
        return np.array([[0, 0, 0], [w, 0, 0], [w, h, 0], [0, h, 0]], dtype=np.float64)

    def measured(self, width_m: float) -> Board:
        """The board as it was really printed, from the measured width of its pattern.

        Raises:
            BoardError: the width differs by so much that the print was scaled, or another board was measured.
        """
        scale = width_m / self.width_m
        if not np.isfinite(scale) or abs(scale - 1.0) > MEASURED_TOLERANCE:
            raise BoardError(
                f"board: the pattern should be {self.width_m * 1e3:.1f} mm wide, measured were {width_m * 1e3:.1f} mm"
                f' ({scale:.1%}): it was printed scaled, or it is another board. Print again at 100 % ("actual size",'
                ' not "fit to page"), or give the sizes of this board'
            )
        if abs(scale - 1.0) < MEASURED_DOUBT:
            return self
        return replace(self, square_m=self.square_m * scale, marker_m=self.marker_m * scale)

    def detector_board(self) -> Any:
        """The board as OpenCV's detectors take it."""
        if self.kind == "charuco":
            size = (self.columns, self.rows)
            return cv2.aruco.CharucoBoard(size, self.square_m, self.marker_m, self._dictionary)
        gap = self.square_m - self.marker_m
        return cv2.aruco.GridBoard((self.columns, self.rows), self.marker_m, gap, self._dictionary)

    def rectangles(self) -> list[Rectangle]:
        """Everything that is black on the board."""
        black: list[Rectangle] = []
        inset = 0.5 * (self.square_m - self.marker_m)
        marker = 0
        for row in range(self.rows):
            for column in range(self.columns):
                x, y = column * self.square_m, row * self.square_m
                if self.kind == "apriltag":
                    black += self._marker(marker, x, y)
                    marker += 1
                elif (row + column) % 2 == 0:
                    black.append(Rectangle(x, y, self.square_m, self.square_m))
                else:
                    black += self._marker(marker, x + inset, y + inset)
                    marker += 1
        return black

    def image(
        self, pixels_per_square: int = 60, margin_m: float = 0.0, size_px: tuple[int, int] | None = None
    ) -> NDArray[np.uint8]:
        """The board from the front, grey (h, w) uint8, white around it; every edge at its true place by coverage.

        ``size_px`` (width, height) instead of ``pixels_per_square`` stretches the picture to this size.
        """
        width_m, height_m = self.width_m + 2 * margin_m, self.height_m + 2 * margin_m
        density = pixels_per_square / self.square_m
        width, height = size_px or (round(width_m * density), round(height_m * density))
        sx, sy = (width / width_m, height / height_m) if size_px else (density, density)
        black = np.zeros((height, width))
        for r in self.rectangles():
            across = _coverage((r.x + margin_m) * sx, r.width * sx, width)
            down = _coverage((r.y + margin_m) * sy, r.height * sy, height)
            black[np.ix_(down > 0, across > 0)] += np.outer(down[down > 0], across[across > 0])
        return np.asarray(np.rint(255.0 * (1.0 - np.clip(black, 0.0, 1.0))), dtype=np.uint8)

    @property
    def _dictionary(self) -> cv2.aruco.Dictionary:
        return cv2.aruco.getPredefinedDictionary(DICTIONARIES[self.dictionary])

    def _marker(self, number: int, x: float, y: float) -> list[Rectangle]:
        """Black runs of one marker, row by row; runs rather than cells leave no seams when printed."""
        cells = self._dictionary.markerSize + 2
        bits = self._dictionary.generateImageMarker(number, cells, borderBits=1) == 0
        side = self.marker_m / cells
        runs = []
        for row in range(cells):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], bits[row].astype(int), [0]])))
            for start, end in zip(edges[::2], edges[1::2], strict=True):
                runs.append(Rectangle(x + start * side, y + row * side, (end - start) * side, side))
        return runs


@functools.lru_cache(maxsize=16)
def _points(board: Board) -> Array:
    if board.kind == "charuco":
        points = np.asarray(board.detector_board().getChessboardCorners(), dtype=np.float64)
    else:
        points = np.concatenate(
            [np.asarray(tag, dtype=np.float64) for tag in board.detector_board().getObjPoints()]
        ).reshape(-1, 3)
    points.setflags(write=False)
    return points


def _coverage(start: float, length: float, count: int) -> Array:
    """How much of each pixel [i, i + 1) a bar covers."""
    low = np.arange(count)
    return np.clip(np.minimum(low + 1, start + length) - np.maximum(low, start), 0.0, 1.0)
