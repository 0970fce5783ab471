"""What is wrong with a set of views is told apart and named; a weak set is told what it lacks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from clar_calibration.diagnosis import DiagnosisError, diagnose, refuse_hopeless
from clar_calibration.simulated import BOARD
from clar_calibration.solver import solve
from clar_core.simulation.camera import COLOR_INTRINSICS
from tests.core.calibration.views import views


def test_sound_views_pass() -> None:
    for set_up in ("eye_to_hand", "eye_in_hand"):
        poses, detections = views(0, set_up=set_up)  # type: ignore[arg-type]
        refuse_hopeless(set_up, poses, detections, BOARD, COLOR_INTRINSICS)  # type: ignore[arg-type]


def test_poses_turned_about_one_axis_only_are_called_degenerate_with_the_axis_to_add() -> None:
    poses, detections = views(0, axes=(0.0, 0.0, 1.0))
    with pytest.raises(DiagnosisError, match=r"degenerate poses: the hand was turned by only 0.0 degrees"):
        refuse_hopeless("eye_to_hand", poses, detections, BOARD, COLOR_INTRINSICS)


@pytest.mark.parametrize(("true", "claimed"), [("eye_to_hand", "eye_in_hand"), ("eye_in_hand", "eye_to_hand")])
def test_swapped_set_ups_are_named(true: str, claimed: str) -> None:
    poses, detections = views(0, set_up=true)  # type: ignore[arg-type]
    with pytest.raises(DiagnosisError, match=f"swapped set-up: as {claimed} .* set_up:={true}"):
        refuse_hopeless(claimed, poses, detections, BOARD, COLOR_INTRINSICS)  # type: ignore[arg-type]


def test_a_board_of_the_wrong_size_is_named_with_its_size() -> None:
    poses, detections = views(0, scale=0.85)
    with pytest.raises(DiagnosisError, match=r"wrong board size: .* that the board is 8[0-9]"):
        refuse_hopeless("eye_to_hand", poses, detections, BOARD, COLOR_INTRINSICS)


def test_a_board_a_little_off_is_warned_of() -> None:
    poses, detections = views(0, scale=1.02)
    refuse_hopeless("eye_to_hand", poses, detections, BOARD, COLOR_INTRINSICS)
    solution = solve("eye_to_hand", poses, detections, BOARD, COLOR_INTRINSICS)
    assert solution.scale == pytest.approx(1.02, abs=0.005)
    assert any("measure its pattern" in text for text in diagnose(solution, detections, COLOR_INTRINSICS).warnings)


def test_poses_and_pictures_of_different_moments_do_not_belong_together() -> None:
    poses, detections = views(0)
    with pytest.raises(DiagnosisError, match=r"do not belong together"):
        refuse_hopeless("eye_to_hand", np.roll(poses, 1, axis=0), detections, BOARD, COLOR_INTRINSICS)


def test_the_lens_model_taken_the_wrong_way_round_is_said() -> None:
    poses, detections = views(2, corner_px=0.05)
    wrong = dataclasses.replace(COLOR_INTRINSICS, model="brown_conrady")
    solution = solve("eye_to_hand", poses, detections, BOARD, wrong)
    diagnosis = diagnose(solution, detections, wrong)
    assert any("fits better as inverse_brown_conrady" in text for text in diagnosis.warnings)


def test_a_weak_set_is_told_what_to_add_and_a_good_one_is_not() -> None:
    poses, detections = views(1, 8, turn_rad=0.15)
    weak = diagnose(solve("eye_to_hand", poses, detections, BOARD, COLOR_INTRINSICS), detections, COLOR_INTRINSICS)
    assert weak.advice
    assert any("turned little" in text for text in weak.warnings)
    poses, detections = views(1, 40)
    good = diagnose(solve("eye_to_hand", poses, detections, BOARD, COLOR_INTRINSICS), detections, COLOR_INTRINSICS)
    assert not good.advice
    assert not good.warnings
