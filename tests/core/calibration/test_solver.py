"""The solver finds the camera, says how well, and names outliers; measured on views whose noise is known."""

from __future__ import annotations

import numpy as np
import pytest

from clar_calibration.rendered import relative_to_truth
from clar_calibration.samples import SetUp
from clar_calibration.simulated import BOARD
from clar_calibration.solver import Solution, SolveError, solve
from clar_core.geometry.poses import make_pose, rotation_vector_to_matrix
from clar_core.simulation.camera import COLOR_INTRINSICS
from tests.core.calibration.views import TRUTHS, views

RUNS = 12


def run(seed: int, set_up: SetUp = "eye_to_hand", count: int = 20) -> Solution:
    poses, detections = views(seed, count, set_up=set_up)
    return solve(set_up, poses, detections, BOARD, COLOR_INTRINSICS)


@pytest.mark.parametrize("set_up", ["eye_to_hand", "eye_in_hand"])
def test_the_result_is_near_the_truth_nearer_than_the_closed_forms_and_within_its_intervals(set_up: SetUp) -> None:
    ours, park, inside = [], [], []
    for seed in range(RUNS):
        solution = run(seed, set_up)
        error = relative_to_truth(TRUTHS[set_up].X, solution.hand_eye.X)
        ours.append(error)
        park.append(relative_to_truth(TRUTHS[set_up].X, solution.starts["Park"].X))
        inside += [error[0] <= solution.interval.distance_mm, error[1] <= solution.interval.angle_deg]
    assert np.median(ours, axis=0) == pytest.approx([0.5, 0.05], abs=0.5)
    assert (np.median(ours, axis=0) < 0.7 * np.median(park, axis=0)).all()
    assert np.mean(inside) >= 0.85


def test_the_sizes_of_both_kinds_of_noise_are_found() -> None:
    noise = [run(seed).noise for seed in range(RUNS)]
    assert np.median([n.corner_px for n in noise]) == pytest.approx(0.1, rel=0.2)
    assert np.median([n.hand_m for n in noise]) == pytest.approx(3e-4, rel=0.4)
    assert np.median([n.hand_rad for n in noise]) == pytest.approx(5e-4, rel=0.4)


def test_outliers_are_named_and_do_not_count() -> None:
    poses, detections = views(3)
    poses[4] = poses[4] @ make_pose(None, (0.02, 0.0, 0.0))
    poses[11] = poses[11] @ make_pose(rotation_vector_to_matrix((0.0, 0.05, 0.0)))
    solution = solve("eye_to_hand", poses, detections, BOARD, COLOR_INTRINSICS)
    assert {view.number for view in solution.views if not view.used} == {4, 11}
    assert "mm and" in solution.views[4].remark
    assert relative_to_truth(TRUTHS["eye_to_hand"].X, solution.hand_eye.X)[0] < 1.5


def test_a_few_views_give_wide_intervals() -> None:
    assert run(1, count=8).interval.distance_mm > run(1, count=30).interval.distance_mm


def test_too_few_views_are_refused() -> None:
    poses, detections = views(0, 5)
    with pytest.raises(SolveError, match="too few views: 5, at least 6"):
        solve("eye_to_hand", poses, detections, BOARD, COLOR_INTRINSICS)


def test_wrong_focal_lengths_are_refined_on_request() -> None:
    import dataclasses

    poses, detections = views(5, 30, corner_px=0.05, hand_m=1e-4, hand_rad=1e-4)
    wrong = dataclasses.replace(COLOR_INTRINSICS, fx=1.01 * COLOR_INTRINSICS.fx, fy=1.01 * COLOR_INTRINSICS.fy)
    solution = solve("eye_to_hand", poses, detections, BOARD, wrong, refine_intrinsics=True)
    assert solution.intrinsics.fx == pytest.approx(COLOR_INTRINSICS.fx, rel=2e-3)
    before = solve("eye_to_hand", poses, detections, BOARD, wrong)
    truth = TRUTHS["eye_to_hand"].X
    assert relative_to_truth(truth, solution.hand_eye.X)[0] < relative_to_truth(truth, before.hand_eye.X)[0]
