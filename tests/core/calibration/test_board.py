"""Boards: what is printed is what is detected, in true size, and a wrong size or a bad picture is named."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from clar_calibration.board import Board, BoardError
from clar_calibration.detection import DetectionError, board_pose, detect
from clar_calibration.printing import write_pdf
from clar_core.geometry.camera import Intrinsics

BOARDS = (Board(), Board(columns=7, rows=5, square_m=0.036, marker_m=0.027), Board.apriltags())
DENSITY = 60


@pytest.mark.parametrize("board", BOARDS, ids=str)
def test_every_corner_of_the_printed_pattern_is_found_where_the_board_says(board: Board) -> None:
    picture = board.image(DENSITY, margin_m=0.02)
    detection = detect(picture, board)
    assert detection.seen == 1.0
    metres = (detection.pixels + 0.5) * board.square_m / DENSITY - 0.02
    np.testing.assert_allclose(metres, board.points[detection.ids, :2], atol=3e-4)


@pytest.mark.parametrize("board", BOARDS, ids=str)
def test_the_pdf_holds_the_pattern_in_true_size_and_says_it(board: Board, tmp_path: Path) -> None:
    assert write_pdf(board, tmp_path / "board.pdf") == "A4"
    text = (tmp_path / "board.pdf").read_text("latin-1")
    assert f"must measure {board.width_m * 1e3:.1f} mm" in text
    rectangles = np.array([[float(v) for v in m.split()] for m in re.findall(r"^([\d. ]+) re f$", text, re.M)])
    pattern = rectangles[: len(board.rectangles())]
    width_mm = (pattern[:, 0] + pattern[:, 2]).max() - pattern[:, 0].min()
    expected_mm = max(r.x + r.width for r in board.rectangles()) - min(r.x for r in board.rectangles())
    assert width_mm * 25.4 / 72 == pytest.approx(expected_mm * 1e3, abs=0.01)


def test_a_board_that_was_printed_scaled_is_refused_and_a_little_off_is_taken_as_measured() -> None:
    board = Board()
    assert board.measured(board.width_m) is board
    assert board.measured(1.01 * board.width_m).square_m == pytest.approx(1.01 * board.square_m)
    with pytest.raises(BoardError, match=r"should be 252\.0 mm wide, measured were 240\.0 mm"):
        board.measured(0.240)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"marker_m": 0.05}, "0 < marker < square"),
        ({"columns": 2}, "at least 3 x 3"),
        ({"columns": 20, "rows": 20}, "needs 200 markers"),
        ({"dictionary": "7X7"}, "dictionary: expected one of"),
    ],
)
def test_an_impossible_board_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BoardError, match=message):
        Board(**changes)  # type: ignore[arg-type]


def test_blurred_partial_and_empty_pictures_are_told_apart() -> None:
    board = Board()
    picture = board.image(DENSITY, margin_m=0.02)
    with pytest.raises(DetectionError, match=r"^blurred"):
        detect(cv2.GaussianBlur(picture, (0, 0), 2.5), board)
    covered = picture.copy()
    covered[:, picture.shape[1] // 3 :] = 255
    with pytest.raises(DetectionError, match=r"^(partial view|no board)"):
        detect(covered, board)
    with pytest.raises(DetectionError, match=r"^no board in view"):
        detect(np.full((480, 640), 128, dtype=np.uint8), board)
    with pytest.raises(DetectionError, match=r"^no board in view"):
        detect(picture, Board.apriltags())


def test_the_boards_pose_is_right_from_the_front() -> None:
    board = Board()
    picture = board.image(DENSITY, margin_m=0.02)
    height, width = picture.shape
    focal = 800.0
    camera = Intrinsics(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
    T = board_pose(detect(picture, board), board, camera)
    distance = focal * board.square_m / DENSITY
    middle = T[:3, :3] @ board.outline.mean(axis=0) + T[:3, 3]
    np.testing.assert_allclose(middle, [0, 0, distance], atol=2e-3)
